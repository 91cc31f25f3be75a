"""Turns the output of strace into operations on files and folders, in order."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tests.support.places import ROOT

CALLS = (
    "openat,close,pwrite64,write,writev,pwritev,lseek,ftruncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,mkdir,"
    "rmdir,fsync,fdatasync,clone,clone3,fork,vfork"
)
_LINE = re.compile(r"^(\d+) +(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+|\?|0x[0-9a-f]+)(?: .*)?$", re.DOTALL)
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_IGNORED = ("lock.mdb",)
"""LMDB's lock file is made anew by whoever opens an environment that nobody has open."""


@dataclass(slots=True)
class Op:
    """One operation.

    `kind` is "create", "write", "truncate", "rename", "unlink", "mkdir", "rmdir", "sync" (of a file), "sync folder", or
    "told" (`data` is what the load wrote to its acknowledgements). `file` numbers files in the order of their creation.
    `since` is, for a sync, the position at which it began: it covers everything done before.
    """

    kind: str
    path: str = ""
    file: int = -1
    offset: int = 0
    data: bytes = b""
    target: str = ""
    durable: bool = False
    since: int = 0


@dataclass(slots=True)
class _Open:
    path: str
    file: int
    position: int = 0
    durable: bool = False


@dataclass(slots=True)
class Trace:
    """The operations of a run in `root`; `names` maps a file's number to the name that it was created with."""

    root: str
    ops: list[Op] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)


def record(root: Path, mode: str, count: int, output: Path) -> Trace:
    """Run the load in the folder `root` under strace, and return its operations."""
    told = output.with_suffix(".told")
    command = ["strace", "-f", "-e", f"trace={CALLS}", "-s", "20000000", "-xx", "-o", str(output)]
    load = [
        sys.executable,
        "-m",
        "tests.programs.crash_states.load",
        str(root / "shard-000"),
        mode,
        str(count),
        str(told),
    ]
    subprocess.run([*command, *load], check=True, timeout=600, cwd=ROOT)
    return _Reader(str(root), str(told)).read(output.read_text(encoding="latin-1"))


class _Reader:
    def __init__(self, root: str, told: str) -> None:
        self._trace = Trace(root)
        self._told = told
        self._tables: dict[int, dict[int, _Open]] = {}
        self._files: dict[str, int] = {}

    def read(self, text: str) -> Trace:
        """Read the whole output of strace."""
        begun: dict[int, int] = {}
        for ends, pid, call, arguments, result in _calls(text):
            if not ends:
                begun[pid] = len(self._trace.ops)
                continue
            starts = begun.pop(pid, len(self._trace.ops))
            table = self._tables.setdefault(pid, {})
            if call in ("clone", "clone3", "fork", "vfork"):
                shares = "CLONE_FILES" in arguments
                self._tables[result] = table if shares else dict(table)
            elif result >= 0 and (handler := getattr(self, f"_{call}", None)) is not None:
                handler(table, arguments, result, starts)
        return self._trace

    def _add(self, op: Op) -> None:
        self._trace.ops.append(op)

    def _inside(self, path: str) -> bool:
        return path.startswith(self._trace.root + "/") and PurePosixPath(path).name not in _IGNORED

    def _openat(self, table: dict[int, _Open], arguments: str, result: int, _starts: int) -> None:
        name = _path(table, arguments, _strings(arguments)[0])
        file = -1
        if "O_DIRECTORY" not in arguments and self._inside(name):
            if name not in self._files and "O_CREAT" in arguments:
                self._files[name] = len(self._trace.names)
                self._trace.names[self._files[name]] = name
                self._add(Op("create", name, self._files[name]))
            file = self._files.get(name, -1)
            if "O_TRUNC" in arguments and file >= 0:
                self._add(Op("truncate", name, file, offset=0))
        table[result] = _Open(name, file, durable="O_DSYNC" in arguments or "O_SYNC" in arguments)

    def _close(self, table: dict[int, _Open], arguments: str, _result: int, _starts: int) -> None:
        table.pop(_descriptor(arguments), None)  # what comes under that number next may be a pipe

    def _write(self, table: dict[int, _Open], arguments: str, result: int, _starts: int) -> None:
        opened = table.get(_descriptor(arguments))
        if opened is None:
            return
        data = b"".join(_strings(arguments))[:result]
        if opened.path == self._told:
            self._add(Op("told", data=data))
        elif opened.file >= 0:
            self._add(Op("write", opened.path, opened.file, opened.position, data, durable=opened.durable))
            opened.position += result

    _writev = _write

    def _pwrite64(self, table: dict[int, _Open], arguments: str, result: int, _starts: int) -> None:
        opened = table.get(_descriptor(arguments))
        if opened is not None and opened.file >= 0:
            offset, data = int(arguments.rpartition(", ")[2]), b"".join(_strings(arguments))[:result]
            self._add(Op("write", opened.path, opened.file, offset, data, durable=opened.durable))

    _pwritev = _pwrite64

    def _lseek(self, table: dict[int, _Open], arguments: str, result: int, _starts: int) -> None:
        if _descriptor(arguments) in table:
            table[_descriptor(arguments)].position = result

    def _ftruncate(self, table: dict[int, _Open], arguments: str, _result: int, _starts: int) -> None:
        opened = table.get(_descriptor(arguments))
        if opened is not None and opened.file >= 0:
            self._add(Op("truncate", opened.path, opened.file, offset=int(arguments.rpartition(", ")[2])))

    def _fallocate(self, table: dict[int, _Open], arguments: str, _result: int, _starts: int) -> None:
        opened = table.get(_descriptor(arguments))
        if opened is not None and opened.file >= 0:
            raise NotImplementedError("fallocate: nothing here does that")

    def _fsync(self, table: dict[int, _Open], arguments: str, _result: int, starts: int) -> None:
        opened = table.get(_descriptor(arguments))
        if opened is None:
            return
        if opened.file >= 0:
            self._add(Op("sync", opened.path, opened.file, since=starts))
        elif opened.path.startswith(self._trace.root):
            self._add(Op("sync folder", opened.path, since=starts))

    _fdatasync = _fsync

    def _rename(self, table: dict[int, _Open], arguments: str, _result: int, _starts: int) -> None:
        source, target = (_path(table, arguments, name) for name in _strings(arguments))  # in one folder
        if self._inside(target):
            self._files[target] = self._files.pop(source)
            self._add(Op("rename", source, self._files[target], target=target))

    _renameat = _renameat2 = _rename

    def _unlink(self, table: dict[int, _Open], arguments: str, _result: int, _starts: int) -> None:
        name = _path(table, arguments, _strings(arguments)[0])
        if self._inside(name):
            folder = "AT_REMOVEDIR" in arguments
            self._add(Op("rmdir" if folder else "unlink", name, -1 if folder else self._files.pop(name)))

    _unlinkat = _unlink

    def _mkdir(self, _table: dict[int, _Open], arguments: str, _result: int, _starts: int) -> None:
        name = _strings(arguments)[0].decode()
        if self._inside(name):
            self._add(Op("mkdir", name))

    def _rmdir(self, _table: dict[int, _Open], arguments: str, _result: int, _starts: int) -> None:
        name = _strings(arguments)[0].decode()
        if self._inside(name):
            self._add(Op("rmdir", name))


def _path(table: dict[int, _Open], arguments: str, name: bytes) -> str:
    """Return a name as a path, if it lies in the folder whose descriptor is the first argument."""
    folder = table.get(_descriptor(arguments))
    return name.decode() if folder is None or name.startswith(b"/") else f"{folder.path}/{name.decode()}"


def _descriptor(arguments: str) -> int:
    head = arguments.partition(",")[0]
    return int(head) if head.lstrip("-").isdigit() else -100


def _strings(arguments: str) -> list[bytes]:
    return [bytes.fromhex(found.replace("\\x", "")) for found in _STRING.findall(arguments)]


def _calls(text: str) -> list[tuple[bool, int, str, str, int]]:
    """Return the system calls as (whether it ended, process, name, arguments, result).

    A call during which another process ran appears twice: where it began, and where it ended. A write counts at its
    beginning, because other processes may see it from there on. A new process counts at the beginning of its call too,
    because it may run before the call returns.
    """
    found: list[tuple[bool, int, str, str, int]] = []
    unfinished: dict[int, tuple[int, str]] = {}
    for line in text.splitlines():
        matched = _LINE.match(line)
        if matched is None:
            continue
        pid, words = int(matched[1]), matched[2]
        if words.endswith("<unfinished ...>"):
            unfinished[pid] = len(found), words.removesuffix("<unfinished ...>").rstrip()
            found.append((False, pid, "", "", 0))
            continue
        place = -1
        if words.startswith("<... "):
            if pid not in unfinished:
                continue
            place, head = unfinished.pop(pid)
            words = head + words.partition("resumed>")[2].lstrip()
        call = _CALL.match(words)
        if call is None or call[3] == "?":
            continue
        ended = (True, pid, call[1], call[2], int(call[3], 0))
        if place >= 0 and call[1] not in ("fsync", "fdatasync"):
            found[place] = ended
        else:
            found.append(ended)
    return found
