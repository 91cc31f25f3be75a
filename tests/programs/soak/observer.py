"""The common part of the soak's processes: observe instances of their own, with a journal that survives the process."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import spex_shards as spex
from spex_shards.runtime.holder import start_time
from tests.programs.chaos.app import App, Journal

DATA, JOURNALS = "SOAK_DATA_DIR", "SOAK_JOURNALS"
MOST_STEPS = 100
_observers: dict[int, Observer] = {}


class Observer(App):
    """Observes instances that end after a hundred steps; an instance without an end would stay for ever."""

    def _observe(self, *, waits: bool) -> None:
        super()._observe(waits=waits)
        for number in [number for number, step in self._steps.items() if step >= MOST_STEPS]:
            del self._steps[number]

    def _observe_timed(self) -> None:
        self._flush()


def observer(role: str) -> Observer:
    """Return this process's observer; a forked child gets another one.

    Raises:
        ShardError: There is no supervisor now.
    """
    pid = os.getpid()
    if pid not in _observers:
        _observers.clear()
        name = f"{role}-{pid}-{start_time(pid)}"
        manager: Any = spex.connect(os.environ[DATA], call_timeout=20)
        journal = Journal(Path(os.environ[JOURNALS]) / f"{name}.journal")
        journal.write("start")
        logging.getLogger("spex_shards").setLevel(logging.CRITICAL)  # deaths are what this is about
        _observers[pid] = Observer(manager, journal, name)
    return _observers[pid]
