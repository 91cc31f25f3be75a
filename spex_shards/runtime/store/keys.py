"""Keys of rows: integers in them, of fixed length and in the order of the numbers; and how long they may be."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Final

from ...errors import StoreError
from .port import MAX_KEY_BYTES

u64: Final[Callable[[int], bytes]] = struct.Struct(">Q").pack
"""Return the bytes of a 64-bit unsigned integer; raises `struct.error` for any other number."""
u32: Final[Callable[[int], bytes]] = struct.Struct(">I").pack
"""Return the bytes of a 32-bit unsigned integer; raises `struct.error` for any other number."""


def check_keys(table: str, keys: Iterable[bytes]) -> None:
    """Check the keys of a batch: a key that LMDB refuses would let every later checkpoint, or a move there, fail.

    Raises:
        StoreError: A key is empty or too long.
    """
    for key in keys:
        if not 0 < len(key) <= MAX_KEY_BYTES:
            text = f"the store could not keep a batch: a key of {len(key)} bytes in {table}, where 1 to "
            raise StoreError(f"{text}{MAX_KEY_BYTES} are possible")
