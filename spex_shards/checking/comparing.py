"""`compare` as users call it: an equivalence or a relation, between two systems, with actions hidden and renamed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, overload

from ..domain.lts import LTS
from ..domain.ports import inputs_among, port
from .conformance import Result
from .conformance import compare as compare_by_equivalence
from .graph import Equivalence

if TYPE_CHECKING:
    from .relations import RelationResult


@overload
def compare(
    impl: LTS,
    spec: LTS,
    equivalence: str = ...,
    *,
    relation: None = None,
    hide: Iterable[str] = (),
    rename: Mapping[str, str] | None = None,
) -> Result: ...
@overload
def compare(
    impl: LTS,
    spec: LTS,
    *,
    relation: str,
    hide: Iterable[str] = (),
    rename: Mapping[str, str] | None = None,
    inputs: Iterable[str] | None = None,
    outputs: Iterable[str] | None = None,
) -> RelationResult: ...
def compare(
    impl: LTS,
    spec: LTS,
    equivalence: str | None = None,
    *,
    relation: str | None = None,
    hide: Iterable[str] = (),
    rename: Mapping[str, str] | None = None,
    inputs: Iterable[str] | None = None,
    outputs: Iterable[str] | None = None,
) -> Result | RelationResult:
    """Judge one system by another: by an equivalence, or by a relation that allows it to do less.

    Args:
        impl: The system that may grow.
        spec: The one it is judged by.
        equivalence: An `Equivalence`, or its value; by default branching bisimilarity.
        relation: A `Relation`, or its value, in place of an equivalence.
        hide: Actions that are made silent in both systems before they are compared.
        rename: New names of actions, by old ones, in both systems. (`relabelled` does it in one.)
        inputs: For ``relation="ioco"``: the actions that are inputs, as they are called in the systems.
        outputs: Likewise those that are outputs. Where only one is given, all other actions of `spec` are the other.

    Returns:
        A `Result` for an equivalence, a `RelationResult` for a relation.

    Raises:
        TypeError: `hide` is no collection, or `rename` no mapping, of actions.
        ValueError: There is no such equivalence or relation, both were given, an action is reserved, hidden and renamed
            or both input and output, or inputs and outputs are given without ioco, or lack with it.
    """
    if hide or rename is not None:
        from .relabelling import Relabelling

        view = Relabelling.of(hide, rename)
        impl, spec = view.lts(impl), view.lts(spec)
        inputs, outputs = (None if ports is None else view.actions(ports) for ports in (inputs, outputs))
    if relation is None:
        if inputs is not None or outputs is not None:
            raise ValueError('inputs and outputs are for relation="ioco" only')
        asked = Equivalence.BRANCHING if equivalence is None else equivalence
        return compare_by_equivalence(impl, spec, asked).about(impl)
    if equivalence is not None:
        raise ValueError(f"either an equivalence or a relation can be asked for, got: {equivalence!r}, {relation!r}")
    from .relations import Relation, relate, relation_of

    kind = relation_of(relation)
    if kind is not Relation.IOCO and (inputs is not None or outputs is not None):
        raise ValueError(f'inputs and outputs are for relation="ioco" only, got: {relation!r}')
    ports = port("inputs", inputs), port("outputs", outputs)
    return relate(impl, spec, kind, inputs_among((a for _, a, _ in spec.transitions), *ports))
