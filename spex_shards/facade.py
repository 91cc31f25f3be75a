"""A manager's calls as functions of the package; they use the default manager, which starts at its first use.

Calls that observe look at `_default.current` themselves: an import statement in each would cost more than all else that
they do with ``mode="off"``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack, overload

from .checking.bisimulation import Equivalence
from .checking.conformance import Result, check_model
from .domain import readable, receiving
from .domain.impl_model import ImplModel
from .domain.instance import Deviation, Instance
from .domain.ports import inputs_among
from .domain.specification import Specification, is_specification, registered
from .errors import DeviationNotEquivalent, DeviationStillEquivalent, ImplModelNotFound, SpecificationError, SpexError
from .runtime.shard_info import ShardInfo

if TYPE_CHECKING:
    from .checking.explanation import Explanation
    from .checking.properties import Property, PropertyResult
    from .checking.relations import RelationResult
    from .manager import InstanceManager
    from .manager.ledger import Losses
    from .manager.options import DefaultOptions


def configure(**options: Unpack[DefaultOptions]) -> None:
    """Set options of the default manager; see `spex_shards.manager.default.configure`."""
    from .manager.default import configure as configure_default

    configure_default(**options)


def close() -> None:
    """Flush and close the default manager, which also happens at exit; the next module-level call starts another.

    Then `configure` may be called again. Nothing happens if the default manager does not run.

    Raises:
        ExceptionGroup: As `InstanceManager.close`.
    """
    from .manager.default import close as close_default

    close_default()


@overload
def check(
    impl_model: ImplModel,
    specification: type[Specification] | None = None,
    equivalence: Equivalence | str | None = None,
    *,
    relation: None = None,
    hide: Iterable[str] = (),
    rename: Mapping[str, str] | None = None,
    names_must_agree: bool = False,
    properties: Collection[Property] | None = None,
) -> Result: ...
@overload
def check(
    impl_model: ImplModel,
    specification: type[Specification] | None = None,
    *,
    relation: str,
    hide: Iterable[str] = (),
    rename: Mapping[str, str] | None = None,
) -> RelationResult: ...
def check(
    impl_model: ImplModel,
    specification: type[Specification] | None = None,
    equivalence: Equivalence | str | None = None,
    *,
    relation: str | None = None,
    hide: Iterable[str] = (),
    rename: Mapping[str, str] | None = None,
    names_must_agree: bool = False,
    properties: Collection[Property] | None = None,
) -> Result | RelationResult:
    """Return whether, and why, a model conforms to a specification.

    Args:
        impl_model: The model.
        specification: By default the class in this process that the model names.
        equivalence: By default the specification's.
        relation: A `Relation`, or its value, in place of an equivalence: what the implementation may leave out.
        hide: Actions that are made silent in model and specification first.
        rename: New names of actions, by old ones, in both.
        names_must_agree: Whether states must have the specification's names. Then a model that behaves as specified
            but has other names is a violation. Not together with a relation.
        properties: Properties of runs to decide for the model, which the result then has; by default those that the
            specification declares. Actions have the names that they have in the model. Not together with a relation.

    Returns:
        A `Result`; a `RelationResult` where a relation is asked for.

    Raises:
        TypeError: `impl_model` is not a model, `specification` is not a specification, `hide` is not a collection of
            actions, `rename` is not a mapping of actions, or `properties` has something else in it.
        ValueError: The equivalence or relation is unknown, both were given, an action is reserved, or is both hidden
            and renamed, or the relation is ioco and the specification declares neither inputs nor outputs.
        SpecificationError: The model's specification is not known in this process.
    """
    if not isinstance(impl_model, ImplModel):
        raise TypeError(
            f"impl_model must be an ImplModel, got: {impl_model!r}; ImplModel.deserialise makes one of a file's text"
        )
    cls = registered(impl_model.specification) if specification is None else specification
    if cls is None:
        raise SpecificationError(
            f"no specification named {impl_model.specification!r} is known here: import its module first"
        )
    if not is_specification(cls):
        raise TypeError(f"the specification must be a Specification class, got: {cls!r}")
    from .checking.relabelling import Relabelling

    view = Relabelling.of(hide, rename)
    model, cls = view.model(impl_model), view.specification(cls)
    if relation is None:
        asked = cls.equivalence if equivalence is None else equivalence
        result = check_model(model, cls.lts, asked, names_must_agree=names_must_agree).about(model)
        wanted = cls.properties if properties is None else properties
        return result.with_properties(_decided(wanted, impl_model)) if wanted else result
    if properties is not None:
        raise ValueError(f"properties are decided beside an equivalence, and a relation is asked for: {relation!r}")
    if names_must_agree:
        raise ValueError(f"names_must_agree belongs to an equivalence, and a relation is asked for: {relation!r}")
    if equivalence is not None:
        raise ValueError(f"either an equivalence or a relation can be asked for, got: {equivalence!r}, {relation!r}")
    from .checking.relations import Relation, relate_model, relation_of

    kind, inputs = relation_of(relation), None
    if kind is Relation.IOCO:
        inputs = inputs_among(cls.actions, cls.inputs, cls.outputs)
        if inputs is None:
            raise ValueError(f"{cls.name}: the relation ioco needs a specification with inputs or outputs")
    return relate_model(model, cls.lts, kind, inputs).about(model)


def _decided(wanted: Collection[object], model: ImplModel) -> tuple[PropertyResult, ...]:
    from .checking.properties import Property

    decided = []
    for one in wanted:
        if not isinstance(one, Property):
            raise TypeError(f"properties must be made by spex_shards.properties, got: {one!r}")
        decided.append(one.of(model))
    return tuple(decided)


def explain(
    deviation: DeviationNotEquivalent | DeviationStillEquivalent | Deviation, manager: InstanceManager | None = None
) -> Explanation | None:
    """Return why a model with a deviating transition is not equivalent to its specification.

    The model, and the deviations accepted with it, are read from the manager now: an error holds neither, so that
    raising it is cheap. If the model has changed since, the answer may differ from the verdict in the error.

    Args:
        deviation: An error that a manager raised or returned, or an entry of `deviations`.
        manager: The manager that has the model; by default the default manager.

    Returns:
        The explanation; None if the model is equivalent with the transition.

    Raises:
        TypeError: `deviation` is not a deviation.
        ImplModelNotFound: The manager has no model of that specification.
        SpecificationError: The specification of an entry of `deviations` is not known in this process.
    """
    if isinstance(deviation, Deviation):
        cls, transition = registered(deviation.specification), deviation.transition
        name = deviation.specification
    elif isinstance(deviation, (DeviationNotEquivalent, DeviationStillEquivalent)):
        cls, transition = deviation.context["instance"].specification, deviation.context["deviating_transition"]
        name = cls.name
    else:
        raise TypeError(
            f"only a deviation can be explained, got: {deviation!r}; give an error that a manager raised or returned, "
            "or an entry of deviations()"
        )
    holder = _manager() if manager is None else manager
    model = next((model for model in holder.all_impl_models() if model.specification == name), None)
    if model is None:
        raise ImplModelNotFound(f"the manager has no model of {name!r}", specification=name)
    accepted = {d.transition for d in holder.deviations() if d.specification == name and d.accepted}
    return check(replace(model, transitions=model.transitions | accepted | {transition}), cls).explanation


def init_instance(
    specification: type[Specification], identifier: Any, meta: dict[str, Any] | None = None,
    initial_state: str | None = None,
) -> None:  # fmt: skip
    """See `InstanceManager.init_instance`."""
    (_default.current or _observing()).init_instance(specification, identifier, meta, initial_state)


def try_init_instance(
    specification: type[Specification], identifier: Any, meta: dict[str, Any] | None = None,
    initial_state: str | None = None,
) -> SpexError | None:  # fmt: skip
    """See `InstanceManager.try_init_instance`."""
    return (_default.current or _observing()).try_init_instance(specification, identifier, meta, initial_state)


def init_instance_nowait(
    specification: type[Specification], identifier: Any, meta: dict[str, Any] | None = None,
    initial_state: str | None = None,
) -> None:  # fmt: skip
    """See `InstanceManager.init_instance_nowait`."""
    (_default.current or _observing()).init_instance_nowait(specification, identifier, meta, initial_state)


def transition(identifier: Any, action: str, to_state: str) -> None:
    """See `InstanceManager.transition`."""
    (_default.current or _observing()).transition(identifier, action, to_state)


def try_transition(identifier: Any, action: str, to_state: str) -> SpexError | None:
    """See `InstanceManager.try_transition`."""
    return (_default.current or _observing()).try_transition(identifier, action, to_state)


def transition_nowait(identifier: Any, action: str, to_state: str) -> None:
    """See `InstanceManager.transition_nowait`."""
    (_default.current or _observing()).transition_nowait(identifier, action, to_state)


def flush(timeout: float | None = None) -> None:
    """See `InstanceManager.flush`. It does nothing if the default manager was never used, or could not be started."""
    if _default.current is not None:
        _default.flush(timeout)


def losses() -> Losses:
    """Return what became of the observations that module-level calls of this process made; see `Losses`."""
    from .manager.default import losses as losses_of_default

    return losses_of_default()


def get_instance(identifier: Any, history_limit: int | None = None) -> Instance:
    """See `InstanceManager.get_instance`."""
    return _manager().get_instance(identifier, history_limit)


def all_instances(specification: type[Specification] | None = None, history_limit: int | None = None) -> list[Instance]:
    """See `InstanceManager.all_instances`."""
    return _manager().all_instances(specification, history_limit)


def iter_instances(
    specification: type[Specification] | None = None, history_limit: int | None = None
) -> Iterator[Instance]:
    """See `InstanceManager.iter_instances`."""
    return _manager().iter_instances(specification, history_limit)


def delete_instance(identifier: Any) -> None:
    """See `InstanceManager.delete_instance`."""
    (_default.current or _observing()).delete_instance(identifier)


def delete_instances(predicate: Callable[[Instance], Any]) -> int:
    """See `InstanceManager.delete_instances`."""
    return _manager().delete_instances(predicate)


def mock_instance(
    specification: type[Specification], identifier: Any, state: str, meta: dict[str, Any] | None = None
) -> None:
    """See `InstanceManager.mock_instance`."""
    (_default.current or _observing()).mock_instance(specification, identifier, state, meta)


def all_impl_models() -> list[ImplModel]:
    """See `InstanceManager.all_impl_models`."""
    return _manager().all_impl_models()


def export_impl_models() -> list[tuple[str, str]]:
    """See `InstanceManager.export_impl_models`."""
    return _manager().export_impl_models()


def deviations(specification: type[Specification] | None = None) -> list[Deviation]:
    """See `InstanceManager.deviations`."""
    return _manager().deviations(specification)


def messages(timeout: float = 0) -> Iterator[Any]:
    """See `InstanceManager.messages`."""
    return _manager().messages(timeout)


def shards() -> list[ShardInfo]:
    """See `InstanceManager.shards`."""
    return _manager().shards()


def stats() -> list[dict[str, Any]]:
    """See `InstanceManager.stats`."""
    return _manager().stats()


def _manager() -> InstanceManager:
    from .manager.default import default_manager

    return default_manager()


class _NotImported:
    """Stands for the module `manager.default`, which is heavy, until it is used."""

    current: InstanceManager | None = None


_default: Any = _NotImported


def _observing() -> InstanceManager:
    global _default
    from .manager import default

    _default = default
    return default.observing_manager()


class _DefaultReceiver:
    """Hands what observed functions, tracked blocks and adapters report to the default manager."""

    def off(self, cls: type[Specification]) -> bool:
        return (_default.current or _observing()).modes.of(cls) == "off"

    def init(self, cls: type[Specification], identifier: Any, state: str | None, *, waits: bool) -> None:
        manager = _default.current or _observing()
        (manager.init_instance if waits else manager.init_instance_nowait)(cls, identifier, None, state)

    def step(
        self, cls: type[Specification], identifier: Any, action: str | None, to_state: str | None,
        initial_state: str | None = None, *, waits: bool,
    ) -> None:  # fmt: skip
        (_default.current or _observing()).step(cls, identifier, action, to_state, initial_state, waits=waits)

    def lost(self, cls: type[Specification], error: Exception) -> None:
        (_default.current or _observing()).observer.lost(cls, error)


receiving.install(_DefaultReceiver())


def _from_machine(machine: Any, name: str | None, **options: Any) -> type[Specification]:
    from .adapters.reading import from_machine

    return from_machine(machine, name, **options)


readable.machines = _from_machine
