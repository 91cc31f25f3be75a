"""The format of a redo log's file: a header, then records. Without input or output.

::

    header   magic 8 · epoch u64 · generation u64 · first u64 · synced u64 · checksum u64        (48 of 64 bytes)
    record   marker 4 · length u32 · sequence u64 · synced u64 · checksum u64 · payload

# Guarantees:
#
# * Files are reused, so old records may lie behind new ones. Each use of a file has a random *generation*, which is
#   part of each record's checksum. So a record of an earlier use is never taken for one of the present use.
# * Each record has the *sequence* of its batch, which must follow that of the record before. So no batch is left out.
# * `synced` is the highest sequence that was known to be on the disk when the record was written. If a record up to
#   that sequence is missing, it was not lost in a power cut: the file was damaged later, and that must be reported.

Checksums that depend on the file's generation are as in SQLite's write-ahead log.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import xxhash

from ...errors import StoreError
from .keys import check_keys
from .port import Changes

HEADER_BYTES: Final = 64
RECORD_BYTES: Final = 32
"""The size of a record without its payload, which follows it."""
MAX_PAYLOAD: Final = (1 << 31) - 1
_MAGIC: Final = b"spexlog1"
_HEADER: Final = struct.Struct(">8sQQQQ")
_CHECKSUM: Final = struct.Struct(">Q")
_RECORD: Final = struct.Struct(">IIQQQ")
_SEED: Final = struct.Struct(">QIQQ")


class Header(NamedTuple):
    """The header of a file, written when a use of the file begins.

    Attributes:
        epoch: Greater than that of all earlier uses of the log's files.
        generation: A random number.
        first: The sequence of the first record.
        synced: The highest sequence that was known to be on the disk.
    """

    epoch: int
    generation: int
    first: int
    synced: int

    def pack(self) -> bytes:
        """Return the header's bytes."""
        packed = _HEADER.pack(_MAGIC, *self)
        return (packed + _CHECKSUM.pack(xxhash.xxh3_64_intdigest(packed))).ljust(HEADER_BYTES, b"\0")

    @classmethod
    def read(cls, data: bytes) -> Header | None:
        """Return the header of a file's bytes, or None if none was ever written.

        Raises:
            ValueError: The bytes are not a header of this format, or are damaged.
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


class Record:
    """One batch in a file.

    Attributes:
        sequence: Its sequence.
        synced: The highest sequence that was known to be on the disk.
        payload: The batch.
        end: The offset of the first byte after it.
    """

    __slots__ = ("end", "payload", "sequence", "synced")

    def __init__(self, sequence: int, synced: int, payload: memoryview, end: int) -> None:
        self.sequence = sequence
        self.synced = synced
        self.payload = payload
        self.end = end


def pack_batch(changes: Changes, pack: Callable[[Changes], bytes]) -> bytes:
    """Return the payload of a batch.

    Args:
        changes: The batch.
        pack: A function of `codec.packer`.

    Raises:
        StoreError: The base store refuses a key, so that no checkpoint would ever succeed; or memory is short.
    """
    for table, rows in changes.items():
        check_keys(table, rows)
    try:
        return pack(changes)
    except MemoryError as error:
        raise StoreError("the store could not keep a batch: there is no memory") from error


def pack_record(generation: int, sequence: int, synced: int, payload: bytes) -> bytes:
    """Return the bytes of a record.

    Args:
        generation: The generation of the file.
        sequence: The sequence of the batch.
        synced: The highest sequence known to be on the disk.
        payload: The batch.

    Raises:
        ValueError: The payload is empty or too long.
    """
    length = len(payload)
    if not 0 < length <= MAX_PAYLOAD:
        raise ValueError(f"a batch of {length} bytes, where 1 to {MAX_PAYLOAD} fit into a record")
    seed = xxhash.xxh3_64_intdigest(_SEED.pack(generation, length, sequence, synced))
    checksum = xxhash.xxh3_64_intdigest(payload, seed)
    return _RECORD.pack(generation >> 32, length, sequence, synced, checksum) + payload


def read_record(data: memoryview, offset: int, generation: int) -> Record | None:
    """Return the record at `offset`, or None if there is no valid record of that generation."""
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
    """Iterate over a file's records, in order, up to the first place without a valid record of the next sequence."""
    offset, sequence = HEADER_BYTES, header.first
    while (record := read_record(data, offset, header.generation)) is not None and record.sequence == sequence:
        yield record
        offset, sequence = record.end, sequence + 1


def stragglers(data: bytes, header: Header, offset: int) -> Iterator[Record]:
    """Iterate over valid records anywhere after `offset`, where the chain of records ended: they prove a damage."""
    marker, view = (header.generation >> 32).to_bytes(4, "big"), memoryview(data)
    offset = data.find(marker, offset)
    while offset >= 0:
        record = read_record(view, offset, header.generation)
        if record is not None:
            yield record
        offset = data.find(marker, offset + 1 if record is None else record.end)
