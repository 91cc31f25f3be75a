"""`verify`: the audit of a data directory. A process of its own reads each shard.

A damaged page may make LMDB read beyond its map, which crashes the process. With a process per shard, that is a finding
too, and the audit goes on.
"""

from __future__ import annotations

import os
import resource
import selectors
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..errors import words
from ..runtime.data_dir import DELETING, DataDir, Layout, OwnerLock, no_data_dir
from ..runtime.declared import Service
from ..runtime.protocol import routing
from ..runtime.protocol.requests import MAX_REPLY_BYTES
from ..runtime.protocol.session import frame
from ..runtime.protocol.wire import FrameReader
from ..runtime.shard_info import describe_exit
from ..runtime.store.location import Location, Where, is_url, reading
from ..runtime.store.meta_pages import DATA
from ..runtime.store.note import check_own
from ..runtime.store.opening import LocalStores
from ..runtime.system.forking import close_all_but, fork, prepare
from .findings import Finding
from .recorded import recorded_service, routing_for
from .shard import audit_shard

Progress = Callable[[int, int], None]
"""Called with the number of rows read, and the approximate total."""

TO_ITS_END: Final = "its store can be read to its end"
_AT_ONCE: Final = 8


def verify(path: Where, *, service: type[Service] | None = None, progress: Progress | None = None) -> list[Finding]:
    """Check every row of every shard against the others; no manager may use the directory, and nothing is changed.

    It checks the checksum and form of each row; that each instance lies on the shard that it is routed to, with a
    complete, ordered history, and with its rows in all indexes; that each row of an index belongs to an instance;
    models, deviations, clients, answers and counters; and in LMDB's file, that each page is used exactly once or free.
    The content of the redo logs counts as stored. A flipped bit in a place that stores nothing is not found.

    Args:
        path: The data directory, also one that an interrupted `reshard` has left; or the URL of a namespace, which may
            be in use: each shard is checked as it was at one moment.
        service: The class of the service whose name the directory records, with a `routing_key`: then each row must lie
            on the shard that this gives. None: where rows lie is not checked.
        progress: Called now and then.

    Returns:
        The findings, by shard; an empty list if all is well.

    Raises:
        DataDirLocked: A manager uses it.
        DataDirError: It is no data directory, its layout record is damaged or has a newer format, it does not belong to
            `service`, or `service` has no `routing_key`.
        TypeError: `service` is no service.
    """
    if is_url(path):
        with reading(path) as place:
            return _verified(place, Layout(place.shards), [], service, progress)
    directory = DataDir(Path(path).absolute())
    layout = directory.read_layout()
    if layout is None:
        raise no_data_dir(path)
    with OwnerLock(directory, reading=True) as lock:
        check_own(directory)
        most = layout.shards if layout.step == DELETING else max(layout.shards, layout.other)
        place = Location(str(directory.path), most, LocalStores(directory), directory, lock.descriptor)
        return _verified(place, layout, _missing(directory, layout), service, progress)


def _verified(
    place: Location, layout: Layout, findings: list[Finding], service: type[Service] | None, progress: Progress | None
) -> list[Finding]:
    there = [index for index in range(place.shards) if place.stores.exists(index)]
    recorded = None if service is None else recorded_service(place.stores, layout.shards)
    routed_by = None if service is None else routing_for(place.shown, recorded, service)
    for findings_of_one in _Readers(_Shards(place, _homes(layout), routed_by), progress).read(there):
        findings += findings_of_one
    return sorted(findings, key=lambda finding: finding.shard)


def _missing(directory: DataDir, layout: Layout) -> list[Finding]:
    """Return findings about stores that are missing; a directory in which nothing was ever stored has none at all."""
    there = [index for index in range(layout.shards) if (directory.shard(index) / DATA).exists()]
    if not there and not any(directory.path.glob(f"shard-*/{DATA}")):
        return []
    rule = "its store is there, as those of other shards are"
    missing = sorted({*range(layout.shards)} - {*there})
    return [Finding(i, "store", "", rule, f"no {directory.shard(i) / 'data.mdb'}") for i in missing]


def _homes(layout: Layout) -> Callable[[bytes], frozenset[int]]:
    tables = [routing.table(layout.shards)]
    if layout.step is not None:
        tables.append(routing.table(layout.other))
    homes = [frozenset(of_slot) for of_slot in zip(*tables, strict=True)]
    return lambda identifier: homes[routing.slot_of(identifier)]


@dataclass(frozen=True, slots=True)
class _Shards:
    """Where shards are, and where what they hold belongs."""

    place: Location
    homes: Callable[[bytes], frozenset[int]]
    routed_by: Callable[[bytes], bytes] | None


@dataclass(slots=True)
class _Reader:
    shard: int
    pid: int
    pipe: int
    frames: FrameReader = field(default_factory=lambda: FrameReader(MAX_REPLY_BYTES))
    findings: list[Finding] = field(default_factory=list)
    table: str = "store"
    rows: int = 0
    total: int = 0
    whole: bool = False


class _Readers:
    """The processes that read the shards, at most eight at a time."""

    def __init__(self, shards: _Shards, progress: Progress | None) -> None:
        self._shards = shards
        self._lock = shards.place.lock
        self._progress = progress
        self._selector = selectors.DefaultSelector()
        self._running: dict[int, _Reader] = {}
        self._done: list[_Reader] = []
        prepare()

    def read(self, shards: list[int]) -> list[list[Finding]]:
        """Read these shards; return the findings of each."""
        waiting, most = deque(shards), min(_AT_ONCE, os.cpu_count() or 1)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < most:
                    self._start(waiting.popleft())
                for key, _ in self._selector.select():
                    self._hear(self._running[key.fd])
                self._tell_progress(len(shards))
        finally:
            for reader in self._running.values():
                with suppress(ChildProcessError, ProcessLookupError):  # raised if the application ignores SIGCHLD
                    os.kill(reader.pid, signal.SIGKILL)
                    os.waitpid(reader.pid, 0)
                os.close(reader.pipe)
            self._selector.close()
        return [reader.findings for reader in self._done]

    def _tell_progress(self, shards: int) -> None:
        readers = [*self._done, *self._running.values()]
        known = [reader.total for reader in readers if reader.total]
        if self._progress is not None and known:
            self._progress(sum(reader.rows for reader in readers), sum(known) * shards // len(known))

    def _start(self, shard: int) -> None:
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        pid = fork(lambda: self._be_reader(shard, theirs), lambda _: None)
        os.close(theirs)
        self._running[ours] = _Reader(shard, pid, ours)
        self._selector.register(ours, selectors.EVENT_READ)

    def _hear(self, reader: _Reader) -> None:
        data = os.read(reader.pipe, 1 << 16)
        for message in reader.frames.feed(data):
            if message[0] == "finding":
                reader.findings.append(Finding(*message[1]))
            elif message[0] == "whole":
                reader.whole = True
            else:
                reader.table, reader.rows, reader.total = message[1:]
        if not data:
            self._bury(reader)

    def _bury(self, reader: _Reader) -> None:
        self._selector.unregister(reader.pipe)
        os.close(reader.pipe)
        del self._running[reader.pipe]
        try:
            how = describe_exit(os.waitpid(reader.pid, 0)[1])
        except ChildProcessError:  # an application that ignores SIGCHLD gets no exit status
            how = "a status that is not known"
        if not reader.whole:
            text = f"the process that read it ended with {how}"
            reader.findings.append(Finding(reader.shard, reader.table, "", TO_ITS_END, text))
        reader.rows = reader.total
        self._done.append(reader)

    def _be_reader(self, shard: int, pipe: int) -> int:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        close_all_but({self._lock, pipe} - {-1})
        _quieten()
        return self._read_one(shard, pipe)

    def _read_one(self, shard: int, pipe: int) -> int:
        def tell(*message: Any) -> None:
            data = memoryview(frame(message))
            while data:
                data = data[os.write(pipe, data) :]

        last = ["store"]

        def step(table: str, rows: int, total: int) -> None:
            last[0] = table
            tell("at", table, rows, total)

        try:
            audit_shard(
                self._shards.place,
                shard,
                self._shards.homes,
                lambda finding: tell("finding", list(finding)),
                step,
                self._shards.routed_by,
            )
        except Exception as error:
            tell("finding", list(Finding(shard, last[0], "", TO_ITS_END, words(error))))
        tell("whole")
        return 0


def _quieten() -> None:
    """Make a crash of LMDB leave no core file and no output: the parent reports what happened."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
