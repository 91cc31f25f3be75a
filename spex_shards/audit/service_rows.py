"""What an application's service keeps in a shard, as `reshard` moves it: rows, each of which belongs to a key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final, NamedTuple, Self

from ..errors import DataDirError, show, words
from ..runtime.declared import Service, declared
from ..runtime.hosting import SERVICE, name_of, service_of
from ..runtime.protocol import records
from ..runtime.protocol.codec import canonical
from ..runtime.rows import named
from ..runtime.store import Store
from .contents import Contents

PORTION: Final = 512
PORTION_BYTES: Final = 1 << 22
"""A portion ends at so many bytes: a row may have megabytes."""


class RowRouting:
    """Finds the bytes that a row of a service is routed by, as the service itself says.

    Args:
        service: The service's class.

    Attributes:
        service: The name of the service, as a data directory records it.

    Raises:
        TypeError: It is no service.
        DataDirError: It does not say which key a row belongs to.
    """

    def __init__(self, service: type[Service]) -> None:
        function = declared(service).routing_key
        self.service = name_of(service)
        if function is None:
            raise DataDirError(
                f"the service {self.service} does not say which key a row belongs to: "
                "define a staticmethod routing_key(table, key) that returns the key whose shard holds the row"
            )
        self._function = function
        self._title = f"{service.__qualname__}.routing_key"

    def __call__(self, place: bytes) -> bytes:
        """Return the canonical bytes that a row is routed by.

        Args:
            place: The row's key in the store.

        Raises:
            DataDirError: `routing_key` raised something, or returned what cannot be a key; names table and key.
            ValueError: The row's key is malformed.
        """
        table, key = named(place)
        try:
            answer = self._function(table, key)
        except Exception as error:
            raise DataDirError(f"{self._title} raised {words(error)}, for {shown(place)}") from error
        try:
            return canonical(answer)
        except (TypeError, ValueError) as error:
            text = f"{self._title} returned {show(answer)}, which is no key ({words(error)}), for {shown(place)}"
            raise DataDirError(text) from error


class RowItem(NamedTuple):
    """A row as it is stored: its key in the store, and its sealed value."""

    place: bytes
    row: bytes


class RowContents(Contents[RowItem]):
    """The rows of a shard of a service.

    Args:
        store: The shard's store.
        routing: Says what a row is routed by.
    """

    must_check: ClassVar[bool] = True

    def __init__(self, store: Store, routing: RowRouting) -> None:
        super().__init__(store)
        self._routing = routing

    def count(self) -> int:
        """Return how many rows there are."""
        return sum(1 for _ in self.batch.range("rows", b""))

    def portions(self) -> Iterator[list[RowItem]]:
        """Iterate over all rows, a bounded number of them and of their bytes at a time."""
        after = b""
        while portion := self._portion(after):
            yield portion
            after = portion[-1].place + b"\x00"

    def _portion(self, after: bytes) -> list[RowItem]:
        portion: list[RowItem] = []
        size = 0
        for place, row in self.batch.range("rows", after):
            portion.append(RowItem(place, row))
            size += len(row)
            if len(portion) >= PORTION or size >= PORTION_BYTES:
                break
        return portion

    def routed_by(self, item: RowItem) -> bytes:
        """Return the canonical bytes of the key that a row belongs to; checks the row as well.

        Raises:
            DataDirError: `routing_key` gives no key; names table and key.
            StoreError: The row is damaged.
        """
        records.unseal(item.row, "a row of the service")
        return self._routing(item.place)

    def named(self, item: RowItem) -> str:
        """Return how an error's text names a row."""
        return shown(item.place)

    def holds(self, item: RowItem) -> bool:
        """Return whether this shard holds a row of another shard.

        Raises:
            DataDirError: It holds another value under that key.
        """
        own = self.batch.get("rows", item.place)
        if own is not None and own != item.row:
            raise DataDirError(f"{self.named(item)} is on two shards, with different values")
        return own is not None

    def adopt(self, source: Self, item: RowItem) -> bool:  # noqa: ARG002
        """Copy a row of another shard as it is; return False when this shard holds it already.

        Raises:
            DataDirError: There is another value under that key.
        """
        if self.holds(item):
            return False
        self.batch.put("rows", item.place, item.row)
        return True

    def remove(self, item: RowItem) -> None:
        """Remove a row."""
        self.batch.delete("rows", item.place)

    def claim(self) -> None:
        """Mark a new store as one of this service's; committed at once.

        Raises:
            DataDirError: It belongs to another service.
        """
        found = service_of(self.batch)
        if found is None:
            self.batch.put("layout", SERVICE, records.seal(self._routing.service))
            self.commit()
        elif found != self._routing.service:
            raise DataDirError(f"a shard belongs to the service {found}, and others to {self._routing.service}")


def shown(place: bytes) -> str:
    """Return how a row is shown: by its key and its table."""
    table, key = named(place)
    return f"the row {show(key)} of the table {table!r}"
