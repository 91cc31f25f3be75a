"""Finds the shard of an identifier. The function must never change: data on disk depends on it.

``slot = xxh3_64(canonical bytes) mod 16384``, and a table slot → shard made by jump consistent hash (Lamping and Veach,
"A Fast, Minimal Memory, Consistent Hash Algorithm", 2014). So when a directory grows from N to M shards, only the
necessary share of identifiers moves.
"""

from __future__ import annotations

from typing import Final

import xxhash

SLOTS: Final = 16384
HASH_NAME: Final = "xxh3_64/16384/jump"
_MASK_64: Final = (1 << 64) - 1


def slot_of(canonical: bytes) -> int:
    """Return the slot, 0 to 16383, of an identifier's canonical bytes."""
    return xxhash.xxh3_64_intdigest(canonical) % SLOTS


def table(shards: int) -> tuple[int, ...]:
    """Return the shard of each slot, for a directory with `shards` shards."""
    return tuple(_jump(slot, shards) for slot in range(SLOTS))


def _jump(key: int, buckets: int) -> int:
    bucket, candidate = -1, 0
    while candidate < buckets:
        bucket = candidate
        key = (key * 2862933555777941757 + 1) & _MASK_64
        candidate = int((bucket + 1) * ((1 << 31) / ((key >> 33) + 1)))
    return bucket
