"""What the console shows, read from the shards while somebody looks.

# Guarantees:
#
# * Nothing is read while nobody looks. One thread reads, and it rests for at least `REST` times as long as a look took,
#   so that shards and this process have most of their time for other work.
# * Of a bounded number of instances it is counted where they are, and a look reads at most `AT_ONCE` of them.
"""

from __future__ import annotations

import copy
import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from ..checking.conformance import Result
from ..domain.difference import in_order
from ..domain.frequency import Frequencies
from ..domain.impl_model import ImplModel
from ..domain.instance import Deviation, Instance
from ..domain.specification import Specification
from ..domain.transition import INITIALISATION, Transition
from ..errors import SpexError, words
from ..facade import check
from ..manager import InstanceManager
from ..manager.reader import Reader
from ..runtime.system.waits import capped
from ..telemetry import ShardVitals, Vitals
from ..telemetry.metrics import observations_of

LOOK_EVERY: Final = 1.0
REST: Final = 4.0
COUNT_EVERY: Final = 15.0
"""The fewest seconds between two counts of instances."""
MOST_COUNTED: Final = 2000
"""The most instances that are counted, of all specifications together."""
MOST_STEPS: Final = 100
"""The newest entries of a history that are counted."""
LOOKED_AT_FOR: Final = 10.0
"""Seconds after the newest request for which somebody counts as looking."""
AT_ONCE: Final = 250
"""The most instances that one look reads."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A model as it is drawn: with the deviations that were seen, and the verdict on it.

    Attributes:
        model: The learned model, and in it the deviations.
        specification: The class, if it is known.
        result: The verdict on the model with the deviations.
        version: Changes exactly when one of these changes.
    """

    model: ImplModel
    specification: type[Specification] | None
    result: Result | None
    version: str


@dataclass(slots=True)
class Counted:
    """Of one specification: how many instances were counted, the steps that they took, and where they are.

    Attributes:
        instances: The number of instances that were counted.
        taken: Transition → how many of them took it, as far as their newest entries tell.
        states: State → how many of them are there.
    """

    instances: int = 0
    taken: Counter[Transition] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)

    def add(self, instance: Instance) -> None:
        """Count an instance."""
        self.instances += 1
        self.states[instance.current_state or ""] += 1
        steps: set[Transition] = set()
        before: str | None = None
        for number, (action, target, _) in enumerate(instance.history):
            if number or action == INITIALISATION:
                steps.add(Transition(before, action, target))
            before = target
        self.taken.update(steps)

    def frequencies(self) -> Frequencies:
        """Return the steps as frequencies."""
        return Frequencies(self.instances, dict(self.taken))


class Extent(StrEnum):
    """Which instances were counted."""

    ALL = "all"
    SAMPLE = "sample"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen at the last look.

    Attributes:
        models: Name → the model.
        deviations: All deviations.
        counted: Name → what was counted.
        extent: Which instances these were.
        trouble: Why something could not be read, or "".
    """

    models: Mapping[str, Judged] = field(default_factory=dict)
    deviations: tuple[Deviation, ...] = ()
    counted: Mapping[str, Counted] = field(default_factory=dict)
    extent: Extent = Extent.UNFINISHED
    trouble: str = ""


class Looking:
    """Looks at a manager's shards while somebody asks for what was seen.

    Args:
        manager: The manager; it must be started.
        vitals: Reads the shards' counters.

    Attributes:
        seen: What was seen at the last look.
    """

    def __init__(self, manager: InstanceManager, vitals: Vitals) -> None:
        self._manager = manager
        self._vitals = vitals
        self.seen = Seen()
        self._wanted_at = 0.0
        self._lock = threading.Lock()
        self._looked = threading.Event()
        self._is_looking = False
        self._ended = threading.Event()
        self._progress: tuple[Any, ...] = ()
        self._count_at = 0.0
        self._counting: Iterator[tuple[dict[str, Counted], Extent]] | None = None
        self._verdicts: dict[str, Judged] = {}

    def newest(self, within: float = 2.0) -> Seen:
        """Return what was seen at the last look; waits for the first one."""
        self._wanted_at = time.monotonic()
        with self._lock:
            if not self._is_looking and not self._ended.is_set():
                self._is_looking = True
                threading.Thread(target=self._look, name="spex-shards-console-looks", daemon=True).start()
        self._looked.wait(within)
        return self.seen

    def close(self) -> None:
        """Look no more."""
        self._ended.set()

    # ------------------------------------------------------------------ inside

    def _look(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                self._look_once()
            except Exception as error:  # whatever it is, the next look may succeed
                self._progress = ()
                told = str(error) if isinstance(error, SpexError) else words(error)
                self.seen = Seen(**{**_fields(self.seen), "trouble": told})
            self._looked.set()
            self._ended.wait(capped(max(LOOK_EVERY, REST * (time.monotonic() - begun))))
            with self._lock:
                if self._ended.is_set() or time.monotonic() - self._wanted_at > LOOKED_AT_FOR:
                    self._is_looking = False
                    return

    def _look_once(self) -> None:
        progress = tuple(_progress_of(one) for one in self._vitals.read())
        if progress != self._progress or self.seen.trouble:
            deviations = tuple(self._manager.deviations())
            models = self._models(deviations)
            self._progress = progress
            is_new = {one.version for one in models.values()} != {one.version for one in self.seen.models.values()}
            self.seen = Seen(**{**_fields(self.seen), "models": models, "deviations": deviations, "trouble": ""})
            self._count_at = min(self._count_at, time.monotonic() + (0.0 if is_new else COUNT_EVERY))
        if self._counting is None and time.monotonic() >= self._count_at:
            self._counting, self._count_at = self._count(), float("inf")  # until something happens
        if self._counting is not None:
            self._count_on(self._counting)

    def _count_on(self, counting: Iterator[tuple[dict[str, Counted], Extent]]) -> None:
        try:
            counted, extent = next(counting)
        except Exception:
            self._counting, self._count_at = None, time.monotonic() + COUNT_EVERY
            raise
        if extent is not Extent.UNFINISHED:
            self._counting = None
        elif self.seen.extent is not Extent.UNFINISHED:
            return  # what was counted before is of more use
        self.seen = Seen(**{**_fields(self.seen), "counted": counted, "extent": extent})

    def _models(self, deviations: tuple[Deviation, ...]) -> dict[str, Judged]:
        assert self._manager.transport is not None
        reader = Reader(self._manager.transport)
        extra: dict[str, set[Transition]] = {}
        for one in deviations:
            extra.setdefault(one.specification, set()).add(one.transition)
        found = {}
        for model in self._manager.all_impl_models():
            name = model.specification
            drawn = ImplModel(
                specification=name, transitions=model.transitions | extra.get(name, set()),
                learning_mode=model.learning_mode,
            )  # fmt: skip
            found[name] = self._judged(drawn, reader.specification(name))
        self._verdicts = found
        return found

    def _judged(self, model: ImplModel, cls: type[Specification] | None) -> Judged:
        told = repr((in_order(model.transitions), None if cls is None else (cls.transitions, str(cls.equivalence))))
        version = hashlib.sha256(told.encode(errors="backslashreplace")).hexdigest()[:16]
        before = self._verdicts.get(model.specification)
        if before is not None and before.version == version:
            return before
        return Judged(model, cls, None if cls is None else check(model, cls), version)

    def _count(self) -> Iterator[tuple[dict[str, Counted], Extent]]:
        """Yield what was counted, after every `AT_ONCE` instances and at the end."""
        counted: dict[str, Counted] = {}
        for number, instance in enumerate(self._manager.iter_instances(history_limit=MOST_STEPS)):
            if number == MOST_COUNTED:
                yield counted, Extent.SAMPLE
                return
            if number and number % AT_ONCE == 0:
                yield copy.deepcopy(counted), Extent.UNFINISHED
            counted.setdefault(instance.specification_name, Counted()).add(instance)
        yield counted, Extent.ALL


def _fields(seen: Seen) -> dict[str, Any]:
    return {name: getattr(seen, name) for name in Seen.__dataclass_fields__}


def _progress_of(one: ShardVitals) -> tuple[Any, ...]:
    """Return what changes whenever a model, an instance or a deviation may have changed."""
    counters = one.counters
    if counters is None:
        return (one.pid, one.up)
    changing = sum(counters["requests"].get(kind, 0) for kind in ("mock", "delete", "delete_where"))
    return (one.pid, observations_of(counters), counters.get("deviations"), counters.get("timeouts"), changing)
