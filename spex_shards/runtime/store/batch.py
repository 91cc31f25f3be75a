"""A batch: changes gathered in memory over a store's view, kept all at once or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from ...errors import StoreError
from .overlay import merged
from .port import Store

_MISSING: Any = object()
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class _Detached:
    """In a store's place: every use of it is a `StoreError`."""

    def __getattr__(self, name: str) -> Any:
        raise StoreError("the batch was left behind by a call that interrupted it")


class Batch:
    """An overlay over a store.

    Reads see the changes gathered so far; nothing touches the disk before `commit`. `mark` and `rollback` undo the
    changes of one request within the batch. Whoever keeps state in memory changes it by `put_in` and `add_to`, or says
    `restores` first, and is rolled back together with the rows; `on_undo` is for what these cannot say.

    Attributes:
        dirty: Whether there is anything to keep.
        on_rollback: Called before anything is rolled back; for a cache of rows, to be emptied.
    """

    def __init__(self, store: Store) -> None:
        self._store: Any = store
        self._changes: dict[str, dict[bytes, bytes | None]] = {}
        self._undo: list[Any] = []
        self.dirty = False
        self.on_rollback: Callable[[], None] | None = None

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of `key` as of now, or None."""
        changes = self._changes.get(table)
        if changes is not None:
            value: bytes | None = changes.get(key, _MISSING)
            if value is not _MISSING:
                return value
        found: bytes | None = self._store.get(table, key)
        return found

    def put(self, table: str, key: bytes, value: bytes | None) -> None:
        """Set `key` to `value`; None deletes it."""
        changes = self._changes.get(table)
        if changes is None:
            changes = self._changes[table] = {}
        self._undo.append((changes, key, changes.get(key, _MISSING)))
        changes[key] = value
        self.dirty = True

    def delete(self, table: str, key: bytes) -> None:
        """Delete `key`, if it is there."""
        self.put(table, key, None)

    def range(
        self, table: str, start: bytes, stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over ``start <= key < stop`` in key order (or the reverse), changes merged in.

        The table must not be changed while the iterator is in use.
        """
        changes = self._changes.get(table)
        stored: Iterator[tuple[bytes, bytes]] = self._store.range(table, start, stop, reverse=reverse)
        if not changes:
            return stored
        inside = [key for key in changes if key >= start and (stop is None or key < stop)]
        inside.sort(reverse=reverse)
        return merged(stored, iter(inside), changes, reverse=reverse) if inside else stored

    def first(self, table: str, start: bytes = b"", stop: bytes | None = None) -> tuple[bytes, bytes] | None:
        """Return the first row of a range, or None."""
        return next(iter(self.range(table, start, stop)), None)

    def detach(self) -> None:
        """Have nothing read or kept any more, whoever is in the middle of what: another batch goes on."""
        self._store = _Detached()

    def on_undo(self, undo: Callable[[], None]) -> None:
        """Have `undo` called when the changes made since here are rolled back."""
        self._undo.append(undo)

    def restores(self, target: object, *names: str) -> None:
        """Have attributes of `target` get back, with a rollback to before, the values that they have now."""
        before = [(name, getattr(target, name)) for name in names]

        def restore() -> None:
            for name, value in before:
                setattr(target, name, value)

        self._undo.append(restore)

    def put_in(self, mapping: dict[_Key, _Value], key: _Key, value: _Value) -> None:
        """Set a key of a dict in memory, until a rollback to before."""
        self._undo.append((mapping, key, mapping.get(key, _MISSING)))
        mapping[key] = value

    def add_to(self, items: set[_Key], item: _Key) -> None:
        """Add an item that a set in memory does not have, until a rollback to before."""
        self._undo.append(partial(items.discard, item))
        items.add(item)

    def mark(self) -> int:
        """Return a place to roll back to."""
        return len(self._undo)

    def rollback(self, mark: int = 0) -> None:
        """Undo everything since `mark`, in reverse order."""
        undo = self._undo
        if len(undo) > mark and self.on_rollback is not None:
            self.on_rollback()
        while len(undo) > mark:
            step = undo.pop()
            if type(step) is tuple:
                changes, key, value = step
                if value is _MISSING:
                    del changes[key]
                else:
                    changes[key] = value
            else:
                step()
        if not mark:
            self.dirty = False

    def commit(self) -> None:
        """Keep all changes at once, and start anew.

        Raises:
            StoreError: Nothing was kept; everything was rolled back.
        """
        try:
            if self.dirty:
                self._store.apply(self._changes)
            else:
                self._store.release()
        except BaseException:
            self.rollback()
            raise
        self._undo.clear()
        if self.dirty:
            self._changes.clear()
            self.dirty = False
