"""Integers as they stand in keys: in order, and of one length."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

u64: Final[Callable[[int], bytes]] = struct.Struct(">Q").pack
"""Return a 64-bit unsigned integer as it stands in keys; `struct.error` for any other."""
u32: Final[Callable[[int], bytes]] = struct.Struct(">I").pack
"""Return a 32-bit unsigned integer as it stands in keys; `struct.error` for any other."""
