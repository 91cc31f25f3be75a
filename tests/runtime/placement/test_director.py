"""The director, with a stand-in for Ray: what becomes of a shard that cannot be started where it is moved to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.runtime.placement import director
from spex_shards.runtime.placement.session import RAY_NAMESPACE
from tests.support.processes import wait_until

MADE = {"member": "here:Member", "num_cpus": 0, "resources": {}, "token": "t" * 20}


class Actor:
    """An actor; what it is asked for is done by Ray's `get`."""

    def __init__(self, shard: int, node: str) -> None:
        self.node, self.shard = node, shard
        self.ready = SimpleNamespace(remote=lambda _within: ("ready", self))
        self.info = SimpleNamespace(remote=lambda: ("info", self))
        self.stop = SimpleNamespace(remote=lambda: ("stop", self))


class Ray:
    """As much of Ray as a director uses; no shard can be started on the machines in `unfit`."""

    def __init__(self, *nodes: str) -> None:
        self.living = list(nodes)
        self.unfit: set[str] = set()
        self.actors: dict[str, Actor] = {}
        self.noted: dict[str, bytes] = {}
        self.tried: list[str] = []
        self.exceptions = SimpleNamespace(RayActorError=OSError, GetTimeoutError=TimeoutError, RayTaskError=KeyError)
        affinity = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node_id, soft: node_id)
        self.util = SimpleNamespace(list_named_actors=self._named, scheduling_strategies=affinity)
        kept = SimpleNamespace(
            _internal_kv_put=lambda name, value, **_: self.noted.update({name: value}),
            _internal_kv_get=lambda name, **_: self.noted.get(name),
        )
        self.experimental = SimpleNamespace(internal_kv=kept)

    def nodes(self) -> list[dict[str, Any]]:
        """Return the machines."""
        return [{"NodeID": node, "NodeManagerAddress": node, "Alive": True, "Resources": {}} for node in self.living]

    def _named(self, **_: Any) -> list[dict[str, str]]:
        return [{"name": name, "namespace": RAY_NAMESPACE} for name in self.actors]

    def get_actor(self, name: str, **_: Any) -> Actor:
        """Return an actor by its name."""
        return self.actors[name]

    def remote(self, _class: type) -> Any:
        """Return what starts an actor."""

        def options(name: str, scheduling_strategy: str, **_: Any) -> Any:
            def start(shard: int, *_: Any) -> Actor:
                self.tried.append(scheduling_strategy)
                return self.actors.setdefault(name, Actor(shard, scheduling_strategy))

            return SimpleNamespace(remote=start)

        return SimpleNamespace(options=options)

    def get(self, question: tuple[str, Actor], timeout: float) -> Any:
        """Return what an actor answers."""
        assert timeout > 0
        what, actor = question
        if what == "ready" and actor.node in self.unfit:
            raise TimeoutError("it has no database")
        row = {"shard": actor.shard, "node": actor.node, "status": "READY"}
        return row if what == "info" else f"{actor.node}:1"

    def kill(self, actor: Actor, *, no_restart: bool) -> None:
        """End an actor for good."""
        assert no_restart
        self.actors = {name: one for name, one in self.actors.items() if one is not actor}


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    """Return Ray with one machine, which a director uses from now on; it spreads shards all the time."""
    one = Ray("a")
    monkeypatch.setattr(director, "imported", lambda: one)
    monkeypatch.setattr(director, "_BALANCE_EVERY", 0.01)
    return one


def run(shards: int) -> director.Director:
    """Return a director that has started its shards."""
    one = director.Director("orders", shards, MADE)
    one.up()
    return one


def places(one: director.Director) -> dict[int, str]:
    """Return where each shard is."""
    return {row["shard"]: row["node"] for row in one.status()["shards"]}


def test_a_shard_stays_where_it_is_if_it_cannot_be_started_elsewhere(ray: Ray) -> None:
    """And whoever asks is told by the actor that has it; what was started in vain is ended."""
    one = run(1)
    before = dict(ray.actors)
    ray.living.append("b")
    ray.unfit.add("b")
    with pytest.raises(spex.ShardDown, match="it has no database"):
        one.move(0, "b")
    assert ray.actors == before
    assert places(one) == {0: "a"}
    one.down()
    assert ray.actors == {}


def test_a_machine_on_which_no_shard_can_be_started_is_left_alone_and_logged(
    ray: Ray, caplog: pytest.LogCaptureFixture
) -> None:
    """Each attempt would interrupt a shard; another machine that joins gets shards all the same."""
    one = run(4)
    ray.unfit.add("b")
    ray.living.append("b")
    wait_until(lambda: "the shards could not be spread" in caplog.text, "one attempt has failed")
    ray.living.append("c")
    wait_until(lambda: sorted(places(one).values()) == ["a", "a", "c", "c"], "the other machine has its part")
    assert ray.tried.count("b") == 1
    one.down()


def test_all_actors_of_a_shard_end_with_the_cluster(ray: Ray) -> None:
    """Also one that was left over when a director died in the middle of a move."""
    one = run(2)
    ray.actors["orders/0/1"] = Actor(0, "a")
    one.down()
    assert ray.actors == {}


def test_a_director_that_is_started_again_knows_how_shards_are_run(ray: Ray) -> None:
    """As somebody has asked for since it was first started; values that nobody asked for change nothing."""
    one = director.Director("orders", 1, MADE)
    other = {**MADE, "durability": "process", "token": "n" * 20}
    assert one.adopt(other, ["durability"]) == []
    one.up()
    again = director.Director("orders", 1, MADE)
    assert (again.token(), again._made) == (b"n" * 20, other)
    assert again.adopt(MADE, []) == []
    assert again.adopt({**other, "durability": "disk", "num_cpus": 2}, ["durability", "num_cpus"]) == [
        "durability", "num_cpus",
    ]  # fmt: skip
    assert again._made == other
    again.down()
    assert director.Director("orders", 1, MADE)._made == MADE
