"""The process under attack: makes public calls with injections, and keeps a journal of what was acknowledged."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import spex_shards as spex

from .injector import Injector

HANGS_AFTER = 60.0
"""Seconds that a single step has; then the process says where its threads are, and ends with an error."""
MOST_PLACES = 400
KINDS = {
    "in-process": (spex.SimpleInstanceManager, {}),
    "sharded": (spex.ShardedInstanceManager, {"distribution_factor": 1}),
}


class Light(spex.Specification):
    """A traffic light."""

    name = "injection.Light"
    transitions = [("red", "go", "green"), ("green", "stop", "red")]


class Other(spex.Specification):
    """A specification whose instances are listed and deleted."""

    name = "injection.Other"
    transitions = [("a", "b", "c")]


class SoftTimeLimit(Exception):
    """The exception that a task queue raises from a signal handler."""


def _raise(error: BaseException) -> Any:
    raise error


CALLS: dict[str, Callable[[Any, str], Any]] = {
    "transition": lambda m, word: m.transition("one", "go", word),
    "transition_nowait": lambda m, word: m.transition_nowait("one", "go", word),
    "try_transition": lambda m, word: m.try_transition("one", "go", word),
    "init_instance": lambda m, word: m.init_instance(Light, ("made", word)),
    "init_instance_nowait": lambda m, word: m.init_instance_nowait(Light, ("made", word)),
    "try_init_instance": lambda m, word: m.try_init_instance(Light, ("made", word), meta={"word": word}),
    "mock_instance": lambda m, _: m.mock_instance(Other, "mocked", "c"),
    "delete_instance": lambda m, _: m.delete_instance("mocked"),
    "delete_instances": lambda m, _: m.delete_instances(lambda i: i.identifier == "mocked"),
    "get_instance": lambda m, _: m.get_instance("one", 3),
    "all_instances": lambda m, _: m.all_instances(Other, 0),
    "iter_instances": lambda m, _: list(m.iter_instances(Other, 0)),
    "all_impl_models": lambda m, _: m.all_impl_models(),
    "export_impl_models": lambda m, _: m.export_impl_models(),
    "deviations": lambda m, _: m.deviations(),
    "stats": lambda m, _: m.stats(),
    "shards": lambda m, _: m.shards(),
    "messages": lambda m, _: list(m.messages()),
    "flush": lambda m, _: m.flush(),
}
OBSERVING = ("transition", "transition_nowait", "try_transition")
MAKING = ("init_instance", "init_instance_nowait", "try_init_instance")


class Load:
    """Makes calls of one manager, and knows what must be in its directory afterwards."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._cls, self._options = KINDS[kind]
        self._folder = folder
        self.words = 0
        self.acknowledged: dict[str, list[str]] = {"one": [], "nested": [], "other": []}
        self.posted: dict[str, list[str]] = {"one": [], "nested": [], "other": []}
        self.made: list[str] = []
        self.posted_made: list[str] = []
        self.places = 0
        self.manager = self.start()
        for identifier in ("one", "nested", "other"):
            self.manager.init_instance(Light, identifier)
        self.manager.init_instance(Other, "listed")

    def start(self) -> Any:
        """Return a started manager."""
        options = {"data_dir": self._folder / "data", "impl_models_dir": self._folder / "models", "learning_mode": True}
        return self._cls(**options, **self._options, call_timeout=20).start()

    def word(self) -> str:
        """Return a state that is used by no other observation."""
        self.words += 1
        return f"s{self.words}"

    # ------------------------------------------------------------------ one step

    def step(self, name: str, mode: str, place: int, *, opcodes: bool) -> bool:
        """Make a call with an injection at one place of it; return whether the call passed that place."""
        word = self.word()
        injector = Injector(place, self.action(mode), opcodes=opcodes)
        manager = self.manager
        try:
            answer = injector.run(lambda: CALLS[name](manager, word))
            if not isinstance(answer, spex.SpexError):  # what a handler raises is what `try_transition` returns
                self.returned(name, word)
        except (KeyboardInterrupt, SoftTimeLimit, TimeoutError, spex.InstanceNotFound):
            if not mode.startswith("raise"):
                raise
        except spex.ManagerClosed:
            if mode != "close":
                raise
        except (spex.PredicateError, TypeError):
            # An exception while the predicate runs or is pickled counts as the predicate's own. Besides, a predicate
            # must not call its manager.
            if name != "delete_instances":
                raise
        if not injector.reached:
            return False
        self.places += 1
        self.check_afterwards(f"{name}, {mode} at place {place}, {injector.where}")
        return True

    def action(self, mode: str) -> Callable[[], Any]:
        """Return the function that is injected."""
        manager = self.manager
        return {
            "raise": lambda: _raise(KeyboardInterrupt()),
            "raise-error": lambda: _raise(SoftTimeLimit()),
            "raise-timeout": lambda: _raise(TimeoutError("the alarm of the application")),
            "raise-own": lambda: manager.get_instance("there is none"),
            "nowait": lambda: self.observe(manager.transition_nowait, self.posted["nested"]),
            "call": lambda: self.observe(manager.transition, self.acknowledged["nested"]),
            "flush": lambda: self.flush(manager),
            "read": lambda: manager.get_instance("nested", 1),
            "close": manager.close,
            "join": lambda: self.in_another_thread(manager),
        }[mode]

    def observe(self, call: Callable[..., Any], journal: list[str]) -> None:
        """Make an observation as a signal handler would."""
        word = self.word()
        call("nested", "go", word)
        journal.append(word)

    def in_another_thread(self, manager: Any) -> None:
        """Wait for a thread that needs the manager, as a SIGTERM handler does that ends a service's threads."""
        thread = threading.Thread(target=lambda: self.observe_other(manager))
        thread.start()
        thread.join()

    def observe_other(self, manager: Any) -> None:
        """Make an observation in another thread."""
        word = self.word()
        manager.transition("other", "go", word)
        self.acknowledged["other"].append(word)

    def flush(self, manager: Any) -> None:
        """Flush; all earlier posts are acknowledged then."""
        posted = {name: list(words) for name, words in self.posted.items()}
        made = list(self.posted_made)
        manager.flush()
        for name, words in posted.items():
            self.acknowledged[name] += words
            del self.posted[name][: len(words)]
        self.made += made
        del self.posted_made[: len(made)]

    def returned(self, name: str, word: str) -> None:
        """Note that a call has returned."""
        if name in OBSERVING:
            (self.posted if name.endswith("_nowait") else self.acknowledged)["one"].append(word)
        elif name in MAKING:
            (self.posted_made if name.endswith("_nowait") else self.made).append(word)

    def check_afterwards(self, what: str) -> None:
        """Check that the manager works as before, for this thread and for another."""
        if self.manager._life.name in ("CLOSED", "CLOSING"):
            self.manager.close()
            self.acknowledge_posted()
            self.manager = self.start()
        faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
        started = time.monotonic()
        self.in_another_thread(self.manager)
        word = self.word()
        self.manager.transition("one", "go", word)
        self.acknowledged["one"].append(word)
        if time.monotonic() - started > 15:  # a call that waited in vain takes 20
            raise AssertionError(f"calls took {time.monotonic() - started:.1f} s after {what}")

    def acknowledge_posted(self) -> None:
        """Note that a close has returned, which includes a flush."""
        for name, words in self.posted.items():
            self.acknowledged[name] += words
            words.clear()
        self.made += self.posted_made
        self.posted_made.clear()


def places(first: int, stride: int) -> Iterator[int]:
    """Yield places from the first on; a limited number for calls that read more and more data."""
    yield from range(first, first + MOST_PLACES * stride, stride)


def run(kind: str, calls: list[str], modes: list[str], stride: int, folder: Path, *, opcodes: bool) -> None:
    """Attack each call in each mode at each place, write the journal, and kill this process."""
    load = Load(kind, folder)
    for name in calls:
        for mode in modes:
            if name == "delete_instances" and mode == "join":
                continue  # while a predicate runs in this process, threads that need the manager wait for it
            for place in places(1 + load.words % stride, stride):
                faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
                if not load.step(name, mode, place, opcodes=opcodes):
                    break
    load.flush(load.manager)
    journal = {"acknowledged": load.acknowledged, "made": load.made, "places": load.places, "words": load.words}
    (folder / "journal").write_text(json.dumps(journal))
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    kind, calls, modes, stride, folder, opcodes = sys.argv[1:]
    faulthandler.enable()
    run(kind, calls.split(","), modes.split(","), int(stride), Path(folder), opcodes=opcodes == "opcodes")
