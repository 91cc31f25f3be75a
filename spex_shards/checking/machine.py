"""Chooses the form in which large systems are refined: lists, or machine integers where these are compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from ..runtime.system.form import COMPILED
from .arrays import Grouped
from .graph import Graph
from .refinement import Refinement

if TYPE_CHECKING:
    from .packed import Arrays, Packed
    from .splitting import Splitting


LARGE: Final = 2_000
"""Graphs with more nodes than this are worth the conversion."""


class Refiner(Protocol):
    """What `refinement.Refinement` and `splitting.Splitting` have in common."""

    @property
    def block(self) -> list[int]:
        """The block of each node."""

    def run(self, one: int = 0, other: int = 0) -> bool:
        """Refine until the partition is stable, or until two nodes are in different blocks."""

    def keep(self, nodes: list[int]) -> None:
        """Refine only some nodes from now on; no step may lead from one of them to another node."""


class Machine(NamedTuple):
    """The compiled classes."""

    packed: type[Packed]
    splitting: type[Splitting]
    arrays: Callable[[Iterable[int], Iterable[int], Iterable[int]], Arrays]


@cache
def machine() -> Machine | None:
    """Return the compiled classes; None in the pure form of the package, and where the package librt is missing."""
    if not COMPILED:
        return None
    try:
        from .packed import Packed, arrays
        from .splitting import Splitting
    except ImportError:
        return None
    return Machine(Packed, Splitting, arrays)


def refinement_of(graph: Graph) -> Refiner:
    """Return the refinement of a graph's nodes, in the form that suits its size."""
    size = len(graph.visible)
    forms = machine() if size > LARGE else None
    if forms is None:
        return Refinement.of(graph)
    visible, silent = Grouped.of_steps(graph.visible), Grouped.of_targets(graph.silent)
    return forms.splitting(
        size,
        forms.arrays(visible.first, visible.codes, visible.targets),
        forms.arrays(silent.first, silent.codes, silent.targets),
    )


def splitting_of(packed: Packed) -> Refiner:
    """Return the refinement of some nodes, in machine integers."""
    forms = machine()
    assert forms is not None
    return forms.splitting(packed.size, packed.visible, packed.silent)
