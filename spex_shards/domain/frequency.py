"""How often the steps of a model were taken: by how many instances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .transition import Transition


@dataclass(frozen=True, slots=True)
class Frequencies:
    """By how many instances each transition was taken. An instance counts once, however often it took it.

    Attributes:
        instances: The number of instances that were looked at.
        taken: The number for each transition, initialisations included; a transition that is not here has 0.
    """

    instances: int = 0
    taken: Mapping[Transition, int] = field(default_factory=dict)


def frequencies_of(runs: Iterable[Iterable[Transition]]) -> Frequencies:
    """Count the transitions of runs, one run for each instance."""
    instances, taken = 0, dict[Transition, int]()
    for run in runs:
        instances += 1
        for transition in set(run):
            taken[transition] = taken.get(transition, 0) + 1
    return Frequencies(instances, taken)
