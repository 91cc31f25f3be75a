"""What makes a model a violation: transitions that no extension repairs, none of them needless, and what they mean.

::

    pairs ──▶ a step that no class of its state allows ────────▶ not specified, renamed, wrong target, silent choice
      │  └──▶ a state that has two classes (deterministic) ────▶ one name for two states, wrong target, silent step
      └─────▶ core: an irreparable part ──▶ `reconciling`: a state that would need two classes

A step that is not specified is preferred to any other cause. Every cause is checked by `proof` before it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State, Transition
from .arrays import Grouped, components
from .core import Core
from .deterministic import moves_of
from .graph import Equivalence
from .pairs import Pairs
from .proof import irreparable
from .reconciling import Side, two_sides
from .renaming import meant_by
from .specified import Specified

MOST_PROVED: Final = 200_000
"""A cause with more transitions than this is not checked by `proof`."""
MOST_ANEW: Final = 20_000
"""The pairs of a part with more transitions are found anew only if each of its transitions is needed."""
MOST_DOUBLE: Final = 50
"""How many states with two classes, and how many classes of each, are examined to find where this begins."""
MOST_TAKEN_APART: Final = 40
"""For that, only runs with at most this many steps are examined step by step."""

Steps = tuple[tuple[Transition, int], ...]


class Kind(StrEnum):
    """Why a model is not equivalent to its specification."""

    UNSPECIFIED_STEP = "unspecified-step"
    """A violation: a step was seen that the specification does not allow there."""
    RENAMED_ACTION = "renamed-action"
    """A violation: such a step, and the model fits if its action is read as another action of the specification."""
    WRONG_TARGET = "wrong-target"
    """A violation: a specified action led to a state of the specification that it does not lead to there."""
    SHARED_NAME = "shared-name"
    """A violation: one state of the model would have to be equivalent to two different states of the specification."""
    SILENT_CHOICE = "silent-choice"
    """A violation: a step was seen that is specified only after a silent step, which rules out other behaviour."""
    SILENT_STEP = "silent-step"
    """A violation: a silent step changes what is possible, and the specification has none there."""
    ENDLESS_SILENCE = "endless-silence"
    """A violation: silent steps can go on for ever where the specification does not allow that."""
    CONFLICT = "conflict"
    """A violation: steps that cannot all be right, of no kind with a name of its own."""
    SEVERAL_INITIALISATIONS = "several-initialisations"
    """A violation: instances started in two different states."""
    OTHER_NAME = "other-name"
    """A violation only because names must agree: a state has the name of another state of the specification."""
    NO_INITIALISATION = "no-initialisation"
    """Incomplete: no instance was seen to start."""
    NOT_SEEN = "not-seen"
    """Incomplete: nothing wrong was seen, but not everything that is specified."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What makes a model a violation.

    Attributes:
        kind: The kind of cause.
        transitions: Transitions of the model, in the order of their distance from the start. Together with the
            initialisation they are a violation by themselves.
        minimal: Whether each of them is known to be needed for that.
        sides: One or two runs of the model, each with the class that its last state must have.
        step: The step that is to blame, if a single one is.
        action: The specification's name of that step's action, if the action is renamed.
    """

    kind: Kind
    transitions: tuple[Transition, ...]
    sides: tuple[Side, ...]
    minimal: bool = True
    step: Transition | None = None
    action: str | None = None


def find(impl: LTS, specified: Specified) -> Cause:
    """Find the cause of a violation.

    Args:
        impl: The model.
        specified: The specification that it violates.

    Raises:
        AssertionError: The model is no violation, or `proof` refuted the cause that was found.
    """
    found = _Search(impl, specified).cause()
    small = len(found.transitions) <= MOST_PROVED
    if small and irreparable(impl.initial_state, found.transitions, specified.small, specified.kind) is False:
        raise AssertionError(f"a wrong cause was found, please report it: {found.transitions} of {impl!r}")
    return found


class _Search:
    def __init__(self, impl: LTS, specified: Specified) -> None:
        self._impl, self._specified = impl, specified
        self._deterministic = moves_of(specified.small, strong=specified.strong) is not None
        self._core = Core(impl.initial_state, specified)

    def cause(self) -> Cause:
        """Return the cause: a step that is not specified, if there is one; else steps that contradict each other."""
        pairs = Pairs(self._impl, self._specified)
        if self._deterministic or pairs.whole:
            found = self._stuck(pairs)
            if found is not None:
                return found
        if self._deterministic and pairs.conflict is not None:
            state, sides = self._root(pairs)
            return self._contradiction(state, sides, _steps_of(*sides))
        part = self._core.of(self._endless(pairs) or _reached(pairs))
        return self._of_part(part, pairs)

    def _root(self, pairs: Pairs) -> tuple[State, tuple[Side, Side]]:
        """Return a state that has two classes, though each state must have one, and the two runs that show it.

        A state with two classes gives two to the states after it, so it must be found where this begins. The best
        choice is a state to whose two classes runs lead on which no other state has two: then each step of the runs is
        needed. Otherwise a state is chosen for which each step is found to be needed, if possible one without the name
        of a specified state; otherwise the first that was found.
        """
        double = [state for state, classes in pairs.classes.items() if len(classes) > 1][:MOST_DOUBLE]
        if pairs.whole:
            candidates = [
                (state, (Side(pairs.run(state, classes[0]), classes[0]), Side(pairs.run(state, other), other)))
                for state in sorted(double, key=lambda state: self._specified.calls(state) is not None)
                for classes in [pairs.classes[state]]
                for other in classes[1:MOST_DOUBLE]
            ]
            for found in candidates:
                if all(
                    step.target == found[0] or len(pairs.classes[step.target]) == 1 for step in _steps_of(*found[1])
                ):
                    return found
            for found in candidates:
                part = _steps_of(*found[1])
                if len(part) <= MOST_TAKEN_APART and len(self._core.of(part)) == len(part) and self._core.exact:
                    return found
        assert pairs.conflict is not None
        (state, one), (_, other) = pairs.conflict
        return state, (Side(pairs.run(state, one), one), Side(pairs.run(state, other), other))

    def _of_part(self, part: tuple[Transition, ...], whole: Pairs) -> Cause:
        """Return the cause that an irreparable part of a model is; `whole` are the pairs of the whole model."""
        steps: Any = part
        minimal = self._core.exact
        # A large part that could not be made smaller has nearly all pairs of the whole model.
        unchanged = len(part) == len(set(_reached(whole))) or (not minimal and len(part) > MOST_ANEW)
        pairs = whole if unchanged else Pairs(LTS(self._impl.initial_state, steps), self._specified)
        found = self._stuck(pairs) if minimal and pairs.whole else None
        if found is not None and self._is_stuck(found.transitions[-1], whole):
            return found
        preserving = self._specified.kind is Equivalence.DIVERGENCE_PRESERVING_BRANCHING
        if preserving and irreparable(
            self._impl.initial_state, part, self._specified.small, Equivalence.BRANCHING
        ) is False:  # fmt: skip
            state, cycle = next((s, cycle) for s in pairs.classes if (cycle := _silent_cycle(s, pairs)))
            own = pairs.classes[state][0]
            return Cause(Kind.ENDLESS_SILENCE, part, (Side(pairs.run(state, own), own, cycle),), minimal, step=cycle[0])
        split = two_sides(part, self._impl.initial_state, pairs, self._specified)
        if split is not None:
            state, sides = split
            return self._contradiction(state, sides, part, minimal=minimal)
        last = next(step for step in reversed(part) if step.source in pairs.classes)
        source: Any = last.source
        own = pairs.classes[source][0]
        return Cause(Kind.CONFLICT, part, (Side(pairs.run(source, own), own, (last,)),), minimal, step=last)

    def _stuck(self, pairs: Pairs) -> Cause | None:
        """Return the cause of a step that no class of its state allows, nearest to the start; silent choices last."""
        weak: Cause | None = None
        for state, classes in pairs.classes.items():
            for action, target in pairs.steps.get(state, ()):
                if any(self._specified.leads(own, action) for own in classes):
                    continue
                later = [o for o in classes if action in self._specified.allowed(o)]
                if later and weak is not None:
                    continue
                found = self._blamed(pairs, state, action, target, later or classes, silent=bool(later))
                if found is not None and not later:
                    return found
                weak = weak or found
        return weak

    def _is_stuck(self, step: Transition, pairs: Pairs) -> bool:
        source: Any = step.source
        return not any(self._specified.leads(own, step.action) for own in pairs.classes[source])

    def _blamed(
        self, pairs: Pairs, state: State, action: str, target: State, classes: list[int], *, silent: bool
    ) -> Cause | None:
        """Return the cause of a step that is not allowed; None if every run to it visits a state twice."""
        called = self._specified.calls(state)
        ordered = sorted(classes, key=lambda own: own != called)
        runs = {own: run for own in ordered if _is_simple(run := pairs.run(state, own))}
        if not runs:
            return None
        own, run = next(iter(runs.items()))
        raw: Any = (state, action, target)
        step = Transition(*raw)
        transitions, sides = (*(t for t, _ in run), step), (Side(run, own, (step,)),)
        if silent:
            return Cause(Kind.SILENT_CHOICE, transitions, sides, step=step)
        meant = meant_by(step, self._impl, pairs, self._specified)
        fitting = next((o for o in runs if meant in self._specified.moves(o)), None)
        if fitting is not None:
            run = runs[fitting]
            sides = (Side(run, fitting, (step,)),)
            return Cause(Kind.RENAMED_ACTION, (*(t for t, _ in run), step), sides, step=step, action=meant)
        if called is not None and called != own and self._specified.leads(called, action):
            wrong = self._first_misnamed(run)
            if wrong is not None:
                return Cause(Kind.WRONG_TARGET, transitions, sides, step=wrong)
        return Cause(Kind.UNSPECIFIED_STEP, transitions, sides, step=step)

    def _first_misnamed(self, run: Steps) -> Transition | None:
        """Return the first step of a run to a state with the name of a specified state that it does not lead to."""
        before = 0
        for step, own in run:
            if self._specified.is_misnamed(before, step, own):
                return step
            before = own
        return None

    def _contradiction(
        self, state: State, sides: tuple[Side, Side], part: tuple[Transition, ...], *, minimal: bool = True
    ) -> Cause:
        """Return the cause of a state that must have two classes."""
        lasts = [side.run[-1][0] if side.run else None for side in sides]
        if not self._specified.strong and not self._specified.silent:
            silent = next((last for last in lasts if last is not None and last.action == INTERNAL), None)
            if silent is not None:
                return Cause(Kind.SILENT_STEP, part, sides, minimal, step=silent)
        called = self._specified.calls(state)
        for right, wrong, last in ((sides[0], sides[1], lasts[1]), (sides[1], sides[0], lasts[0])):
            if called == right.own and last is not None and not wrong.then and self._agrees(last, wrong):
                return Cause(Kind.WRONG_TARGET, part, (wrong, right), minimal, step=last)
        return Cause(Kind.SHARED_NAME, part, sides, minimal)

    def _agrees(self, step: Transition, side: Side) -> bool:
        """Return whether the states of a run, up to its last step, have the names of the specified states."""
        before = side.run[-2][1] if len(side.run) > 1 else 0
        named = self._specified.calls(step.source or "") == before
        return named and self._specified.is_misnamed(before, step, side.own)

    def _endless(self, pairs: Pairs) -> tuple[Transition, ...]:
        """Return a silent cycle that no class of its states allows, and a run to it; nothing if there is none."""
        if self._specified.kind is not Equivalence.DIVERGENCE_PRESERVING_BRANCHING:
            return ()
        states = list(pairs.classes)
        number = {state: at for at, state in enumerate(states)}
        silent = [[number[t] for a, t in pairs.steps.get(s, ()) if a == INTERNAL and t in number] for s in states]
        component, _ = components(Grouped.of_targets(silent))
        cycles: dict[int, list[State]] = {}
        for state, own in zip(states, component, strict=True):
            cycles.setdefault(own, []).append(state)
        for inside in cycles.values():
            members = set(inside)
            steps: Any = [
                (s, a, t) for s in inside for a, t in pairs.steps.get(s, ()) if a == INTERNAL and t in members
            ]
            common = set(pairs.classes[inside[0]]).intersection(*(pairs.classes[s] for s in inside))
            if steps and not any(self._specified.diverges(own) for own in common):
                run = pairs.run(inside[0], pairs.classes[inside[0]][0])
                return tuple(dict.fromkeys([*(t for t, _ in run), *(Transition(*step) for step in steps)]))
        return ()


def _reached(pairs: Pairs) -> list[Transition]:
    # A step that is reached only after one that no class allows does not contribute to the violation.
    # If not all pairs were examined, states may be missing, and what was reached need not be a violation by itself.
    states = pairs.classes if pairs.whole else pairs.steps
    found: list[Any] = [(s, a, t) for s in states for a, t in pairs.steps.get(s, ())]
    return [Transition(*step) for step in found]


def _steps_of(*sides: Side) -> tuple[Transition, ...]:
    return tuple(dict.fromkeys(step for side in sides for step, _ in side.run))


def _is_simple(run: Steps) -> bool:
    states = [step.target for step, _ in run]
    return len({*states, *(step.source for step, _ in run[:1])}) == len(states) + bool(run)


def _silent_cycle(state: State, pairs: Pairs) -> tuple[Transition, ...]:
    """Return silent steps from a state back to it; nothing if there are none."""
    before: dict[State, Transition] = {}
    todo = [state]
    for here in todo:  # grows while the loop runs
        for action, target in pairs.steps.get(here, ()):
            if action == INTERNAL and target not in before:
                step: Any = (here, action, target)
                before[target] = Transition(*step)
                todo.append(target)
    found: list[Transition] = []
    while state in before and (not found or found[-1].source != state):
        found.append(before[state if not found else found[-1].source])  # type: ignore[index]
    return tuple(found[::-1])
