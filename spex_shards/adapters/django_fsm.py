"""Observes the state fields of ``django-fsm-2``, through its signal ``post_transition``.

::

    from spex_shards.adapters.django_fsm import observe

    observe(Order)  # in the app's AppConfig.ready, for example

A transition is reported when its method has returned and the field has changed; for an object that was not saved yet,
when it is saved, since it has no key before. Where the library sets a state because the method raised (``on_error``),
that is reported too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.db import transaction
from django.db.models.signals import post_save
from django_fsm import FSMFieldMixin
from django_fsm.signals import post_transition

from ..domain.specification import Specification
from .naming import state_of
from .subject import Adapter, Source, Weakly

ANY_STATE: Final = "*"
ANY_OTHER_STATE: Final = "+"
"""The library's signs for the sources of a transition; its older versions give them no names."""
_Step = tuple[str, str, str]
"""An action, the state before, and the state after it."""


def observe(
    model: Any,
    specification: Source = None,
    *,
    field: str | None = None,
    identifier: Any = None,
    after_commit: bool = False,
    wait: bool | None = None,
) -> Any:
    """Observe a state field of a model; return the model, so that it can be used as a decorator.

    Args:
        model: A model class, with the models derived from it.
        specification: The specification; by default it is derived from the transitions that the model declares.
        field: The name of the state field; may be left out if there is only one.
        identifier: The identifier of an object: the name of an attribute, or a function of it. By default the model's
            label and the primary key, such as ``("shop.Order", 17)``.
        after_commit: Whether a transition within a database transaction is reported only when that is committed, and
            not at all after a rollback. By default it is reported at once, also where tests roll back.
        wait: Whether a transition returns only when its report is stored. Default: True.

    Raises:
        TypeError: `model` has no such field; `specification` or `identifier` does not fit.
        ValueError: No specification was given, and the field has no default, or no transitions.
    """
    found = _field(model, field)
    specification = specification_from(model, field) if specification is None else specification
    label = model._meta.label
    identify = (lambda thing: (label, thing.pk)) if identifier is None else identifier
    _Observer(Adapter(specification, identify, wait=wait, derive=_underived), model, found, after_commit).connect()
    return model


def specification_from(
    model: Any, field: str | None = None, name: str | None = None, **options: Any
) -> type[Specification]:
    """Return a specification with the transitions that a model declares for a state field.

    Args:
        model: The model class.
        field: The name of the field; may be left out if there is only one.
        name: The specification's name; by default that of the class.
        **options: Options of `Specification.define`.

    Raises:
        TypeError: `model` has no such field.
        ValueError: The field has no default, which is the initial state, or no transitions.
    """
    found = _field(model, field)
    declared = list(found.get_all_transitions(model))
    if not declared:
        raise ValueError(f"{model.__qualname__}.{found.name} has no transitions: give a specification of your own")
    if not found.has_default():
        raise ValueError(f"{model.__qualname__}.{found.name} has no default, which would be the initial state")
    initial = state_of(found.get_default())
    states = dict.fromkeys([initial, *(state_of(value) for value, _ in found.choices or ())])
    for one in declared:
        states.update(dict.fromkeys(_sources(one.source, [])))
        states.update(dict.fromkeys(_targets(one)))
    steps = [
        (source, one.name, target)
        for one in declared
        for source in _sources(one.source, [state for state in states if one.source != ANY_OTHER_STATE
                                            or state not in _targets(one)])
        for target in _targets(one) or [source]
    ]  # fmt: skip
    name = name or f"{model.__module__}.{model.__qualname__}".replace("<locals>.", "")
    return Specification.define(name, steps, initial_state=initial, **options)


class _Observer:
    """Receives the signals of one field."""

    def __init__(self, adapter: Adapter, model: Any, field: Any, after_commit: bool) -> None:
        self._adapter, self._model, self._field, self._after_commit = adapter, model, field, after_commit
        self._unsaved: Weakly[list[_Step]] = Weakly()

    def connect(self) -> None:
        key = ("spex_shards", self._model._meta.label, self._field.name)
        post_transition.connect(self.transition, weak=False, dispatch_uid=key)
        post_save.connect(self.saved, weak=False, dispatch_uid=key)

    def transition(self, instance: Any, name: str, field: Any, source: Any, target: Any, **_: Any) -> None:
        """Take a transition that has succeeded."""
        if not isinstance(instance, self._model) or field.name != self._field.name:
            return
        step = (name, state_of(source), state_of(source if target is None else target))
        if instance.pk is None:
            waiting = self._unsaved.get(instance)
            (self._unsaved.put(instance, []) if waiting is None else waiting).append(step)
        else:
            self._report(instance, [step])

    def saved(self, instance: Any, **_: Any) -> None:
        """Report what waited for the object's key."""
        waiting = self._unsaved.get(instance) if isinstance(instance, self._model) else None
        if waiting is not None:
            self._unsaved.drop(instance)
            self._report(instance, waiting)

    def _report(self, instance: Any, steps: list[_Step]) -> None:
        subject = self._adapter.subject(instance, instance)
        if subject is None or subject.off:
            return

        def report() -> None:
            for action, source, target in steps:
                subject.state = source
                subject.did(action, target)

        if self._after_commit:
            transaction.on_commit(report, using=instance._state.db)
        else:
            report()


def _field(model: Any, name: str | None) -> Any:
    fields = [
        field for field in getattr(getattr(model, "_meta", None), "fields", ()) if isinstance(field, FSMFieldMixin)
    ]
    chosen = [field for field in fields if name is None or field.name == name]
    if len(chosen) != 1:
        names = ", ".join(field.name for field in fields) or "none"
        raise TypeError(f"field must name one of the state fields of the model ({names}), got: {name!r} of {model!r}")
    return chosen[0]


def _sources(source: Any, everything: list[str]) -> list[str]:
    return everything if source in (ANY_STATE, ANY_OTHER_STATE) else [state_of(source)]


def _targets(declared: Any) -> list[str]:
    return list(dict.fromkeys(_all_targets(declared)))


def _all_targets(declared: Any) -> Iterator[str]:
    if hasattr(declared.target, "get_state"):  # computed: its states are declared, or not known
        yield from map(state_of, declared.target.allowed_states or ())
    elif declared.target is not None:
        yield state_of(declared.target)
    if declared.on_error is not None:
        yield state_of(declared.on_error)


def _underived(thing: Any) -> type[Specification]:
    raise TypeError(f"no specification is known for {thing!r}")
