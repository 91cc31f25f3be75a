"""A page of memory that a supervisor shares with one worker: it shows what the worker executes, and its progress.

The worker writes to it, which takes a quarter of a microsecond. The supervisor reads it when the worker is dead or
silent. The worker names a request before the service carries it out, and clears the page before the commit. So if it
dies with a name on the page, it died of that request, or by chance; it did not die of a full disk during the commit.
"""

from __future__ import annotations

import mmap
import struct
from typing import Final, NamedTuple

_ALL: Final = struct.Struct("=Q16sQQ")
"""The progress counter, then the name (client id or timer key, and number), and last the kind of name. The kind is
written last: whenever the process dies, a page that has a kind has a complete name as well."""
_NUMBER: Final = struct.Struct("=Q")
_KIND_AT: Final = _ALL.size - _NUMBER.size
_NOTHING, _REQUEST, _TIMER = 0, 1, 2


class Suspect(NamedTuple):
    """The name of work during which a worker has died.

    Attributes:
        who: Of a request: the client's id. Of a timer: the key of its deadline.
        number: Of a request: its number. Of a timer: 0.
    """

    who: bytes
    number: int


class ShardPage:
    """The page of one shard. Create it before the worker is forked, so that both processes share it."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, mmap.PAGESIZE)
        self._count = 0

    def executing(self, who: bytes, number: int) -> None:
        """Name the request that is about to be carried out. Called by the worker."""
        self._count += 1
        _ALL.pack_into(self._map, 0, self._count, who, number, _REQUEST)

    def timing(self, key: bytes) -> None:
        """Name the deadline (16 bytes) whose handler is about to be called. Called by the worker."""
        self._count += 1
        _ALL.pack_into(self._map, 0, self._count, key, 0, _TIMER)

    def clear(self) -> None:
        """Remove the name: the request or handler has ended. Called by the worker."""
        _NUMBER.pack_into(self._map, _KIND_AT, _NOTHING)

    def bump(self) -> None:
        """Increase the progress counter. Called by the worker, in the middle of long work."""
        self._count += 1
        _NUMBER.pack_into(self._map, 0, self._count)

    def counter(self) -> int:
        """Return the progress counter: if it stands still, the worker may be hung. Called by the supervisor."""
        return int(_NUMBER.unpack_from(self._map, 0)[0])

    def take(self) -> Suspect | None:
        """Return the name on the page of a dead worker, or None; clear the page. Called by the supervisor."""
        _, who, number, kind = _ALL.unpack_from(self._map, 0)
        self.clear()
        if kind not in (_REQUEST, _TIMER):
            return None
        return Suspect(who, number if kind == _REQUEST else 0)
