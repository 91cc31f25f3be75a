"""Finds the batches in a log after a crash, from the bytes of its files. Without input or output.

The rule: the files are read in the order of their epochs. The batches that count are those whose sequences follow one
another from the checkpoint on. Where this chain ends, the next batch was not completely written, or a power cut lost it
before it was synced. Both are normal, and the batch was never promised to be on the disk. But if any record says that
the batch was synced, the log is damaged, and this must be an error: the store would lose it silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ...errors import DataDirError, show
from ..protocol import codec
from .log_format import HEADER_BYTES, Header, Record, records, stragglers
from .port import TABLES

_TABLES: Final = frozenset(TABLES)
_ADVICE: Final = "restore the data directory from a backup, or move this file away to go on without what it holds"


class Checkpoint(NamedTuple):
    """What the base store holds.

    Attributes:
        sequence: The sequence of the newest batch in it; 0: it has none.
        epoch: Only files of this epoch or a later one can have batches after that one.
    """

    sequence: int
    epoch: int


@dataclass(slots=True)
class Recovered:
    """The batches that were found after the checkpoint.

    Attributes:
        last: The sequence of the newest batch; that of the checkpoint if there is none after it.
        epoch: The highest epoch of all files.
        changes: Table → key → value: the union of the batches, in which later ones replace earlier ones.
        used: The files that the batches are in.
        void: Files of batches after the checkpoint of which none counts; they must not be begun again, see `RedoLog`.
        batches: How many batches there are.
        size: The size of their payloads in bytes.
    """

    last: int
    epoch: int = 0
    changes: dict[str, dict[bytes, bytes | None]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    void: set[str] = field(default_factory=set)
    batches: int = 0
    size: int = 0


@dataclass(slots=True)
class _File:
    name: str
    data: bytes
    header: Header


def recover(files: Mapping[str, bytes], checkpoint: Checkpoint, place: str = "") -> Recovered:
    """Return the batches that follow the checkpoint.

    Args:
        files: Names and contents of the log's files.
        checkpoint: What the base store holds.
        place: The place of the files, for error messages.

    Raises:
        DataDirError: A file is damaged: a batch that was on the disk cannot be read any more.
    """
    found = Recovered(last=checkpoint.sequence)
    begun = sorted(_begun(files, place), key=lambda file: file.header.epoch)
    found.epoch = max(checkpoint.epoch, *(file.header.epoch for file in begun), 0)
    # A power cut may undo that a file was begun again, so that its batches of before are there again. If batches with
    # the same numbers were written elsewhere since, and are in the base store now, the old ones must not follow them.
    begun = [file for file in begun if file.header.epoch >= checkpoint.epoch]
    ends: list[tuple[_File, int]] = []
    synced = 0
    limits = [*(file.header.first for file in begun[1:]), None]
    for file, limit in zip(begun, limits, strict=False):
        if limit is not None and limit <= checkpoint.sequence + 1:
            continue  # all its batches are in the base store, and none can say anything about a later one
        end, claimed = _take(found, file, limit, place)
        ends.append((file, end))
        synced = max(synced, claimed, file.header.synced)
    synced = max([synced, *(record.synced for file, end in ends for record in stragglers(file.data, file.header, end))])
    found.void = {file.name for file in begun} - found.used
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
    """Add a file's batches that follow the last one found.

    Returns:
        The offset where its chain of records ends, and the highest `synced` of its records.
    """
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
    # The missing batch belongs into the last file whose first batch is not after it.
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
