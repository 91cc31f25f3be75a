"""The union of models."""

from __future__ import annotations

from collections.abc import Iterable

from ..domain.impl_model import ImplModel
from ..domain.transition import Transition


def united(parts: Iterable[tuple[str, Iterable[Iterable[str | None]], bool]]) -> list[ImplModel]:
    """Return the union of the models of each specification, by name; it is in learning mode if any part is.

    Args:
        parts: The models: (specification, transitions, whether it is in learning mode).
    """
    found: dict[str, tuple[set[Transition], bool]] = {}
    for name, transitions, learning in parts:
        have, learns = found.get(name, (set(), False))
        have.update(map(Transition._make, transitions))
        found[name] = (have, learns or learning)
    return [
        ImplModel(specification=name, transitions=frozenset(transitions), learning_mode=learning)
        for name, (transitions, learning) in sorted(found.items())
    ]
