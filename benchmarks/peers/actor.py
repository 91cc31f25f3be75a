"""A Ray actor that keeps its lights in SQLite: Ray itself keeps nothing when the actor's process dies."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..lights import Step
from . import package
from .sqlite import InSqlite

AT_ONCE = 1000


class InActor:
    """Lights in an actor; each step is a call of its own."""

    def __init__(self, ray: Any, folder: Path, durability: str) -> None:
        self._ray = ray
        self._actor = ray.remote(InSqlite).remote(str(folder), durability)

    def step(self, key: str, action: str, state: str) -> None:
        self._ray.get(self._actor.step.remote(key, action, state))

    def post_all(self, steps: Sequence[Step]) -> None:
        call = self._actor.step.remote
        for start in range(0, len(steps), AT_ONCE):
            self._ray.get([call(*step) for step in steps[start : start + AT_ONCE]])

    def entries(self) -> int:
        return self._ray.get(self._actor.entries.remote())  # type: ignore[no-any-return]


@contextmanager
def lights(folder: Path, durability: str) -> Iterator[InActor]:
    """Open lights in an actor of a cluster of this machine only."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray = package("ray")
    ray.init(
        num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
        object_store_memory=100 * 2**20,
    )  # fmt: skip
    try:
        yield InActor(ray, folder, durability)
    finally:
        ray.shutdown()
