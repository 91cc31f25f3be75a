"""Threads that observe while faults happen, and know what was acknowledged to them."""

from __future__ import annotations

import threading
from typing import Any

import spex_shards as spex

from .processes import wait_until


class Loop(spex.Specification):
    """Goes round for ever."""

    name = "writers.Loop"
    transitions = [("on", "go", "on")]
    initial_state = "on"


class Writers:
    """Threads that count, each on an instance of its own.

    Args:
        manager: The manager.
        count: The number of threads.
        posts: How many observations every second thread sends without waiting, before one that it waits for.
        patience: Seconds that `wait` waits at most.

    Attributes:
        acknowledged: Writer → how many observations are acknowledged.
    """

    def __init__(self, manager: Any, count: int, *, posts: int = 0, patience: float = 60.0) -> None:
        self._manager, self._posts, self._patience = manager, posts, patience
        self.acknowledged = [0] * count
        self._failed: list[BaseException] = []
        self._stop = threading.Event()
        for number in range(count):
            manager.init_instance(Loop, number)
        self._threads = [threading.Thread(target=self._write, args=(number,), daemon=True) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _write(self, number: int) -> None:
        posts = 0 if number % 2 else self._posts
        try:
            while not self._stop.is_set():
                for _ in range(posts):
                    self._manager.transition_nowait(number, "go", "on")
                self._manager.transition(number, "go", "on")
                self.acknowledged[number] += posts + 1
        except BaseException as error:
            self._failed.append(error)

    def wait(self, more: int) -> None:
        """Wait until each writer has been acknowledged this many observations more."""
        wanted = [count + more for count in self.acknowledged]
        wait_until(
            lambda: self._failed or all(map(int.__ge__, self.acknowledged, wanted)),
            lambda: f"each of {self.acknowledged} is at {wanted}",
            self._patience,
        )
        self._raise()

    def _raise(self) -> None:
        if self._failed:
            raise AssertionError(f"a writer has failed: {self._failed[0]!r}") from self._failed[0]

    def check(self) -> None:
        """Stop, and check that each history has exactly what was acknowledged."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * self._patience)
        self._manager.flush(60)
        self._raise()
        # A writer's last call has returned, so stored is acknowledged: nothing was lost or applied twice.
        stored = [len(self._manager.get_instance(number).history) - 1 for number in range(len(self.acknowledged))]
        assert stored == self.acknowledged
