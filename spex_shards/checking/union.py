"""Models put together."""

from __future__ import annotations

from collections.abc import Iterable

from ..domain.impl_model import ImplModel
from ..domain.transition import Transition


def united(parts: Iterable[tuple[str, Iterable[Iterable[str | None]], bool]]) -> list[ImplModel]:
    """Return one model of each specification, by name: transitions united, learning if any of its parts learns.

    Args:
        parts: Models of any shards: (specification, transitions, whether it learns).
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
