"""Integers as bytes in keys: of fixed length, and so that the order of the bytes is the order of the numbers."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

u64: Final[Callable[[int], bytes]] = struct.Struct(">Q").pack
"""Return the bytes of a 64-bit unsigned integer; raises `struct.error` for any other number."""
u32: Final[Callable[[int], bytes]] = struct.Struct(">I").pack
"""Return the bytes of a 32-bit unsigned integer; raises `struct.error` for any other number."""
