"""Reads one shard for an audit: its rows in order, and a finding for everything that cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from ..engine.catalogue import Entry
from ..engine.row_forms import instance_row
from ..engine.rows import Found, identifier_bytes
from ..errors import StoreError, show
from ..messages.values import LATEST
from ..runtime.protocol import codec
from ..runtime.store import Store
from .findings import Finding

MOST_FINDINGS: Final = 1000
"""How many findings of one table are reported one by one."""
_PER_STEP: Final = 2048
_MALFORMED: Final = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError)

READABLE: Final = "every row can be read, and its checksum matches"
FORM: Final = "a row has the form of its kind"
ORDERED: Final = "keys follow one another in order"


@dataclass(slots=True)
class Reading:
    """The shard that the rules read, and the facts that earlier rules have collected for later ones.

    Attributes:
        store: The shard's store, for reading.
        shard: Its index.
        homes: Returns the shards that an instance, or a row of a service, with these canonical bytes may lie on.
        tell: Called with each finding.
        step: Called with the current table, and the number of rows read so far.
        routed_by: Returns the canonical bytes that a row of a service is routed by; None if that is not known.
        specifications: Number → specification.
        settling: The numbers of the specifications whose instances' due times are being computed again.
        instances: Instance number → number of entries in its history.
        clients: Client id → the highest request number applied.
    """

    store: Store
    shard: int
    homes: Callable[[bytes], frozenset[int]]
    tell: Callable[[Finding], None]
    step: Callable[[str, int], None]
    routed_by: Callable[[bytes], bytes] | None = None
    specifications: dict[int, Entry] = field(default_factory=dict)
    settling: set[int] = field(default_factory=set)
    instances: dict[int, int] = field(default_factory=dict)
    clients: dict[bytes, int] = field(default_factory=dict)
    _told: Counter[str] = field(default_factory=Counter)
    _read: int = 0

    def report(self, table: str, key: bytes | str, rule: str, value: object) -> None:
        """Report a finding; those beyond the first thousand of a table are reported as one."""
        self._told[table] += 1
        if self._told[table] > MOST_FINDINGS + 1:
            return
        if self._told[table] > MOST_FINDINGS:
            key, rule, value = "", "everything above", "more findings, which are not listed"
        shown = key if isinstance(key, str) else key.hex()
        self.tell(Finding(self.shard, table, shown, rule, value if isinstance(value, str) else show(value)))

    def rows(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over a table; an unreadable or misplaced row is a finding, and ends the iteration."""
        before = b""
        self.step(table, self._read)
        try:
            for key, row in self.store.range(table, b"", None):
                if key <= before:
                    self.report(table, key, ORDERED, f"{key.hex()} behind {before.hex()}")
                    return
                before = key
                self._read += 1
                if self._read % _PER_STEP == 0:
                    self.step(table, self._read)
                yield key, row
        except StoreError as error:
            self.report(table, before, READABLE, str(error))
            self.store.release()  # a read transaction that has failed cannot be used again

    @contextmanager
    def row(self, table: str, key: bytes | str) -> Iterator[None]:
        """Within a ``with`` block, turn an error of reading or understanding a row into a finding about that row."""
        try:
            yield
        except StoreError as error:
            self.report(table, key, READABLE, str(error))
        except _MALFORMED as error:
            self.report(table, key, FORM, f"{type(error).__name__}: {error}")

    def at(self, key: bytes) -> Found | None:
        """Return the instance with a key, or None.

        Raises:
            StoreError: Its row cannot be read.
        """
        row = self.store.get("instances", key)
        return None if row is None else Found(key, instance_row(row))


def number(key: bytes) -> int:
    """Return the integer that a part of a key encodes."""
    return int.from_bytes(key, "big")


def require(holds: bool, what: str) -> None:
    """Check the form of a row.

    Raises:
        ValueError: `holds` is False; the text is `what`.
    """
    if not holds:
        raise ValueError(what)


def naming(key: bytes, row: bytes) -> str:
    """Return the text for an instance in a finding: its identifier if it can be read, else its key."""
    try:
        return show(codec.identifier_of(identifier_bytes(Found(key, instance_row(row)))))
    except (StoreError, *_MALFORMED):
        return key.hex()


def is_time(value: Any) -> bool:
    """Return whether a value is a time in microseconds."""
    return type(value) is int and -LATEST <= value <= LATEST
