"""The public `compare`: compares two systems by an equivalence or a relation, with actions hidden or renamed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, overload

from ..domain.lts import LTS
from ..domain.ports import inputs_among, port
from ..domain.specification import Specification
from .conformance import Result
from .conformance import compare as compare_by_equivalence
from .graph import Equivalence
from .systems import system_of

if TYPE_CHECKING:
    from .relations import RelationResult


@overload
def compare(
    impl: LTS | type[Specification],
    spec: LTS | type[Specification],
    equivalence: str = ...,
    *,
    relation: None = None,
    hide: Iterable[str] = (),
    rename: Mapping[str, str] | None = None,
) -> Result: ...
@overload
def compare(
    impl: LTS | type[Specification],
    spec: LTS | type[Specification],
    *,
    relation: str,
    hide: Iterable[str] = (),
    rename: Mapping[str, str] | None = None,
    inputs: Iterable[str] | None = None,
    outputs: Iterable[str] | None = None,
) -> RelationResult: ...
def compare(
    impl: LTS | type[Specification],
    spec: LTS | type[Specification],
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
        impl: The system that may grow: an `LTS`, or a specification that stands for what it declares.
        spec: The system that it is judged by.
        equivalence: An `Equivalence`, or its value; by default branching bisimilarity.
        relation: A `Relation`, or its value, instead of an equivalence.
        hide: Actions that are made silent in both systems before they are compared.
        rename: Old names of actions → new names, for both systems. (`relabelled` changes one system.)
        inputs: For ``relation="ioco"``: the input actions, by their names in the systems.
        outputs: For ``relation="ioco"``: the output actions. If only inputs or only outputs are given, all other
            actions of `spec` are of the other kind.

    Returns:
        A `Result` for an equivalence, a `RelationResult` for a relation.

    Raises:
        TypeError: `impl` or `spec` is no system, `hide` is not a collection of actions, or `rename` is not a mapping of
            actions.
        ValueError: There is no such equivalence or relation, or both were given. An action is reserved, or both hidden
            and renamed, or both an input and an output. Inputs or outputs are given without ioco, or missing with it.
    """
    impl, spec = system_of(impl), system_of(spec)
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
    return relate(impl, spec, kind, inputs_among((a for _, a, _ in spec.transitions), *ports)).about(impl)
