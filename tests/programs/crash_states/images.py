"""Builds possible contents of a folder after a crash: a point of a trace, and a choice of what reached the disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from random import Random

from .trace import Op, Trace

SECTOR = 512
KINDS = ("kill", "nothing more", "some sectors", "one write missing", "one write only", "the last write torn")
"""A kill; then power cuts: what was not synced is lost, is there in part, or but for one write, or one write of it."""
_ENTRIES = ("create", "rename", "unlink", "mkdir", "rmdir")


@dataclass(slots=True)
class Image:
    """Names and contents of files, and names of folders."""

    files: dict[str, bytes] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)

    def write(self, root: str, target: Path) -> None:
        """Write the image into a folder that stands for `root`."""
        target.mkdir()
        for name in sorted(self.folders):
            (target / PurePosixPath(name).relative_to(root)).mkdir(parents=True, exist_ok=True)
        for name, data in self.files.items():
            (target / PurePosixPath(name).relative_to(root)).write_bytes(data)


class Explorer:
    """Makes images of one trace.

    Args:
        trace: The operations.
        told: The beginnings of the names of the files that make a batch durable.
        promised: Whether an acknowledged batch must survive a power cut even if it was not synced.
    """

    def __init__(self, trace: Trace, told: str, *, promised: bool = False) -> None:
        self.trace = trace
        self._promised = promised
        self.points = len(trace.ops)
        self._covered = [_covered(trace.ops, place, op) for place, op in enumerate(trace.ops)]
        self._batches = list(_batches(trace.ops, told))

    def acknowledged(self, point: int, *, power: bool) -> tuple[int, int]:
        """Return how many batches must be there after a crash at `point`, and how many may be."""
        told = [write for place, write in self._batches if place < point]
        if not power or self._promised:
            return len(told), len(told) + 1
        kept = [number for number, write in enumerate(told, 1) if self._covered[write] < point]
        return max(kept, default=0), len(told) + 1

    def image(self, point: int, kind: str, random: Random) -> Image:
        """Return a possible image after `ops[:point]` were begun; the last of them may be incomplete."""
        ops = list(enumerate(self.trace.ops[:point]))
        if kind == "kill":
            return self._kill(ops, random)
        entries = [(place, op) for place, op in ops if op.kind in _ENTRIES]
        loose = [place for place, _ in entries if self._covered[place] >= point]
        if kind == "nothing more":
            gone = set(loose)
        elif random.random() < 0.5:  # as by a journal: in order
            gone = set(loose[random.randint(0, len(loose)) :])
        else:
            gone = {place for place in loose if random.random() < 0.5}
        image, files = _entries(op for place, op in entries if place not in gone)
        for name, file in files.items():
            mine = [(place, op) for place, op in ops if op.file == file and op.kind in ("write", "truncate")]
            image.files[name] = self._content(mine, point, kind, random)
        return image

    def _kill(self, ops: list[tuple[int, Op]], random: Random) -> Image:
        image, files = _entries(op for _, op in ops)
        last = ops[-1][1] if ops else Op("told")
        for name, file in files.items():
            content = bytearray()
            for _, op in ops:
                if op.file == file:
                    ends = [offset - op.offset for offset, _ in _chunks(op)] + [len(op.data)]
                    # The write of a killed process can only end at the end of a page; this ends it at any sector.
                    _apply(content, op, op.data[: random.choice(ends) if op is last else len(op.data)])
            image.files[name] = bytes(content)
        return image

    def _content(self, mine: list[tuple[int, Op]], point: int, kind: str, random: Random) -> bytes:
        content = bytearray()
        loose: list[Op] = []
        for place, op in mine:
            if self._covered[place] < point:
                _apply(content, op, op.data)
            else:
                loose.append(op)
        if kind == "nothing more" or not loose:
            return bytes(content)
        chosen = loose[-1] if kind == "the last write torn" else random.choice(loose)
        sectors: dict[int, list[tuple[Op, int, bytes]]] = {}
        for op in loose:
            if op.kind == "truncate":
                _apply(content, op, b"")
            for offset, chunk in _chunks(op):
                sectors.setdefault(offset // SECTOR, []).append((op, offset, chunk))
        for writes in sectors.values():
            for _, offset, chunk in writes[: _kept([op for op, _, _ in writes], chosen, kind, random)]:
                _put(content, offset, chunk)
        if random.random() < 0.5:  # the size may be there before the data
            size = max(op.offset + len(op.data) for op in loose)
            content.extend(bytes(max(0, size - len(content))))
        return bytes(content)


def _kept(writes: list[Op], chosen: Op, kind: str, random: Random) -> int:
    """Return how many of the writes to one sector have reached it; a later write implies the earlier ones."""
    place = next((i for i, op in enumerate(writes) if op is chosen), None)
    if kind == "some sectors":
        return random.randint(0, len(writes))
    if kind == "one write only":
        return 0 if place is None else place + 1
    if place is None:
        return len(writes)
    return place if kind == "one write missing" else random.choice([place, place + 1])


def _covered(ops: list[Op], place: int, op: Op) -> int:
    """Return the position from which on an operation is durable."""
    never = len(ops) + 1
    if op.kind in ("write", "truncate"):
        if op.durable:
            return place
        return next(
            (i for i, sync in enumerate(ops[place + 1 :], place + 1)
             if sync.kind == "sync" and sync.file == op.file and sync.since > place), never,
        )  # fmt: skip
    folder = str(PurePosixPath(op.target or op.path).parent)
    return next(
        (i for i, sync in enumerate(ops[place + 1 :], place + 1)
         if sync.kind == "sync folder" and sync.path == folder and sync.since > place), never,
    )  # fmt: skip


def _batches(ops: list[Op], told: str) -> Iterator[tuple[int, int]]:
    """Yield, for each batch, the position of its acknowledgement, and the write that made it durable."""
    write = -1
    for place, op in enumerate(ops):
        if op.kind == "write" and PurePosixPath(op.path).name.startswith(told):
            write = place
        elif op.kind == "told" and op.data != b"synced\n":
            yield place, write


def _entries(ops: Iterator[Op]) -> tuple[Image, dict[str, int]]:
    image = Image()
    files: dict[str, int] = {}
    for op in ops:
        if op.kind == "create":
            files[op.path] = op.file
        elif op.kind == "rename":  # its target has the file, whether its first name was ever on the disk or not
            files.pop(op.path, None)
            files[op.target] = op.file
        elif op.kind == "unlink" and files.get(op.path) == op.file:
            del files[op.path]
        elif op.kind == "mkdir":
            image.folders.add(op.path)
        elif op.kind == "rmdir":
            image.folders.discard(op.path)
    whole = {name: file for name, file in files.items() if str(PurePosixPath(name).parent) in image.folders}
    return image, whole


def _apply(content: bytearray, op: Op, data: bytes) -> None:
    if op.kind == "truncate":
        del content[op.offset :]
        content.extend(bytes(op.offset - len(content)))
    elif op.kind == "write":
        _put(content, op.offset, data)


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if data:
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data


def _chunks(op: Op) -> Iterator[tuple[int, bytes]]:
    offset, data = op.offset, op.data
    while data:
        length = SECTOR - offset % SECTOR
        yield offset, data[:length]
        offset, data = offset + length, data[length:]
