"""The asyncio manager of a cluster: shards are found, lost and found again under coroutines of one loop."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

import spex_shards as spex
from spex_shards.aio import AsyncClusterInstanceManager
from spex_shards.audit import verify
from spex_shards.manager.clustered import ClusterMember
from tests.support.cluster_here import TOKEN
from tests.support.writers import Loop

pytestmark = [pytest.mark.postgres]


class Coroutines:
    """Coroutines that count, each on an instance of its own.

    Args:
        manager: The manager.
        count: The number of coroutines.
    """

    def __init__(self, manager: AsyncClusterInstanceManager, count: int) -> None:
        self._manager = manager
        self._acknowledged = [0] * count
        self._stop = False
        self._tasks = [asyncio.create_task(self._count(number)) for number in range(count)]

    async def _count(self, number: int) -> None:
        await self._manager.init_instance(Loop, number)
        while not self._stop:
            await self._manager.transition(number, "go", "on")
            self._acknowledged[number] += 1

    async def go_on(self, more: int = 20) -> None:
        """Wait until each of them has been acknowledged so many observations more."""
        wanted = [count + more for count in self._acknowledged]
        async with asyncio.timeout(60):
            while not all(map(int.__ge__, self._acknowledged, wanted)):
                for task in self._tasks:
                    assert not task.done(), task.exception()
                await asyncio.sleep(0.01)

    async def check(self) -> None:
        """End them, and check that each history has exactly what was acknowledged."""
        self._stop = True
        async with asyncio.timeout(60):
            await asyncio.gather(*self._tasks)
        stored = [len((await self._manager.get_instance(n)).history) - 1 for n in range(len(self._tasks))]
        assert stored == self._acknowledged


def test_a_worker_is_killed_and_a_shard_moves_under_coroutines(
    members: Callable[..., ClusterMember], store_url: str
) -> None:
    """Nobody gets an error; each acknowledged observation is stored once; the loop goes on all the while."""

    async def main() -> None:
        async with AsyncClusterInstanceManager(store=store_url, token=TOKEN, ping=0.5) as manager:
            at_work = Coroutines(manager, 16)
            await at_work.go_on()
            victim = first.shards()[0].pid
            assert victim is not None
            os.kill(victim, signal.SIGKILL)
            await at_work.go_on()
            second = await asyncio.to_thread(members, "0")  # it claims one of the shards
            await at_work.go_on()
            assert (await manager.shards())[0].pid == second.shards()[0].pid
            await at_work.check()
            before = sum([len(one.history) async for one in manager.iter_instances(Loop)])
            manager.transition_nowait(0, "go", "on")
            await manager.transition_many((number, "go", "on") for number in range(16) for _ in range(100))
            assert sum([len(one.history) async for one in manager.iter_instances(Loop)]) == before + 1601

    first = members()
    asyncio.run(main())
    assert verify(store_url) == []


@pytest.mark.long
def test_a_call_that_is_cancelled_while_its_shard_is_nowhere_is_applied_once_it_is_somewhere(
    members: Callable[..., ClusterMember], store_url: str
) -> None:
    """A cancellation takes nothing back that was sent."""

    async def main() -> None:
        async with AsyncClusterInstanceManager(store=store_url, token=TOKEN, ping=0.5) as manager:
            await manager.init_instance(Loop, 1)
            await asyncio.to_thread(first.close)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await manager.transition(1, "go", "on")
            await asyncio.to_thread(members)
            await manager.flush(60)
            assert len((await manager.get_instance(1)).history) == 2

    first = members()
    asyncio.run(main())


@pytest.mark.long
def test_a_cluster_that_is_nowhere_or_refuses_is_told_at_the_start(
    members: Callable[..., ClusterMember], store_url: str
) -> None:
    """It blocks no loop, and the manager can be started again."""

    async def main() -> None:
        with pytest.raises(spex.DataDirError, match="start a member of the cluster first"):
            await AsyncClusterInstanceManager(store=store_url, token=TOKEN).start()
        await asyncio.to_thread(members)
        stranger = AsyncClusterInstanceManager(store=store_url, token="another token of the tests", call_timeout=20)
        with pytest.raises(spex.ShardDown, match="refuses this process"):
            await stranger.start()
        with pytest.raises(spex.LayoutMismatch, match="was made for 2 shards, not 3"):
            await AsyncClusterInstanceManager(store=store_url, token=TOKEN, partitions=3).start()

    asyncio.run(main())


@pytest.mark.long
def test_with_tls_coroutines_send_and_read_large_values(
    members: Callable[..., ClusterMember], store_url: str, tmp_path: Path
) -> None:
    """What OpenSSL has decrypted is read, although no poll reports it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = {}
    for name in ("127.0.0.1", "client"):
        authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(tmp_path / f"{name}.pem")
        files[name] = {"tls_authority": tmp_path / "ca.pem", "tls_certificate": tmp_path / f"{name}.pem"}

    async def main() -> None:
        async with AsyncClusterInstanceManager(store=store_url, tls=files["client"], ping=0.5) as manager:
            at_work = Coroutines(manager, 4)
            await manager.init_instance(Loop, "large", meta={"text": "x" * 3_000_000})
            for _ in range(2000):
                await manager.drain("large")
                manager.transition_nowait("large", "go", "on")
            await manager.flush(60)
            found = await manager.get_instance("large")
            assert (len(found.history), found.meta) == (2001, {"text": "x" * 3_000_000})
            await at_work.go_on()
            await at_work.check()

    members(token=None, tls=files["127.0.0.1"])
    asyncio.run(main())


@pytest.mark.long
def test_code_is_not_sent_to_a_cluster_unless_that_is_allowed(
    members: Callable[..., ClusterMember], store_url: str, specifications_as_before: None
) -> None:
    """As with the blocking manager."""

    class OfTheTest(spex.Specification):
        name = "OfTheTest"
        transitions = [("a", "go", "b")]

        @classmethod
        def error_handler(cls, error: spex.SpexError, caller: Any) -> None:
            """Accept everything."""

    async def main() -> None:
        async with AsyncClusterInstanceManager(store=store_url, token=TOKEN) as manager:
            with pytest.raises(ValueError, match="allow_shipped_code is False"):
                await manager.delete_instances(lambda instance: True)
            with pytest.raises(ValueError, match="the shards cannot import the error handler of"):
                await manager.init_instance(OfTheTest, 1)

    members()
    asyncio.run(main())


def test_options_are_checked_before_anything_is_connected(store_url: str) -> None:
    """By the rules of the blocking manager; `spin` is for calls that block."""
    with pytest.raises(TypeError, match="unknown option: spin"):
        AsyncClusterInstanceManager(store=store_url, spin=0)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="a cluster needs the option store"):
        AsyncClusterInstanceManager()
    with pytest.raises(ValueError, match="the option ping must be"):
        AsyncClusterInstanceManager(store=store_url, ping=0)
    with pytest.raises(TypeError, match="on_message must be a plain function"):
        AsyncClusterInstanceManager(store=store_url, on_message=_coroutine)


@pytest.mark.long
def test_who_forgets_to_close_one_is_told_which(members: Callable[..., ClusterMember], store_url: str) -> None:
    """By the database and the namespace, and without a password."""

    async def main() -> None:
        async with AsyncClusterInstanceManager(store=store_url, token=TOKEN) as manager:
            with pytest.warns(ResourceWarning, match=re.escape(manager.cluster.place.shown)):
                manager.__del__()

    members()
    asyncio.run(main())


async def _coroutine(message: Any) -> None:
    """Do nothing."""
