"""Observes a mapped attribute of SQLAlchemy, such as a status: its changes are reported when they are committed.

::

    from spex_shards.adapters.sqlalchemy import observe

    observe(Order.status, OrderLife, identifier="id")

Each assignment is a step. What a session writes is reported in order after its commit; what is rolled back, also to a
savepoint, is not. Updates that pass the objects by, such as ``session.execute(update(…))``, are not seen.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from sqlalchemy import event
from sqlalchemy import inspect as inspected
from sqlalchemy.orm import InstrumentedAttribute, Session

from ..domain.specification import Specification
from .naming import Actions, action_for, state_of
from .subject import Adapter, Source, Subject, Weakly


class _Change(NamedTuple):
    """A change of the attribute; `old` None: it is the first value."""

    old: str | None
    new: str
    action: str | None


class _Written(NamedTuple):
    """Changes of an object that a session has written, and not committed yet."""

    subject: Subject
    changes: list[_Change]


_observers: list[_Observer] = []
_written: Weakly[list[_Written]] = Weakly()
"""What each transaction has written."""


def observe(
    attribute: Any,
    specification: type[Specification],
    *,
    identifier: Any = None,
    actions: Actions = None,
    wait: bool | None = None,
) -> None:
    """Observe a mapped attribute.

    Args:
        attribute: The attribute, such as ``Order.status``. Its values are the states: texts, members of enumerations,
            or anything with a `str`.
        specification: The specification.
        identifier: The identifier of an object: the name of an attribute, or a function of it. By default the name of
            the table and the primary key, such as ``("orders", 17)``.
        actions: What changes are called, since an assignment has no name: a mapping from pairs (old, new) to actions,
            or a function of both values (None: not a step). By default, and for pairs that are not in the mapping:
            ``old->new``.
        wait: Whether a commit returns only when its reports are stored. Default: True, but False in an event loop.

    Raises:
        TypeError: An argument is something else.
    """
    if not isinstance(attribute, InstrumentedAttribute):
        raise TypeError(f"only a mapped attribute can be observed, such as Order.status, got: {attribute!r}")
    if specification is None or not isinstance(specification, type):
        raise TypeError(f"the specification must be a Specification class, got: {specification!r}")
    if actions is not None and not callable(actions) and not hasattr(actions, "get"):
        raise TypeError(f"actions must be a mapping from pairs of values, or a function of both, got: {actions!r}")
    given: Source = specification
    adapter = Adapter(given, _key if identifier is None else identifier, wait=wait, derive=lambda _: specification)
    observer = _Observer(attribute, adapter, actions)
    if not _observers:
        for name in ("after_flush", "after_commit", "after_soft_rollback", "after_transaction_end"):
            event.listen(Session, name, globals()[f"_{name}"])
    _observers.append(observer)
    event.listen(attribute, "set", observer.assigned, active_history=True, propagate=True)
    event.listen(attribute.class_, "expire", observer.expired, propagate=True)


class _Observer:
    """Collects the changes of one attribute until they are written."""

    def __init__(self, attribute: Any, adapter: Adapter, actions: Actions) -> None:
        self._class, self._name = attribute.class_, attribute.key
        self._adapter, self._actions = adapter, actions
        self._pending: Weakly[list[_Change]] = Weakly()

    def assigned(self, target: Any, value: Any, old: Any, _: Any) -> None:
        first = type(old).__name__ == "LoaderCallableStatus" or old is None  # SQLAlchemy's word for "no value yet"
        if not first and old == value:
            return
        action = None if first else action_for(self._actions, old, value)
        changes = self._pending.get(target)
        changes = self._pending.put(target, []) if changes is None else changes
        changes.append(_Change(None if first else state_of(old), state_of(value), action))

    def expired(self, target: Any, names: Any) -> None:
        """Forget changes that were never written: the object takes its values from the database again."""
        if names is None or self._name in names:
            self._pending.drop(target)

    def written(self, target: Any, *, is_new: bool) -> _Written | None:
        """Return the changes of an object that was written just now."""
        if not isinstance(target, self._class):
            return None
        changes = self._pending.get(target) or []
        self._pending.drop(target)
        if is_new and (not changes or changes[0].old is not None):
            value = inspected(target).dict.get(self._name) if not changes else changes[0].old
            changes = [*([] if value is None else [_Change(None, state_of(value), None)]), *changes]
        subject = self._adapter.subject(target, target, in_loop=_in_loop()) if changes else None
        return None if subject is None or subject.off else _Written(subject, changes)


def _after_flush(session: Any, _: Any) -> None:
    transaction = session.get_nested_transaction() or session.get_transaction()
    for target in [*session.new, *session.dirty]:
        for observer in _observers:
            written = observer.written(target, is_new=target in session.new)
            if written is not None:
                listed = _written.get(transaction)
                (_written.put(transaction, []) if listed is None else listed).append(written)


def _after_commit(session: Any) -> None:
    nested = session.get_nested_transaction()
    transaction = nested or session.get_transaction()
    listed = _written.get(transaction)
    if listed is None:
        return
    _written.drop(transaction)
    if nested is None:
        for written in listed:
            _report(written)
        return
    outer = nested.parent
    while outer.parent is not None and not outer.nested:
        outer = outer.parent
    before = _written.get(outer)
    (_written.put(outer, []) if before is None else before).extend(listed)


def _after_soft_rollback(_: Any, transaction: Any) -> None:
    _written.drop(transaction)


def _after_transaction_end(_: Any, transaction: Any) -> None:
    _written.drop(transaction)


def _report(written: _Written) -> None:
    subject, changes = written
    for old, new, action in changes:
        if old is None:
            subject.begins(new)
        elif action is not None:
            subject.state = old
            subject.did(action, new)


def _key(target: Any) -> tuple[Any, ...]:
    state = inspected(target)
    # The name is of a class of its own, which is no plain text.
    return (
        state_of(state.mapper.local_table.name),
        *(state.identity or state.mapper.primary_key_from_instance(target)),
    )


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
