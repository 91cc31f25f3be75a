"""Minimises a model, and keeps names of its states."""

from __future__ import annotations

from dataclasses import dataclass

from ..domain.difference import in_order
from ..domain.impl_model import ImplModel
from ..domain.lts import LTS
from ..domain.transition import INITIALISATION, Transition
from .bisimulation import Equivalence, classes, minimised


@dataclass(frozen=True, slots=True)
class Quotient:
    """A minimised model.

    Attributes:
        model: The smallest equivalent model. A state has the name of the first original state of its class, in the
            order of a breadth-first search from the initial state.
        classes: For each state of `model`, the original states of its class, the one with that name first.
        unreachable: The original states that no run reaches; they are in no class.
    """

    model: ImplModel
    classes: dict[str, tuple[str, ...]]
    unreachable: tuple[str, ...]


def quotient(model: ImplModel, equivalence: str = Equivalence.BRANCHING) -> Quotient:
    """Minimise a model.

    Args:
        model: A model with exactly one initialisation.
        equivalence: An `Equivalence`, or its value.

    Raises:
        ValueError: There is no such equivalence, or not exactly one initialisation.
    """
    starts = model.initialisations
    if len(starts) != 1:
        raise ValueError(
            f"only a model with one initialisation can be minimised, {model.specification} has {len(starts)}"
        )
    lts = LTS(
        starts[0], ((str(t.source), t.action, t.target) for t in in_order(model.transitions) if t.source is not None)
    )
    members: dict[int, list[str]] = {}
    for state, number in classes(lts, equivalence).items():
        members.setdefault(number, []).append(str(state))
    names = {number: states[0] for number, states in members.items()}
    small = minimised(lts, equivalence)
    steps = [Transition(names[int(source)], action, names[int(target)]) for source, action, target in small.transitions]
    reached = {state for states in members.values() for state in states}
    states = {state for t in model.transitions for state in (t.source, t.target) if state is not None}
    return Quotient(
        ImplModel(
            specification=model.specification,
            transitions=frozenset([Transition(None, INITIALISATION, names[0]), *steps]),
            learning_mode=model.learning_mode,
        ),
        {names[number]: (names[number], *sorted(members[number][1:])) for number in sorted(members)},
        tuple(sorted(states - reached)),
    )
