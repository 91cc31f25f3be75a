"""A service of the application on a cluster: members run its shards, and programs elsewhere use them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from spex_shards.errors import DataDirError, LayoutMismatch
from spex_shards.runtime import Cluster, Member, Shards, ShardStatus
from spex_shards.runtime.shards import run_partition
from tests.support.processes import wait_until
from tests.support.runtime_services import Counter, Refused

pytestmark = [pytest.mark.postgres, pytest.mark.process, pytest.mark.usefixtures("no_process_left")]
TOKEN = "a token of the tests"


@pytest.fixture
def runs(store_url: str, tmp_path: Path) -> Iterator[Callable[..., Shards]]:
    """Return a function that starts a member with some of two shards; all are closed at the end."""
    with ExitStack() as stack:

        def start(hosts: str) -> Shards:
            place = tmp_path / f"member-{len(list(tmp_path.iterdir()))}"
            member = Member(hosts=hosts, token=TOKEN)
            shards = Shards(Counter, data_dir=place, shards=2, store=store_url, member=member, call_timeout=20)
            stack.callback(shards.close)
            return shards.start()

        yield start


def used(store_url: str, **options: Any) -> Shards:
    """Return `Shards` that use the cluster."""
    return Shards(Counter, cluster=Cluster(store=store_url, token=TOKEN, ping=0.5, **options), call_timeout=20)


def test_a_program_uses_the_shards_of_two_members(runs: Callable[..., Shards], store_url: str) -> None:
    """With all calls and errors; a killed worker loses nothing."""
    first, second = runs("0"), runs("1")
    assert str(first.address) != str(second.address)
    with used(store_url) as shards:
        for key in range(20):
            shards.post(key, "add", 2)
        shards.flush(20)
        assert sum(shards.call_all("count")) == 20
        assert dict(shards.iterate("everything")) == dict.fromkeys(range(20), 2)
        with pytest.raises(Refused):
            shards.call(1, "add_and", "refused")
        shards.call(1, "say", "hello")
        assert next(iter(shards.messages(10))) == {"text": "hello"}
        pids = [shard.pid for shard in shards.shards()]
        assert pids == [first.shards()[0].pid, second.shards()[0].pid]
        os.kill(pids[0] or 0, signal.SIGKILL)
        assert [shards.call(key, "add") for key in range(20)] == [3] * 20


def test_a_shard_that_another_member_claims_is_found_there(runs: Callable[..., Shards], store_url: str) -> None:
    """No call fails."""
    first = runs("0-1")
    with used(store_url, partitions=2) as shards:
        assert [shards.call(key, "add") for key in range(20)] == [1] * 20
        second = runs("1")
        assert [shards.call(key, "add") for key in range(20)] == [2] * 20
        wait_until(lambda: first.shards()[1].status is ShardStatus.MOVED, "the first member has let the shard go")
        assert shards.shards()[1].pid == second.shards()[0].pid


def test_a_partition_is_made_of_words_alone(store_url: str, tmp_path: Path) -> None:
    """As an actor gets them from Ray."""
    options = {"hosts": [0], "partitions": 1, "token": TOKEN, "listen": "127.0.0.1:0", "data_dir": tmp_path / "one"}
    with (
        run_partition("tests.support.runtime_services:Counter", store=store_url, **options),
        used(store_url) as shards,
    ):
        assert shards.call("key", "add") == 1
    with pytest.raises(DataDirError, match=r"the service tests\.support\.runtime_services:Nobody cannot be had"):
        run_partition("tests.support.runtime_services:Nobody", store=store_url, **options)


def test_what_is_wrong_is_named(store_url: str, tmp_path: Path) -> None:
    """Options that belong to the other side, that are missing, or that fit no cluster."""
    cluster = Cluster(store=store_url, token=TOKEN)
    with pytest.raises(ValueError, match="shards is an option of the members that run the shards"):
        Shards(Counter, cluster=cluster, shards=8)
    with pytest.raises(ValueError, match="data_dir is an option of the members"):
        Shards(Counter, cluster=cluster, data_dir=tmp_path)
    with pytest.raises(ValueError, match="data_dir must be given"):
        Shards(Counter)
    with pytest.raises(ValueError, match="member must be None without store and processes"):
        Shards(Counter, data_dir=tmp_path, member=Member(token=TOKEN))
    with pytest.raises(ValueError, match="hosts must name shards from 0 to 3"):
        Shards(Counter, data_dir=tmp_path, store=store_url, member=Member(hosts="4", token=TOKEN))
    with pytest.raises(ValueError, match=r"the option address must be \"static\""):
        Cluster(store=store_url, address="nowhere")
    with pytest.raises(ValueError, match="the option ping must be a number of seconds above 0"):
        Cluster(store=store_url, ping=0)
    with pytest.raises(DataDirError, match="start a member of the cluster first"):
        used(store_url).start()


def test_another_number_of_shards_is_refused(runs: Callable[..., Shards], store_url: str) -> None:
    """It is fixed for a namespace."""
    runs("0-1")
    with pytest.raises(LayoutMismatch, match="was made for 2 shards, not 3"):
        used(store_url, partitions=3).start()
