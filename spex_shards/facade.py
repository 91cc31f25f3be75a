"""The calls of a manager as functions of the package: they go to the default manager, which starts on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .checking.bisimulation import Equivalence
from .checking.conformance import Result, check_model
from .domain.impl_model import ImplModel
from .domain.instance import Deviation, Instance
from .domain.specification import Specification, is_specification, registered
from .errors import DeviationNotEquivalent, DeviationStillEquivalent, ImplModelNotFound, SpecificationError, SpexError
from .runtime.shard_info import ShardInfo

if TYPE_CHECKING:
    from .checking.explanation import Explanation
    from .manager import InstanceManager


def configure(**options: Any) -> None:
    """Set options of the default manager; see `spex_shards.manager.default.configure`."""
    from .manager.default import configure as configure_default

    configure_default(**options)


def check(
    impl_model: ImplModel,
    specification: type[Specification] | None = None,
    equivalence: Equivalence | str | None = None,
    *,
    names_must_agree: bool = False,
) -> Result:
    """Decide whether a model conforms to a specification.

    Args:
        impl_model: The model.
        specification: By default the class of this process whose name the model has.
        equivalence: By default the specification's.
        names_must_agree: Whether states must be called as the specification calls them: then a model that behaves as
            specified and has other names is a violation.

    Raises:
        TypeError: `impl_model` is no model, or `specification` no specification.
        SpecificationError: No class of the model's specification is known in this process.
    """
    if not isinstance(impl_model, ImplModel):
        raise TypeError(f"impl_model must be an ImplModel, got: {impl_model!r}")
    cls = registered(impl_model.specification) if specification is None else specification
    if cls is None:
        raise SpecificationError(
            f"no specification named {impl_model.specification!r} is known here: import its module first"
        )
    if not is_specification(cls):
        raise TypeError(f"the specification must be a Specification class, got: {cls!r}")
    kind = cls.equivalence if equivalence is None else equivalence
    return check_model(impl_model, cls.lts, kind, names_must_agree=names_must_agree)


def explain(
    deviation: DeviationNotEquivalent | DeviationStillEquivalent | Deviation, manager: InstanceManager | None = None
) -> Explanation | None:
    """Explain why a model is not equivalent to its specification with a deviating transition.

    The model, and the deviations accepted beside it, are read from the manager now: an error carries neither, so that
    it costs nothing to raise. The answer may differ from the verdict of then, if the model has changed since.

    Args:
        deviation: An error that a manager raised or returned, or an entry of `deviations`.
        manager: Where the model is; by default the default manager.

    Returns:
        The explanation; None if the model is equivalent with the transition.

    Raises:
        TypeError: `deviation` is no deviation.
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
        raise TypeError(f"only a deviation can be explained, got: {deviation!r}")
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
    _manager().init_instance(specification, identifier, meta, initial_state)


def try_init_instance(
    specification: type[Specification], identifier: Any, meta: dict[str, Any] | None = None,
    initial_state: str | None = None,
) -> SpexError | None:  # fmt: skip
    """See `InstanceManager.try_init_instance`."""
    return _manager().try_init_instance(specification, identifier, meta, initial_state)


def init_instance_nowait(
    specification: type[Specification], identifier: Any, meta: dict[str, Any] | None = None,
    initial_state: str | None = None,
) -> None:  # fmt: skip
    """See `InstanceManager.init_instance_nowait`."""
    _manager().init_instance_nowait(specification, identifier, meta, initial_state)


def transition(identifier: Any, action: str, to_state: str) -> None:
    """See `InstanceManager.transition`."""
    _manager().transition(identifier, action, to_state)


def try_transition(identifier: Any, action: str, to_state: str) -> SpexError | None:
    """See `InstanceManager.try_transition`."""
    return _manager().try_transition(identifier, action, to_state)


def transition_nowait(identifier: Any, action: str, to_state: str) -> None:
    """See `InstanceManager.transition_nowait`."""
    _manager().transition_nowait(identifier, action, to_state)


def flush(timeout: float | None = None) -> None:
    """See `InstanceManager.flush`."""
    _manager().flush(timeout)


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
    _manager().delete_instance(identifier)


def delete_instances(predicate: Callable[[Instance], Any]) -> int:
    """See `InstanceManager.delete_instances`."""
    return _manager().delete_instances(predicate)


def mock_instance(
    specification: type[Specification], identifier: Any, state: str, meta: dict[str, Any] | None = None
) -> None:
    """See `InstanceManager.mock_instance`."""
    _manager().mock_instance(specification, identifier, state, meta)


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
