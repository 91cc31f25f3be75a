"""A namespace of a database as the source or target of a move."""

from __future__ import annotations

from ..errors import DataDirError
from ..runtime.store.note import ARRIVING, LEAVING, MOVED, unusable
from ..runtime.store.port import StoreOptions
from ..runtime.store.postgres.namespace import Namespace
from ..runtime.store.postgres.places import READY, NamespaceRow, PostgresStores
from .endpoints import Endpoint


class NamespaceEndpoint(Endpoint):
    """A namespace.

    Args:
        url: Its URL.
    """

    def __init__(self, url: str) -> None:
        namespace = Namespace.of(url)
        self.shown = namespace.shown
        self.stores: PostgresStores = PostgresStores(namespace, "disk", user="a move")

    def _row(self) -> NamespaceRow:
        found = self.stores.look()
        if found is None:
            raise DataDirError(f"there is no such namespace: {self.shown}", place=self.shown)
        return found

    def shards(self) -> int:
        """Return the number of shards."""
        return self._row().shards

    def identity(self) -> bytes:
        """Return the identity that it got when it was created."""
        return bytes(self._row().cluster.bytes)

    def is_in_use(self) -> bool:
        """Return whether it is there and complete."""
        found = self.stores.look()
        return found is not None and found.state == READY

    def is_leaving(self, target: str) -> bool:
        """Return whether a move of it to a place was begun."""
        found = self._row()
        return found.state == LEAVING and found.other == target

    def has_moved(self, target: Endpoint) -> bool:
        """Return whether it was moved to a place."""
        found = self._row()
        return found.state == MOVED and found.other == target.shown

    def check_leaves(self, target: str) -> None:
        """Check that it may be moved to a place."""
        found = self._row()
        if found.state != READY and not self.is_leaving(target):
            raise DataDirError(unusable(self.shown, found.state, found.other), place=self.shown)

    def leave(self, target: str) -> None:
        """Mark it as being moved, and take it from whoever uses it."""
        self.stores.mark(LEAVING, target)
        self.stores.take()
        for shard in range(self._row().shards):  # the claim: nothing of an earlier owner follows
            self.stores.open(shard, StoreOptions("disk")).close()

    def moved(self, target: Endpoint) -> None:
        """Mark it as moved; its rows stay until its schema is dropped."""
        self.stores.mark(MOVED, target.shown)

    def arrive(self, source: Endpoint, shards: int) -> None:
        """Make the namespace, or empty the one that the source came from."""
        found = self.stores.make(shards, ARRIVING, source.shown)
        if found.state == MOVED and found.other == source.shown and found.shards == shards:
            self.stores.clear(ARRIVING, source.shown)
        elif (found.state, found.other, found.shards) != (ARRIVING, source.shown, shards):
            text = f"{self.shown} holds something else: move into a new namespace, or drop its schema"
            raise DataDirError(text, place=self.shown)
        self.stores.take()

    def arrived(self, source: str) -> None:  # noqa: ARG002 - a directory forgets it as well
        """Mark it as usable."""
        self.stores.mark(READY)
        self.stores.leave()
