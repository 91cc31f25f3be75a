"""Hides actions of a system, so that they are silent, and renames others.

::

    new --pay--> paid --log--> paid --deliver--> sent      hide={"log"}, rename={"deliver": "ship"}
    new --pay--> paid --τ----> paid --ship-----> sent

Hiding and renaming are those of process algebra (Hoare 1985; Milner 1989). Both use the names of actions as declared or
observed: an action cannot be hidden by its new name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self, overload

from ..domain.impl_model import ImplModel
from ..domain.lts import LTS
from ..domain.names import as_name
from ..domain.ports import inputs_among
from ..domain.specification import Specification, from_declaration
from ..domain.transition import INITIALISATION, INTERNAL, Transition
from .systems import system_of

RESERVED: Final = (INTERNAL, INITIALISATION)


@dataclass(frozen=True, slots=True)
class Relabelling:
    """Which actions are hidden, and which have another name.

    Attributes:
        names: The new name of each action that changes; for a hidden action, that of the internal action.
    """

    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, hide: Iterable[str] = (), rename: Mapping[str, str] | None = None) -> Self:
        """Return the relabelling for the options of a user.

        Args:
            hide: The actions to hide; they need not occur.
            rename: Old names → new names. Several actions may get the same name.

        Raises:
            TypeError: `hide` is not a collection of actions, or `rename` is not a mapping of actions.
            ValueError: An action is reserved, or both hidden and renamed.
        """
        if isinstance(hide, (str, bytes)) or not isinstance(hide, Iterable):
            raise TypeError(f"hide must be a collection of actions, got: {hide!r}")
        if rename is not None and not isinstance(rename, Mapping):
            raise TypeError(f"rename must be a mapping of old names of actions to new ones, got: {rename!r}")
        hidden = [_action("hide", action) for action in hide]
        renamed = {_action("rename", old): _action("rename", new) for old, new in (rename or {}).items()}
        for action in hidden:
            if action in renamed:
                raise ValueError(f"an action must be hidden or renamed, not both, got: {action!r}")
        return cls({**renamed, **dict.fromkeys(hidden, INTERNAL)})

    def __bool__(self) -> bool:
        return bool(self.names)

    def action(self, action: str) -> str:
        """Return the new name of an action."""
        return self.names.get(action, action)

    def lts(self, lts: LTS) -> LTS:
        """Return a system with its actions relabelled; the system itself if nothing changes."""
        if not self.names:
            return lts
        names = self.names
        return LTS(lts.initial_state, ((s, names.get(a, a), t) for s, a, t in lts.transitions))

    def transitions(self, transitions: Iterable[Transition]) -> tuple[Transition, ...]:
        """Return transitions with their actions relabelled, in the same order, without duplicates."""
        return tuple(dict.fromkeys(Transition(s, self.action(a), t) for s, a, t in transitions))

    def model(self, model: ImplModel) -> ImplModel:
        """Return a model with its actions relabelled; the model itself if nothing changes."""
        if not self.names:
            return model
        return ImplModel(
            specification=model.specification,
            transitions=frozenset(self.transitions(model.transitions)),
            learning_mode=model.learning_mode,
        )

    def actions(self, actions: Iterable[str]) -> frozenset[str]:
        """Return the new names of actions, without hidden ones."""
        return frozenset(map(self.action, actions)) - {INTERNAL}

    def specification(self, cls: type[Specification]) -> type[Specification]:
        """Return a specification with its actions relabelled; the class itself if nothing changes.

        The new class has the same name, is not registered, and has neither a handler nor a place in the source.

        Raises:
            ValueError: An input and an output get the same name.
        """
        if not self.names:
            return cls
        made = from_declaration(replace(cls.declaration, transitions=self.transitions(cls.transitions)))
        made.inputs, made.outputs = (None if p is None else tuple(self.actions(p)) for p in (cls.inputs, cls.outputs))
        inputs_among(made.actions, made.inputs, made.outputs)
        return made


@overload
def relabelled(
    system: ImplModel, *, hide: Iterable[str] = (), rename: Mapping[str, str] | None = None
) -> ImplModel: ...
@overload
def relabelled(
    system: LTS | type[Specification], *, hide: Iterable[str] = (), rename: Mapping[str, str] | None = None
) -> LTS: ...
def relabelled(
    system: LTS | ImplModel | type[Specification],
    *,
    hide: Iterable[str] = (),
    rename: Mapping[str, str] | None = None,
) -> LTS | ImplModel:
    """Return a system with some actions hidden and others renamed.

    Args:
        system: A system, a model, or a specification.
        hide: The actions to make silent.
        rename: Old names of actions → new names.

    Returns:
        A model if `system` is a model, else an `LTS`.

    Raises:
        TypeError: An argument has another type.
        ValueError: An action is reserved, or both hidden and renamed.
    """
    view = Relabelling.of(hide, rename)
    return view.model(system) if isinstance(system, ImplModel) else view.lts(system_of(system))


def _action(option: str, value: object) -> str:
    name = as_name(value)
    if name is None:
        raise TypeError(f"{option} must name actions by str or str-valued Enum members, got: {value!r}")
    if name in RESERVED:
        raise ValueError(f"{option} must not name the reserved action {name!r}")
    return name
