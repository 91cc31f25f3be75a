"""Following the run of each instance through its specification and its properties, for `judge = "run"` and `"both"`."""

from __future__ import annotations

from typing import Final, NamedTuple

from ..checking.conformance import Verdict
from ..checking.runs import where
from ..domain.instance import Instance
from ..domain.run_property import BROKEN, Phase, RunProperty
from ..domain.transition import INITIALISATION, Transition
from ..errors import DeviationFromSpecification, show
from ..runtime.watch import Watch
from .catalogue import Entry
from .row_forms import RunRow
from .rows import Found, Instances

_PORTION: Final = 8192
"""Entries of a history that are read at a time when a run is followed from its start."""


class Deviating(NamedTuple):
    """An observed step that is an error.

    Attributes:
        before: The run before the step.
        broken: The first property that the step breaks; None: the specification does not allow the step at all.
    """

    before: RunRow
    broken: RunProperty | None


class Follower:
    """Follows the runs of one shard's instances.

    Args:
        instances: The instances.
        watch: Is told of progress while a long history is read.
    """

    def __init__(self, instances: Instances, watch: Watch) -> None:
        self._instances = instances
        self._watch = watch

    def step(self, found: Found, entry: Entry, action: str, target: str) -> tuple[RunRow, Deviating | None]:
        """Return an instance's run after its next step, and the error that the step is, or None; nothing is stored."""
        if action == INITIALISATION:
            return _start_of(entry), None
        run = found.row.run
        before = run if run is not None and run.digest == entry.run_digest else self._followed_anew(found, entry)
        position, allowed = entry.runs.follow(before.position, action, target)
        if not before.phases:
            return RunRow(before.digest, position), None if allowed else Deviating(before, None)
        phases, broken = _phases(before, entry, action)
        deviating = None if allowed and broken is None else Deviating(before, broken if allowed else None)
        return RunRow(before.digest, position, phases), deviating

    def _followed_anew(self, found: Found, entry: Entry) -> RunRow:
        """Return the run of an instance from its history.

        The run in the instance's row is one of another specification, or runs were not judged when the row was
        written. A mocked instance starts in the specified state of the same name.
        """
        row = found.row
        run: RunRow | None = None
        for start in range(1, row.seq + 1, _PORTION):
            self._watch.bump()
            for _, action, state in self._instances.history(row.number, start, min(start + _PORTION, row.seq + 1)):
                run = followed(run, entry, action, state)
                if run is None:  # a mocked instance: its history does not contain the state that it began in
                    return _named(entry, row.state)
        return _named(entry, row.state) if run is None else run


def followed(run: RunRow | None, entry: Entry, action: str, state: str) -> RunRow | None:
    """Return a run after one entry of a history; None: the history does not begin with the initialisation.

    Args:
        run: The run before; None at the start of the history.
        entry: The specification.
        action: The entry's action.
        state: The entry's state.
    """
    if action == INITIALISATION:
        return _start_of(entry)
    if run is None:
        return None
    position, _ = entry.runs.follow(run.position, action, state)
    return RunRow(run.digest, position, _phases(run, entry, action)[0])


def holds(run: RunRow, entry: Entry) -> bool:
    """Return whether a stored run is one of the specification as it is now."""
    return (
        entry.judges_runs
        and run.digest == entry.run_digest
        and entry.runs.holds(run.position)
        and len(run.phases) == len(entry.properties)
    )


def deviation(step: Deviating, entry: Entry, instance: Instance, transition: Transition) -> DeviationFromSpecification:
    """Return the error of a step that deviates.

    Args:
        step: The step.
        entry: The specification.
        instance: The instance, after the step.
        transition: The step as it was observed.
    """
    possible, allowed = entry.runs.states(step.before.position), entry.runs.allowed(step.before.position)
    why = (
        f"which its specification does not allow there: {where(possible, allowed)}"
        if step.broken is None
        else f"which breaks a property of its specification: {step.broken}"
    )
    return DeviationFromSpecification(
        f"instance {show(instance.identifier)} of {entry.name} did {transition.action} (from {transition.source} "
        f"to {transition.target}), {why}",
        instance=instance,
        deviating_transition=transition,
        verdict=Verdict.VIOLATION,
        possible=possible,
        allowed=allowed,
        property=None if step.broken is None else str(step.broken),
    )


def _start_of(entry: Entry) -> RunRow:
    return RunRow(entry.run_digest, entry.runs.start, tuple(one.start for one in entry.properties))


def _named(entry: Entry, state: str | None) -> RunRow:
    return RunRow(entry.run_digest, entry.runs.named(state or ""), tuple(one.start for one in entry.properties))


def _phases(before: RunRow, entry: Entry, action: str) -> tuple[tuple[Phase, ...], RunProperty | None]:
    """Return where a run is in each property after an action, and the first property that the action breaks."""
    phases = []
    broken = None
    for one, phase in zip(entry.properties, before.phases, strict=True):
        following = one.after_action(phase, action)
        phases.append(following)
        if following == BROKEN != phase and broken is None:
            broken = one
    return tuple(phases), broken
