"""A page of memory that a supervisor shares with one worker: what the worker is doing just now, and that it gets on.

The worker writes it, at a quarter of a microsecond a time; the supervisor reads it when the worker is dead or silent.
What is being executed is noted before the engine's work and cleared before the commit, so that whoever dies meanwhile
dies by that work, or by chance.
"""

from __future__ import annotations

import mmap
import struct
from typing import Final, NamedTuple

_ALL: Final = struct.Struct("=Q16sQQ")
"""A counter; who and number, and last their kind: whenever the process dies, what is named stands there whole."""
_NUMBER: Final = struct.Struct("=Q")
_KIND_AT: Final = _ALL.size - _NUMBER.size
_NOTHING, _REQUEST, _TIMER = 0, 1, 2


class Suspect(NamedTuple):
    """Work during which a worker has died.

    A request: the client's id and the request's number. A timer: the key of its deadline and number 0.
    """

    who: bytes
    number: int


class ShardPage:
    """The page of one shard; to be made before the worker is forked."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, mmap.PAGESIZE)
        self._count = 0

    def executing(self, who: bytes, number: int) -> None:
        """By the worker: this request is being carried out."""
        self._count += 1
        _ALL.pack_into(self._map, 0, self._count, who, number, _REQUEST)

    def timing(self, key: bytes) -> None:
        """By the worker: the handler of this deadline (16 bytes) is being asked."""
        self._count += 1
        _ALL.pack_into(self._map, 0, self._count, key, 0, _TIMER)

    def clear(self) -> None:
        """By the worker: nothing is being executed."""
        _NUMBER.pack_into(self._map, _KIND_AT, _NOTHING)

    def bump(self) -> None:
        """By the worker: it gets on."""
        self._count += 1
        _NUMBER.pack_into(self._map, 0, self._count)

    def counter(self) -> int:
        """By the supervisor: a number that grows as the worker gets on."""
        return int(_NUMBER.unpack_from(self._map, 0)[0])

    def take(self) -> Suspect | None:
        """By the supervisor, when the worker is dead: what it was executing; the page is then clear."""
        _, who, number, kind = _ALL.unpack_from(self._map, 0)
        self.clear()
        if kind not in (_REQUEST, _TIMER):
            return None
        return Suspect(who, number if kind == _REQUEST else 0)
