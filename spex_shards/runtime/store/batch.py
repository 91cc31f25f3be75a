"""A batch: changes that are collected in memory, and committed to the store together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from ...errors import StoreError
from ..protocol.codec import packer
from ..protocol.records import checksum
from .overlay import merged
from .port import Store

_MISSING: Any = object()
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class _Detached:
    """Replaces the store of a detached batch: every use raises a `StoreError`."""

    def __getattr__(self, name: str) -> Any:
        raise StoreError("the batch was left behind by a call that interrupted it")


class Batch:
    """Uncommitted changes over a store.

    Reads see the changes; nothing is written before `commit`. `mark` and `rollback` undo the changes of one request
    within the batch. Objects in memory can be rolled back together with the rows, if they are changed by `put_in` or
    `add_to`, or if `restores` is called before the change. `on_undo` is for any other change.

    Args:
        store: The store.

    Attributes:
        dirty: Whether there are changes to commit.
        on_rollback: Called before any rollback; a cache of rows empties itself then.
    """

    def __init__(self, store: Store) -> None:
        self._store: Any = store
        self._changes: dict[str, dict[bytes, bytes | None]] = {}
        self._undo: list[Any] = []
        self._pack = packer()
        self.dirty = False
        self.on_rollback: Callable[[], None] | None = None

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of `key`, with the batch's changes, or None."""
        changes = self._changes.get(table)
        if changes is not None:
            value: Any = changes.get(key, _MISSING)
            if value is not _MISSING:
                return value  # type: ignore[no-any-return]
        found: bytes | None = self._store.get(table, key)
        return found

    def fetch(self, wanted: Mapping[str, Sequence[bytes]]) -> None:
        """Have the store read together what the batch is going to read: table → keys. Only for a store that is far.

        Raises:
            StoreError: They cannot be read.
        """
        for table, keys in wanted.items():
            if len(keys) > 1:
                self._store.get_many(table, keys)

    def put(self, table: str, key: bytes, value: bytes | None) -> None:
        """Set `key` to `value`; None deletes it."""
        changes = self._changes.get(table)
        if changes is None:
            changes = self._changes[table] = {}
        self._undo.append((changes, key, changes.get(key, _MISSING)))
        changes[key] = value
        self.dirty = True

    def put_row(self, table: str, key: bytes, values: tuple[Any, ...]) -> None:
        """Set `key` to the row of plain values without dicts: what `records.seal_flat` makes of them.

        A batch has a packer of its own, because nobody else can enter it meanwhile: a call that interrupts one in the
        middle of a batch gets another batch.
        """
        try:
            payload = self._pack(values)
        except BaseException:
            self._pack = packer()
            raise
        self.put(table, key, payload + checksum(payload))

    def delete(self, table: str, key: bytes) -> None:
        """Delete `key`, if it exists."""
        self.put(table, key, None)

    def range(
        self, table: str, start: bytes, stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over the rows ``start <= key < stop`` in key order (or the reverse), with the batch's changes.

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
        """Disconnect the batch from its store, from any thread: a call that still uses it gets a `StoreError`.

        Another batch continues on the store. A cut-off call must neither read nor write there any more.
        """
        self._store = _Detached()

    def on_undo(self, undo: Callable[[], None]) -> None:
        """Call `undo` if a rollback reaches this point; the changes made after it are undone before that."""
        self._undo.append(undo)

    def restores(self, target: object, *names: str) -> None:
        """Give attributes of `target` their present values back if a rollback reaches this point."""
        before = [(name, getattr(target, name)) for name in names]

        def restore() -> None:
            for name, value in before:
                setattr(target, name, value)

        self._undo.append(restore)

    def put_in(self, mapping: dict[_Key, _Value], key: _Key, value: _Value) -> None:
        """Set a key of a dict in memory; a rollback restores the dict."""
        self._undo.append((mapping, key, mapping.get(key, _MISSING)))
        mapping[key] = value

    def add_to(self, items: set[_Key], item: _Key) -> None:
        """Add an item to a set in memory that does not have it; a rollback removes it."""
        self._undo.append(partial(items.discard, item))
        items.add(item)

    def mark(self) -> int:
        """Return the present point in the batch, for `rollback`."""
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
        """Commit all changes at once; the batch is empty then.

        Raises:
            StoreError: Nothing was committed; all changes were rolled back.
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
