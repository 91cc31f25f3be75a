"""Judges models by one specification, again and again, and remembers earlier verdicts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State, Transition
from .bisimulation import Equivalence, bisimilar, equivalence_of, minimised
from .conformance import EQUIVALENT, NO_BEHAVIOUR, Result, Verdict, explained, judge_unequal, system_of, unequal
from .deterministic import forced_classes, moves_of
from .extension import LITTLE_EFFORT, extensible, judged_by_narrowing
from .graph import Graph
from .refinement import Refinement

MOST_MODELS: Final = 8
"""How many sets of transitions a checker knows at a time."""
MOST_VERDICTS: Final = 100_000
"""How many verdicts it remembers for each."""
MOST_NARROWED: Final = 1_000
"""For a model with more transitions than this, classes are not narrowed before it is compared."""


class ConformanceChecker:
    """Judges models by one specification, again and again.

    The specification is minimised once. A question that was asked before is answered in O(1). So is a new one if the
    minimised specification is deterministic and without silent steps, except in these cases: the extra transition is
    silent, an initialisation, or makes a state reachable that has steps; or the model is incomplete and has silent
    steps or no initialisation.

    Args:
        spec: The specification's system; None for one without transitions.
        equivalence: An `Equivalence`, or its value.

    Raises:
        ValueError: There is no such equivalence.

    Not to be shared between threads.
    """

    def __init__(self, spec: LTS | None, equivalence: str = Equivalence.BRANCHING) -> None:
        self._equivalence = equivalence_of(equivalence)
        self._strong = self._equivalence is Equivalence.STRONG
        self._given = NO_BEHAVIOUR if spec is None else spec
        self._spec = minimised(self._given, self._equivalence)
        self._moves = moves_of(self._spec, strong=self._strong)
        self._known: OrderedDict[frozenset[Transition], _Known] = OrderedDict()

    def check(self, transitions: Iterable[Transition], effort: int | None = None) -> Result:
        """Judge the model of these transitions; nothing is remembered.

        Args:
            transitions: The model's transitions.
            effort: After examining this many classes, the question stays undecided; None: `EFFORT`.
        """
        impl = system_of(transitions, self._given, self._equivalence)
        if isinstance(impl, Result):
            return impl
        explain = partial(explained, impl, self._given, self._equivalence)
        if self._moves is None and len(impl.transitions) <= MOST_NARROWED:
            graph = Graph((impl, self._spec), self._equivalence)
            found = judged_by_narrowing(graph, effort)
            if found is None:
                equivalent = Refinement.of(graph).run(*graph.starts)
                found = equivalent, equivalent or extensible(graph, effort)
            return EQUIVALENT if found[0] else unequal(possible=found[1], explain=explain)
        if bisimilar(impl, self._spec, self._equivalence):
            return EQUIVALENT
        return judge_unequal(impl, self._spec, self._equivalence, self._moves, explain)

    def judge(self, transitions: frozenset[Transition], extra: Transition) -> Verdict:
        """Judge the model of `transitions` and `extra` together.

        Pass the same frozenset object as long as a model does not change: it is then found in O(1).
        """
        verdict = self._judge(transitions, extra, None)
        assert verdict is not None  # with full effort, an undecided question is INCOMPLETE
        return verdict

    def judge_soon(self, transitions: frozenset[Transition], extra: Transition) -> Verdict | None:
        """Judge as `judge` does, but return None if that would take more than some milliseconds."""
        return self._judge(transitions, extra, LITTLE_EFFORT)

    def _judge(self, transitions: frozenset[Transition], extra: Transition, effort: int | None) -> Verdict | None:
        known = self._known.get(transitions)
        if known is None:
            known = self._look_at(transitions, effort)
            if known is None:
                return None
            self._known[transitions] = known
            if len(self._known) > MOST_MODELS:
                self._known.popitem(last=False)
        self._known.move_to_end(transitions)
        verdict = known.verdicts.get(extra)
        if verdict is None:
            verdict = self._judge_quickly(known, extra)
        if verdict is None:
            result = self.check((*transitions, extra), effort)
            if not result.decided and effort is not None:
                return None
            verdict = result.verdict
        if extra not in known.verdicts:
            if len(known.verdicts) >= MOST_VERDICTS:
                known.verdicts.popitem(last=False)
            known.verdicts[extra] = verdict
        known.verdicts.move_to_end(extra)
        return verdict

    def known(self, transitions: frozenset[Transition]) -> Verdict | None:
        """Return the verdict on a model that `judge` was recently asked about, or None; nothing is computed."""
        known = self._known.get(transitions)
        return None if known is None else known.verdict

    def grow(self, before: frozenset[Transition], extra: Transition, after: frozenset[Transition]) -> None:
        """Note that a model has grown by one transition, so that it need not be examined as a whole again.

        This only copies what is known of the model. It does nothing if the knowledge about the grown model does not
        follow from that.

        Args:
            before: The model, as it was passed to `judge`.
            extra: The new transition.
            after: The model with the transition, as it will be passed to `judge`.
        """
        known = self._known.get(before)
        if known is None or known.classes is None or self._moves is None:
            return
        verdict = self._judge_quickly(known, extra)
        if verdict is None or verdict is Verdict.VIOLATION:
            return
        source, action, target = extra
        assert source is not None  # an initialisation is not judged quickly
        classes, missing = known.classes, known.missing
        if source in classes:
            missing -= missing > 0 and (source, action) not in known.shown
            lead = self._moves[classes[source]][action]
            if target not in classes:
                classes = {**classes, target: lead}
                missing += len(self._moves.get(lead, ()))
        if missing and known.silent:
            return  # a pair that is not shown need not be missing: the state may do that after a silent step
        shown = known.shown | {(source, action)}
        grown = _Known(verdict, classes, known.sources | {source}, shown, missing, known.silent)
        self._known[after] = grown
        if len(self._known) > MOST_MODELS:
            self._known.popitem(last=False)

    def _look_at(self, transitions: frozenset[Transition], effort: int | None) -> _Known | None:
        result = self.check(transitions, effort)
        if not result.decided and effort is not None:
            return None
        verdict = result.verdict
        impl = system_of(transitions, self._given, self._equivalence)
        if verdict is Verdict.VIOLATION or self._moves is None or isinstance(impl, Result):
            return _Known(verdict)
        silent = not self._strong and any(action == INTERNAL for _, action, _ in impl.transitions)
        if verdict is Verdict.INCOMPLETE and silent:
            # A state also shows the actions after its silent steps, so missing pairs cannot be counted.
            return _Known(verdict)
        classes = forced_classes(impl, self._moves, self._spec.initial_state, strong=self._strong)
        if classes is None:
            return _Known(verdict)
        shown = {(source, action) for source, action, _ in impl.transitions}
        required = {(state, action) for state, own in classes.items() for action in self._moves.get(own, ())}
        missing = len(required - shown) if verdict is Verdict.INCOMPLETE else 0
        return _Known(verdict, classes, {source for source, _, _ in impl.transitions}, shown, missing, silent)

    def _judge_quickly(self, known: _Known, extra: Transition) -> Verdict | None:
        """Return the verdict if it follows from the model's verdict and classes alone, else None."""
        source, action, target = extra
        if known.verdict is Verdict.VIOLATION:
            return Verdict.VIOLATION
        if self._moves is None or known.classes is None or source is None or (action == INTERNAL and not self._strong):
            return None
        if source not in known.classes:
            return known.verdict
        lead = self._moves.get(known.classes[source], {}).get(action)
        if lead is None:
            return Verdict.VIOLATION
        missing = known.missing - (known.missing > 0 and (source, action) not in known.shown)
        if target in known.classes:
            if known.classes[target] != lead:
                return Verdict.VIOLATION
        elif target in known.sources:
            return None
        else:
            missing += len(self._moves.get(lead, ()))
        return Verdict.INCOMPLETE if missing else Verdict.EQUIVALENT


@dataclass(slots=True)
class _Known:
    """What a checker knows of a model.

    Attributes:
        verdict: The verdict on it.
        classes: The class of each reachable state, if the classes are determined and known.
        sources: The states that have steps.
        shown: The pairs (state, action) that have a step.
        missing: How many pairs the model lacks that the classes of its states have; 0 for an equivalent model, in which
            a state may do an action after a silent step.
        silent: Whether the model has silent steps, which are not visible.
        verdicts: The verdicts on the model with one more transition, by that transition.
    """

    verdict: Verdict
    classes: dict[State, State] | None = None
    sources: set[State] = field(default_factory=set)
    shown: set[tuple[State, str]] = field(default_factory=set)
    missing: int = 0
    silent: bool = False
    verdicts: OrderedDict[Transition, Verdict] = field(default_factory=OrderedDict)
