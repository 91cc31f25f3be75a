"""What a log still holds after a crash: pure, over the bytes of its files.

The rule: the batches that count are those whose sequences follow one another from the checkpoint on, over all files in
the order of their epochs. Where the chain ends, what lies behind it was never finished, or was lost with the power
before it was synced; unless some record says that it had been on the disk already: then the log is damaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ...errors import DataDirError, show
from ..protocol import codec
from .log_format import HEADER_BYTES, Header, Record, records, stragglers
from .port import TABLES

_TABLES: Final = frozenset(TABLES)
_ADVICE: Final = "restore the data directory from a backup, or move this file away to go on without what it holds"


@dataclass(slots=True)
class Recovered:
    """What was found.

    Attributes:
        changes: Table → key → value of all batches behind the checkpoint, later ones over earlier ones.
        last: The sequence of the newest batch (that of the checkpoint, when there is none behind it).
        epoch: The highest epoch of any file.
        used: Files that hold something behind the checkpoint.
        batches: How many batches were found behind the checkpoint.
        size: Bytes of their payloads.
    """

    last: int
    epoch: int = 0
    changes: dict[str, dict[bytes, bytes | None]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    batches: int = 0
    size: int = 0


@dataclass(slots=True)
class _File:
    name: str
    data: bytes
    header: Header


def recover(files: Mapping[str, bytes], checkpoint: int, place: str = "") -> Recovered:
    """Read the batches that follow the checkpoint.

    Args:
        files: Names and contents of the log's files.
        checkpoint: The sequence of the newest batch that the store under the log holds.
        place: Where the files are, for errors.

    Raises:
        DataDirError: A file is damaged: something that was on the disk is not there any more.
    """
    found = Recovered(last=checkpoint)
    begun = sorted(_begun(files, place), key=lambda file: file.header.epoch)
    found.epoch = max((file.header.epoch for file in begun), default=0)
    ends: list[tuple[_File, int]] = []
    synced = 0
    limits = [*(file.header.first for file in begun[1:]), None]
    for file, limit in zip(begun, limits, strict=False):
        if limit is not None and limit <= checkpoint + 1:
            continue  # all of it is in the store, and nothing in it can speak of what is not
        end, claimed = _take(found, file, limit, place)
        ends.append((file, end))
        synced = max(synced, claimed, file.header.synced)
    synced = max([synced, *(record.synced for file, end in ends for record in stragglers(file.data, file.header, end))])
    if synced > found.last:
        raise _damaged(found, ends, synced, place)
    return found


def _begun(files: Mapping[str, bytes], place: str) -> Iterable[_File]:
    for name, data in files.items():
        try:
            header = Header.read(data)
        except ValueError as error:
            text = f"a log file is damaged: {place}{name}, byte 0: {error}; {_ADVICE}"
            raise DataDirError(text, path=place + name, offset=0) from None
        if header is not None:
            yield _File(name, data, header)


def _take(found: Recovered, file: _File, limit: int | None, place: str) -> tuple[int, int]:
    """Take a file's records that follow; return where its chain of records ends, and the highest `synced` in it."""
    end, synced = HEADER_BYTES, 0
    for record in records(memoryview(file.data), file.header):
        end, synced = record.end, max(synced, record.synced)
        if record.sequence == found.last + 1 and (limit is None or record.sequence < limit):
            _apply(found, record, f"{place}{file.name}")
            found.used.add(file.name)
    return end, synced


def _apply(found: Recovered, record: Record, path: str) -> None:
    try:
        changes = codec.unpack(record.payload)
        if not _is_batch(changes):
            raise ValueError("it is no batch of changes")
    except ValueError as error:
        text = f"a log file is damaged: {path}, before byte {record.end}: {error}; {_ADVICE}"
        raise DataDirError(text, path=path, offset=record.end) from None
    for table, rows in changes.items():
        found.changes.setdefault(table, {}).update(rows)
    found.last = record.sequence
    found.batches += 1
    found.size += len(record.payload)


def _is_batch(changes: object) -> bool:
    if type(changes) is not dict or not changes.keys() <= _TABLES:
        return False
    for rows in changes.values():
        if type(rows) is not dict:
            return False
        if set(map(type, rows)) - {bytes} or set(map(type, rows.values())) - {bytes, type(None)}:
            return False
    return True


def _damaged(found: Recovered, ends: list[tuple[_File, int]], synced: int, place: str) -> DataDirError:
    # The chain ends in the last file that begins at or before the batch that is missing.
    missing = found.last + 1
    starts = [(file, end) for file, end in ends if file.header.first <= missing]
    if not starts:
        text = f"a log file is missing in {show(place)}: batch {missing} is in none, and {synced} batches were written"
        return DataDirError(f"{text}; {_ADVICE}", path=place)
    file, end = starts[-1]
    text = (
        f"a log file is damaged: {place}{file.name}, byte {end}: batch {missing} is unreadable, "
        f"though everything up to batch {synced} was on the disk; {_ADVICE}"
    )
    return DataDirError(text, path=place + file.name, offset=end)
