"""The modes of the asyncio manager: what it raises, how long it waits, and what it counts."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.aio import AsyncInstanceManager
from tests.support.contract_specs import Order, Strict, model

pytestmark = pytest.mark.usefixtures("no_process_left")


def opened(places: dict[str, Path], **options: Any) -> AsyncInstanceManager:
    """Return a manager with one shard."""
    return AsyncInstanceManager(**{"distribution_factor": 1, "call_timeout": 20.0, **places, **options})


def test_observe_raises_nothing_and_waits_a_bounded_time_for_a_stopped_shard(places: dict[str, Path]) -> None:
    """Late observations are counted, and applied once the shard goes on; a stalled shard is not waited for again."""

    async def main() -> None:
        async with opened(places, mode="observe", learning_mode=True, observe_timeout=0.2) as manager:
            await manager.init_instance(Order, 1)
            assert manager.losses().kept == 1
            pid = (await manager.shards())[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                await asyncio.gather(*(manager.transition(1, "pay", str(number)) for number in range(50)))
                await manager.transition(1, "pay", "50")
                manager.transition_nowait(1, "pay", "51")
                await manager.drain()
                assert time.monotonic() - began < 10
                losses = manager.losses()
                assert (losses.kept, losses.late, losses.posted, losses.lost) == (1, 51, 1, 0)
            finally:
                os.kill(pid, signal.SIGCONT)
            await manager.flush()
            history = (await manager.get_instance(1)).history
            assert [entry.to_state for entry in history[1:]] == [str(number) for number in range(52)]
        await manager.transition(1, "pay", "paid")
        assert manager.losses().lost == 1

    asyncio.run(main())


def test_each_mode_does_with_a_deviation_what_it_says(places: dict[str, Path]) -> None:
    """Enforce raises, warn warns at the place of the call, observe counts, and off does nothing at all."""

    async def main() -> None:
        # The machine may be busy: no call may leave before its answer is there.
        async with opened(places, observe_timeout=20) as manager:
            with pytest.raises(spex.ImplModelNotFound):
                await manager.init_instance(Strict, 1)
            manager.mode = "observe"
            await manager.init_instance(Strict, 1)
            assert isinstance(await manager.try_init_instance(Strict, 1), spex.SpexError)
            manager.mode = "off"
            await manager.init_instance(Order, 2)
            manager.transition_nowait(2, "pay", "paid")
            await manager.mock_instance(Order, 3, "paid")
            await manager.delete_instance(3)
            assert await manager.all_instances() == []
        path = places["impl_models_dir"]
        path.mkdir()
        (path / f"{Strict.name}.spex").write_text(model(Strict, ("a", "go", "b"), learning_mode=False).serialise())
        async with opened(places, mode="warn", observe_timeout=20) as manager:
            await manager.init_instance(Strict, 1)
            with pytest.warns(spex.DeviationWarning) as warned:
                await manager.transition(1, "leap", "nowhere")
            assert warned[0].filename == __file__
            assert manager.losses().deviations == 1

    asyncio.run(main())


@pytest.mark.long
def test_a_state_is_checked_by_the_models_of_the_shards_without_blocking(places: dict[str, Path]) -> None:
    """A state that neither specification nor model has is a ValueError; what does not wait lets it pass."""

    async def main() -> None:
        async with opened(places) as manager:
            with pytest.raises(ValueError, match=r"initial_state must be a state of contract\.Order, got: 'imported'"):
                await manager.init_instance(Order, 1, initial_state="imported")
            with pytest.raises(ValueError, match=r"state must be a state of contract\.Order, got: 'imported'"):
                await manager.mock_instance(Order, 1, "imported")
            manager.init_instance_nowait(Order, 1, initial_state="imported")
            await manager.flush()

    asyncio.run(main())
