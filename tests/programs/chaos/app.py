"""One application that makes observations and keeps a journal of them: ``python -m tests.programs.chaos.app …``."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from pathlib import Path
from random import Random
from typing import Any, NoReturn

import spex_shards as spex

from .specs import Chain, Timed

INSTANCES = 12


class Journal(logging.Handler):
    """A file of lines; a line is in the file when `write` returns, so the journal survives the process."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.ERROR)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, *words: Any) -> None:
        """Append a line."""
        os.write(self._descriptor, (" ".join(map(str, words)) + "\n").encode())

    def emit(self, record: logging.LogRecord) -> None:
        """Write down which timeout was reported."""
        while True:
            with contextlib.suppress(MemoryError):  # what is reported once must be written down
                text = record.getMessage()
                if "has been in state" in text:
                    self.write("r", text.split("'")[1])
                return
            time.sleep(0.01)


NOT_DONE = (spex.ShardError, spex.StoreError, ExceptionGroup, MemoryError)
"""What may come out of a call when processes die, or are short of something."""


class App:
    """Observes instances of its own. It makes no further steps of an instance whose last step is uncertain."""

    def __init__(self, manager: Any, journal: Journal, name: str) -> None:
        self._manager = manager
        self._journal = journal
        self._name = name
        self._random = Random(name)
        self._steps: dict[int, int] = {}
        self._next = 0
        self._timed = 0
        self._at_hand: tuple[int, int] | None = None

    def turn(self) -> None:
        """Make one observation, or flush."""
        choice = self._random.random()
        if choice < 0.01:
            self._flush()
        elif choice < 0.012:
            self._observe_timed()
        else:
            self._observe(waits=choice > 0.8)

    def _observe(self, *, waits: bool) -> None:
        if len(self._steps) < INSTANCES:
            self._steps[self._next] = -1
            self._next += 1
        number = self._random.choice(list(self._steps))
        step = self._steps[number] + 1
        identifier = (self._name, number)
        self._at_hand = number, step  # first: a handler of SIGTERM must not take the step for one that was made
        self._steps[number] = step
        self._journal.write("i", number, step)
        try:
            if step:
                call: Any = self._manager.transition if waits else self._manager.transition_nowait
                call(identifier, "go", f"s{step}")
            else:
                call = self._manager.init_instance if waits else self._manager.init_instance_nowait
                call(Chain, identifier)
        except spex.StoreError as error:
            self._refused(error, number, step)
        except NOT_DONE as error:
            self._uncertain(error)
        else:
            self._at_hand = None
            if waits:
                self._journal.write("a", number, step)

    def terminated(self, *_: object) -> NoReturn:
        """Close the manager in the handler of SIGTERM, whatever it interrupts; this acknowledges all earlier posts."""
        steps, at_hand = dict(self._steps), self._at_hand
        try:
            self._manager.close()
        except NOT_DONE as error:
            self._journal.write("x", type(error).__name__)
        else:
            for number, step in steps.items():
                known = step - 1 if at_hand == (number, step) else step
                if known >= 0:
                    self._journal.write("f", number, known)
        os._exit(0)

    def _observe_timed(self) -> None:
        self._timed += 1
        try:
            self._manager.init_instance(Timed, f"{self._name}-t{self._timed}")
        except NOT_DONE as error:
            self._uncertain(error)
        else:
            self._journal.write("t", f"{self._name}-t{self._timed}")

    def _flush(self) -> None:
        steps = dict(self._steps)
        try:
            self._manager.flush(60)
        except NOT_DONE as error:
            self._uncertain(error)
            return
        for number, step in steps.items():
            self._journal.write("f", number, step)

    def _refused(self, error: spex.StoreError, number: int, step: int) -> None:
        # The error says that this call was not applied, but nothing about earlier posts. Stop using the instance.
        self._journal.write("n", number, step)
        self._journal.write("x", type(error).__name__)
        self._at_hand = None
        del self._steps[number]

    def short_of_memory(self) -> None:
        """Continue after a MemoryError from anywhere: the current observation may have been made or not."""
        self._at_hand = None
        self._steps.clear()
        with contextlib.suppress(MemoryError):
            self._journal.write("x", "MemoryError")

    def _uncertain(self, error: BaseException) -> None:
        # Requests on their way may be applied or not: their instances get no further steps.
        self._journal.write("x", type(error).__name__)
        self._steps.clear()
        time.sleep(0.05)


def main(data_dir: str, journal_path: str, name: str) -> None:
    """Make observations until killed."""
    journal = Journal(Path(journal_path))
    logging.getLogger("spex_shards").addHandler(journal)
    while True:
        with contextlib.suppress(spex.SpexError, OSError, MemoryError):
            manager = spex.connect(data_dir, call_timeout=20)
            break
        time.sleep(0.05)
    journal.write("start")
    app = App(manager, journal, name)
    signal.signal(signal.SIGTERM, app.terminated)
    while True:
        try:
            app.turn()
        except MemoryError:
            app.short_of_memory()


if __name__ == "__main__":
    main(*sys.argv[1:])
