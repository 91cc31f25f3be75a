"""The work that everything is measured by: traffic lights switch, and what they did must survive.

A step finds a light by its key, checks that the step is allowed in the light's state, writes the new state, and adds a
row to the light's history. ``process``: an acknowledged step survives the death of any process, and a power loss costs
about a second at most. ``disk``: it survives a power loss.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import spex_shards as spex

from .placing import placed
from .processes import children
from .timing import Figures, blocking, posted

ALLOWED = frozenset({("red", "go", "green"), ("green", "stop", "red")})
KEYS = [f"light {number}" for number in range(1000)]
STEPS = (("go", "green"), ("stop", "red"))
AT_ONCE = 100
"""Steps in a pipeline or a transaction of a peer, where nobody waits for each."""
Step = tuple[str, str, str]


class Light(spex.Specification):
    """A traffic light."""

    name = "benchmarks.Light"
    transitions = sorted(ALLOWED)


class Lights(Protocol):
    """Lights of which some, with `KEYS` as keys, are red in the beginning."""

    def step(self, key: str, action: str, state: str) -> Any:
        """Switch a light; when it returns, the step is durable."""

    def post_all(self, steps: Sequence[Step]) -> None:
        """Make many steps; when it returns, all are durable."""

    def entries(self) -> int:
        """Return the number of rows of all histories."""


Opened = Callable[[Path, str], AbstractContextManager[Lights]]
"""Opens lights in a folder, with a durability."""


def step(number: int) -> Step:
    """Return the step that is made as the `number`-th: each light's turn comes again after all others'."""
    lap, light = divmod(number, len(KEYS))
    return (KEYS[light], *STEPS[lap % 2])


def in_portions(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    """Iterate over portions of `AT_ONCE` steps."""
    for start in range(0, len(steps), AT_ONCE):
        yield steps[start : start + AT_ONCE]


def measured(opened: Opened, durability: str, calls: int, posts: int, folder: Path) -> Figures:
    """Return the figures of blocking steps, and of steps that are waited for once.

    Blocking steps of what has other processes are also measured with both sides on one core, and on two.

    Raises:
        RuntimeError: Not every step is in a history.
    """
    with opened(folder, durability) as lights:
        lights.post_all([step(number) for number in range(2 * len(KEYS))])  # everything is warm, and red again
        numbers = count()
        figures = blocking(lambda _: lights.step(*step(next(numbers))), calls)
        if children(os.getpid()):
            for placement in ("apart", "together"):
                with placed(placement):
                    found = blocking(lambda _: lights.step(*step(next(numbers))), calls // 2)
                figures |= {f"{placement}_{name}": found[name] for name in ("p50_us", "per_second")}
        steps = [step(next(numbers)) for _ in range(posts)]
        figures |= posted(lambda: lights.post_all(steps), posts)
        if isinstance(lights, Managed):
            steps = [step(next(numbers)) for _ in range(posts)]
            each = posted(lambda: lights.post_each(steps), posts)
            figures |= {name.replace("posted", "nowait"): value for name, value in each.items()}
        made = 2 * len(KEYS) + next(numbers)
        if lights.entries() != made:
            raise RuntimeError(f"{made} steps were made, and the histories have {lights.entries()} rows")
    return figures


class Managed:
    """Lights that are instances of a manager."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self.step = manager.transition
        for key in KEYS:
            manager.init_instance_nowait(Light, key)
        manager.flush(120)

    def post_all(self, steps: Iterable[Step]) -> None:
        """Send all steps, and wait for all of them; an earlier revision sends them one by one."""
        many = getattr(self._manager, "transition_many", None)
        if many is None:
            self.post_each(steps)
        else:
            many(steps)

    def post_each(self, steps: Iterable[Step]) -> None:
        """Send all steps one by one, and wait for all of them."""
        send = self._manager.transition_nowait
        for key, action, state in steps:
            send(key, action, state)
        self._manager.flush(120)

    def entries(self) -> int:
        """Return the number of rows of all histories, but for those of the instances' creation."""
        return sum(len(light.history) - 1 for light in self._manager.iter_instances())


@contextmanager
def on_shards(folder: Path, durability: str, shards: int = 1, **options: Any) -> Iterator[Managed]:
    """Open lights in the processes of so many shards."""
    with sharded(folder, shards, durability, **options) as manager:
        yield Managed(manager)


@contextmanager
def in_process(folder: Path, durability: str) -> Iterator[Managed]:
    """Open lights in this process."""
    places = {"data_dir": folder / "data", "impl_models_dir": folder / "models"}
    with spex.SimpleInstanceManager(**places, durability=durability, learning_mode=True) as manager:
        yield Managed(manager)


def sharded(folder: Path, shards: int, durability: str, **options: Any) -> spex.ShardedInstanceManager:
    """Return a manager with shards of their own processes, over the folder's data directory."""
    return spex.ShardedInstanceManager(
        data_dir=folder / "data", impl_models_dir=folder / "models", distribution_factor=shards, durability=durability,
        **{"learning_mode": True, "call_timeout": 60.0, "max_restarts": 1000, **options},
    )  # fmt: skip


OURS: dict[str, Opened] = {"shards": on_shards, "in-process": in_process, "16 shards": partial(on_shards, shards=16)}
