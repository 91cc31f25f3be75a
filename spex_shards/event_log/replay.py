"""Replays an event log: every case becomes an instance, every event a transition.

::

    EventLog ── _send ──▶ manager (nowait, time order) ── flush ──▶ model ── check ──▶ Replayed
                  │
                  └── progress(events sent), which may stop the replay between two events
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from ..checking.conformance import Verdict
from ..domain.frequency import Frequencies, frequencies_of
from ..domain.impl_model import ImplModel
from ..domain.instance import Instance
from ..domain.specification import Specification
from ..domain.transition import INITIALISATION, Transition
from ..facade import check
from ..manager import InstanceManager
from ..runtime.protocol.codec import canonical
from . import EventLog, LogError
from .attributes import shown
from .collector import check_actions

INITIAL_STATE: Final = "start"
"""The state of a case before its first event."""

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ReplayedModel:
    """The model that a replay learned, its verdict (None: it was not judged), and how often its steps were taken."""

    model: ImplModel
    verdict: Verdict | None = None
    frequencies: Frequencies = field(default_factory=Frequencies)

    def plain(self) -> dict[str, Any]:
        """Return the result as a dict for JSON."""
        return {
            "specification": self.model.specification,
            "transitions": len(self.model.transitions),
            "verdict": None if self.verdict is None else self.verdict.value,
        }


@dataclass(frozen=True, slots=True)
class Replayed:
    """The result of a replay.

    Attributes:
        events, instances: How many were observed.
        deviations: How many deviations the shards counted; none if every model learns.
        restarts: How often a shard was restarted.
        seconds: The time from the first observation until all were applied.
        models: The model learned from the log, with learning mode off.
    """

    events: int
    instances: int
    deviations: int
    restarts: int
    seconds: float
    models: tuple[ReplayedModel, ...]

    @property
    def events_per_second(self) -> float:
        """The number of events per second."""
        return self.events / self.seconds if self.seconds else 0.0

    @property
    def conforms(self) -> bool:
        """Whether every judged model is equivalent."""
        return all(model.verdict in (None, Verdict.EQUIVALENT) for model in self.models)

    def plain(self) -> dict[str, Any]:
        """Return the result as a dict for JSON."""
        return {
            "events": self.events,
            "instances": self.instances,
            "deviations": self.deviations,
            "restarts": self.restarts,
            "seconds": round(self.seconds, 6),
            "events_per_second": round(self.events_per_second, 1),
            "models": [model.plain() for model in self.models],
        }


def check_log(log: EventLog) -> None:
    """Check, before anything is sent, that the whole log can be replayed.

    Raises:
        LogError: A case's name or an action cannot be used; the text names the case, and the event in it.
    """
    for name in log.cases:
        try:
            canonical(name)
        except ValueError as error:
            raise LogError(f"case {shown(name)}: its name cannot be an identifier: {error}") from None
    check_actions(log)


def replay(
    log: EventLog,
    manager: InstanceManager,
    specification: type[Specification],
    *,
    judge: bool = True,
    progress: Progress | None = None,
) -> Replayed:
    """Send the events of a log to a manager, and return the model learned from the log.

    A case becomes an instance with the case's name as identifier, right before its first event; cases without events
    follow at the end. Only the final flush waits.

    Args:
        log: The log.
        manager: A started manager whose models learn (``learning_mode=True``) and that has no instance of any case yet.
        specification: The specification of the cases.
        judge: Whether to judge the model.
        progress: Called after each event with the number of events sent. An exception that it raises ends the replay:
            each history is then a prefix of its case's events.

    Raises:
        ExceptionGroup: The errors of observations that could not be applied.
        SpexError: A shard cannot be reached, or was given up.
    """
    stored = any(m.specification == specification.name and m.transitions for m in manager.all_impl_models())
    before = _deviations(manager, specification)
    started = time.perf_counter()
    _send(log, manager, specification, progress or _no_progress)
    manager.flush()
    seconds = time.perf_counter() - started
    model = _from_histories(log, manager, specification) if stored else _learned(manager, specification)
    return Replayed(
        events=len(log.events),
        instances=len(log.cases),
        deviations=_deviations(manager, specification) - before,
        restarts=sum(shard.restarts for shard in manager.shards()),
        seconds=seconds,
        models=(ReplayedModel(model, check(model, specification).verdict if judge else None, frequencies_in(log)),),
    )


def frequencies_in(log: EventLog) -> Frequencies:
    """Return by how many cases of a log each transition is taken, as `replay` observes them."""
    start = Transition(None, INITIALISATION, INITIAL_STATE)
    states, runs = [INITIAL_STATE] * len(log.cases), [{start} for _ in log.cases]
    for case, action, state in log.events:
        runs[case].add(Transition(states[case], action, state))
        states[case] = state
    return frequencies_of(runs)


def _send(log: EventLog, manager: InstanceManager, specification: type[Specification], progress: Progress) -> None:
    cases, waiting = log.cases, dict.fromkeys(range(len(log.cases)))
    init, transition = manager.init_instance_nowait, manager.transition_nowait
    for number, (case, action, state) in enumerate(log.events, 1):
        name = cases[case]
        if case in waiting:
            del waiting[case]
            init(specification, name, None, INITIAL_STATE)
        transition(name, action, state)
        progress(number)
    for case in waiting:
        init(specification, cases[case], None, INITIAL_STATE)


def _learned(manager: InstanceManager, specification: type[Specification]) -> ImplModel:
    found = (m.transitions for m in manager.all_impl_models() if m.specification == specification.name)
    return ImplModel(specification=specification.name, transitions=next(found, frozenset()))


def _from_histories(log: EventLog, manager: InstanceManager, specification: type[Specification]) -> ImplModel:
    """Return the model of this log's cases alone, for a directory that also holds other instances."""
    cases = set(log.cases)
    seen: set[Transition] = set()
    for instance in manager.iter_instances(specification):
        if instance.identifier in cases:
            seen.update(_steps(instance))
    return ImplModel(specification=specification.name, transitions=frozenset(seen))


def _steps(instance: Instance) -> Iterable[Transition]:
    source: str | None = None
    for entry in instance.history:
        yield Transition(source, entry.action, entry.to_state)
        source = entry.to_state


def _deviations(manager: InstanceManager, specification: type[Specification]) -> int:
    return sum(deviation.count for deviation in manager.deviations(specification))


def _no_progress(_events: int) -> None:
    pass
