"""The actor of a shard, with a stand-in for Ray's head: which of two actors may claim the shard."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spex_shards.runtime.placement import partition
from tests.support.processes import wait_until

NAMES = ["orders/3/100", "orders/3/200", "orders/4/300", "others/3/400", "director of orders"]


class Head:
    """What an actor asks Ray."""

    def __init__(self, own: str, names: list[str] | None) -> None:
        self.killed: list[Any] = []
        self.util = SimpleNamespace(get_node_ip_address=lambda: "127.0.0.1", list_named_actors=self._named)
        self._context = SimpleNamespace(get_actor_name=lambda: own, current_actor=own)
        self._names = names

    def _named(self, *, all_namespaces: bool) -> list[dict[str, str]]:
        assert all_namespaces
        if self._names is None:
            raise ConnectionError("the head is gone")
        return [{"name": name, "namespace": "spex_shards"} for name in self._names]

    def get_runtime_context(self) -> SimpleNamespace:
        """Return what is known of the actor."""
        return self._context

    def kill(self, actor: Any, *, no_restart: bool) -> None:
        """Note that an actor is to end for good; its thread ends with that."""
        assert no_restart
        self.killed.append(actor)
        raise SystemExit


made: list[int] = []


def member(hosts: list[int], **options: Any) -> Any:
    """Note that the shard is about to be claimed, and fail."""
    made.extend(hosts)
    raise ValueError(f"no database: {sorted(options)}")


def run(monkeypatch: pytest.MonkeyPatch, head: Head) -> partition.Partition:
    """Return the actor of shard 3."""
    monkeypatch.setattr(partition, "imported", lambda: head)
    monkeypatch.setattr(partition, "scratch", lambda name: Path("/nonexistent") / name)
    made.clear()
    return partition.Partition(3, f"{__name__}:member", {}, "orders")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # it ends by SystemExit here
def test_an_actor_that_ray_starts_again_after_its_shard_was_moved_ends_for_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else it would take the shard back from the younger actor."""
    head = Head("orders/3/100", NAMES)
    run(monkeypatch, head)
    wait_until(lambda: head.killed, "the actor ends")
    wait_until(lambda: "spex-shards-partition" not in {one.name for one in threading.enumerate()}, "its thread ends")
    assert (head.killed, made) == (["orders/3/100"], [])


@pytest.mark.parametrize("names", [NAMES, ["orders/3/200"], None], ids=["the youngest", "alone", "nobody knows"])
def test_the_youngest_actor_claims_the_shard_and_so_does_one_that_cannot_ask(
    monkeypatch: pytest.MonkeyPatch, names: list[str] | None
) -> None:
    """The database decides, as ever."""
    head = Head("orders/3/200", names)
    actor = run(monkeypatch, head)
    wait_until(lambda: made, "the shard is claimed")
    actor.stop()
    assert not head.killed
