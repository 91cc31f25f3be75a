"""Integers as they stand in keys: in order, and of one length."""

from __future__ import annotations


def u64(number: int) -> bytes:
    """Return an integer as it stands in keys."""
    return number.to_bytes(8, "big")


def u32(number: int) -> bytes:
    """Return a small integer as it stands in keys."""
    return number.to_bytes(4, "big")
