"""The bytes of a redo log's file: a header, then records. Pure; what reads and writes files is elsewhere.

::

    header   magic 8 · epoch u64 · generation u64 · first u64 · synced u64 · checksum u64        (48 of 64 bytes)
    record   marker 4 · length u32 · sequence u64 · synced u64 · checksum u64 · payload

A record belongs to a file by the file's random *generation*, which seeds its checksum, so that what an earlier use of
the file left behind is never taken for a record of it; and to its place by its *sequence*, which must follow. `synced`
is the highest sequence that was known to be on the disk when the record was written: so a record that is missing below
it was not lost by a power cut, but damaged. (Checksums over a file's own generation: as in SQLite's write-ahead log.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

import xxhash

HEADER_BYTES: Final = 64
RECORD_BYTES: Final = 32
"""What stands in front of a record's payload."""
MAX_PAYLOAD: Final = (1 << 31) - 1
_MAGIC: Final = b"spexlog1"
_HEADER: Final = struct.Struct(">8sQQQQ")
_CHECKSUM: Final = struct.Struct(">Q")
_RECORD: Final = struct.Struct(">IIQQQ")
_SEED: Final = struct.Struct(">QIQQ")


class Header(NamedTuple):
    """What a file begins with.

    `epoch` grows with each use of a file, `generation` is random, `first` the sequence of its first record, `synced`
    the highest sequence known to be on the disk when the file was begun.
    """

    epoch: int
    generation: int
    first: int
    synced: int

    def pack(self) -> bytes:
        """Return its bytes."""
        packed = _HEADER.pack(_MAGIC, *self)
        return (packed + _CHECKSUM.pack(xxhash.xxh3_64_intdigest(packed))).ljust(HEADER_BYTES, b"\0")

    @classmethod
    def read(cls, data: bytes) -> Header | None:
        """Read the header of a file's bytes; None: the file was never begun.

        Raises:
            ValueError: What stands there is no header of this format.
        """
        if not any(data[:HEADER_BYTES]):
            return None
        packed, checksum = data[: _HEADER.size], data[_HEADER.size : _HEADER.size + _CHECKSUM.size]
        if len(checksum) < _CHECKSUM.size or packed[:7] != _MAGIC[:7]:
            raise ValueError("it does not begin like a log")
        if packed[:8] != _MAGIC:
            raise ValueError(f"it is of another format ({packed[:8]!r})")
        if _CHECKSUM.unpack(checksum)[0] != xxhash.xxh3_64_intdigest(packed):
            raise ValueError("the checksum of its header does not match")
        return cls(*_HEADER.unpack(packed)[1:])


class Record(NamedTuple):
    """One batch in a file: `end` is the offset behind it."""

    sequence: int
    synced: int
    payload: memoryview
    end: int


def pack_record(generation: int, sequence: int, synced: int, payload: bytes) -> bytes:
    """Return the bytes of a record.

    Args:
        generation: The file's.
        sequence: The batch's number.
        synced: The highest sequence known to be on the disk.
        payload: The batch.

    Raises:
        ValueError: The payload is too long.
    """
    length = len(payload)
    if not 0 < length <= MAX_PAYLOAD:
        raise ValueError(f"a batch of {length} bytes, where 1 to {MAX_PAYLOAD} fit into a record")
    seed = xxhash.xxh3_64_intdigest(_SEED.pack(generation, length, sequence, synced))
    checksum = xxhash.xxh3_64_intdigest(payload, seed)
    return _RECORD.pack(generation >> 32, length, sequence, synced, checksum) + payload


def read_record(data: memoryview, offset: int, generation: int) -> Record | None:
    """Return the record at `offset`, or None when no valid one of that generation stands there."""
    start = offset + RECORD_BYTES
    if start > len(data):
        return None
    marker, length, sequence, synced, checksum = _RECORD.unpack_from(data, offset)
    if marker != generation >> 32 or not 0 < length <= len(data) - start:
        return None
    payload = data[start : start + length]
    seed = xxhash.xxh3_64_intdigest(_SEED.pack(generation, length, sequence, synced))
    if xxhash.xxh3_64_intdigest(payload, seed) != checksum:
        return None
    return Record(sequence, synced, payload, start + length)


def records(data: memoryview, header: Header) -> Iterator[Record]:
    """Iterate over a file's records, in order, up to the first place where none follows."""
    offset, sequence = HEADER_BYTES, header.first
    while (record := read_record(data, offset, header.generation)) is not None and record.sequence == sequence:
        yield record
        offset, sequence = record.end, sequence + 1


def stragglers(data: bytes, header: Header, offset: int) -> Iterator[Record]:
    """Iterate over valid records somewhere behind `offset`, where the chain of records ended."""
    marker, view = (header.generation >> 32).to_bytes(4, "big"), memoryview(data)
    offset = data.find(marker, offset)
    while offset >= 0:
        record = read_record(view, offset, header.generation)
        if record is not None:
            yield record
        offset = data.find(marker, offset + 1 if record is None else record.end)
