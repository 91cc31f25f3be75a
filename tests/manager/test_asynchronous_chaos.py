"""Coroutines observe while shards are killed and calls are cancelled: each observation is applied once, in order."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

import spex_shards as spex
from spex_shards.aio import AsyncInstanceManager
from tests.support.contract_specs import Order

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]


class Observer:
    """A coroutine with an instance of its own.

    Attributes:
        begun: The states that it has observed, in order.
        certain: Those of them that must be in the history: their calls returned, or did not wait.
        unbegun: Those whose calls were cancelled before they began, so that they must not be there.
    """

    def __init__(self, manager: AsyncInstanceManager, number: int, chance: random.Random) -> None:
        self._manager, self.number, self._chance = manager, number, chance
        self.begun: list[str] = []
        self.certain: set[str] = set()
        self.unbegun: set[str] = set()
        self.cancelled = 0

    async def observe(self, count: int) -> None:
        """Make some observations: some wait, some do not, and some are cancelled."""
        await self._manager.init_instance(Order, self.number)
        for step in range(count):
            state = f"s{step}"
            self.begun.append(state)
            kind = self._chance.random()
            if kind < 0.4:
                await self._manager.transition(self.number, "go", state)
                self.certain.add(state)
            elif kind < 0.6:
                await self._manager.drain(self.number)
                self._manager.transition_nowait(self.number, "go", state)
                self.certain.add(state)
            else:
                await self._cancel(state)

    async def _cancel(self, state: str) -> None:
        task = asyncio.ensure_future(self._manager.transition(self.number, "go", state))
        turns = self._chance.choice([0, 1, 1, 2, 5])
        for _ in range(turns):
            await asyncio.sleep(0)
        if turns == 5:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._chance.random() / 50):
                    await task
        if task.done() and not task.cancelled():
            task.result()
        else:
            self.cancelled += 1
        if not turns:
            self.unbegun.add(state)
        else:
            self.certain.add(state)  # its request was sent in the task's first turn
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def check(self, seen: list[str]) -> None:
        """Compare with the history."""
        assert len(set(seen)) == len(seen), f"applied twice, to {self.number}: {seen}"
        assert seen == [state for state in self.begun if state in set(seen)], f"another order, of {self.number}"
        assert self.certain <= set(seen), f"lost, of {self.number}: {self.certain - set(seen)}"
        assert not self.unbegun & set(seen)


async def chaos(places: dict[str, Path], coroutines: int, observations: int, kills: int, seed: int) -> int:
    """Run it; return how many calls were cancelled."""
    chance = random.Random(seed)
    options = {**places, "distribution_factor": 3, "learning_mode": True, "call_timeout": 60.0}
    async with AsyncInstanceManager(**options, max_restarts=1000, max_unacknowledged=500) as manager:
        observers = [Observer(manager, number, random.Random(seed + number)) for number in range(coroutines)]
        tasks = [asyncio.create_task(observer.observe(observations)) for observer in observers]
        killed: set[int] = set()
        for _ in range(kills):
            await asyncio.sleep(chance.random() / 10)
            index = chance.randrange(3)
            shard = (await manager.shards())[index]
            # A shard whose processes are killed three times in a row before they are ready is given up: so only once.
            if shard.pid is not None and (shard.status is spex.ShardStatus.READY or index not in killed):
                (killed.discard if shard.status is spex.ShardStatus.READY else killed.add)(index)
                with suppress(ProcessLookupError):
                    os.kill(shard.pid, signal.SIGKILL)
        await asyncio.gather(*tasks)
        await manager.flush()
        histories = {i.identifier: [e.to_state for e in i.history[1:]] for i in await manager.all_instances()}
        for observer in observers:
            observer.check(histories[observer.number])
        assert sum(shard.restarts for shard in await manager.shards()) > 0
    return sum(observer.cancelled for observer in observers)


def test_each_observation_is_applied_once_through_kills_and_cancellations(places: dict[str, Path]) -> None:
    """A few kills; the long run has more."""
    assert asyncio.run(chaos(places, coroutines=200, observations=10, kills=4, seed=11)) > 100


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_a_thousand_coroutines_observe_through_many_kills_and_cancellations(places: dict[str, Path], seed: int) -> None:
    """Histories are exact: each cancelled call was applied once, or never if it had not begun."""
    assert asyncio.run(chaos(places, coroutines=1000, observations=20, kills=30, seed=seed)) > 1000
