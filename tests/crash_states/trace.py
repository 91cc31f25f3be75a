"""What a traced worker did to its folder, and when it answered what."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from spex_shards.wire import FrameReader

ROOT = Path(__file__).resolve().parents[2]
_CALLS = (
    "openat,pwrite64,pwritev,write,writev,lseek,ftruncate,rename,renameat,renameat2,unlink,unlinkat,fsync,fdatasync"
)
_LINE = re.compile(r"^(\d+\.\d+) (\w+)\((.*)\)\s+= (-?\d+)(?:<(.*?)>)? *(?:\(.*\) )?<(\d+\.\d+)>$")
_PLACE = re.compile(r"^(\d+)<((?:[^>\\]|\\.)*)>")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass
class Event:
    """One thing done in the folder: "write", "truncate", "create", "rename", "remove", "sync" or "sync folder"."""

    kind: str
    name: str
    start: float
    end: float
    offset: int = 0
    data: bytes = b""
    other: str = ""
    at_once: bool = False
    """Whether a write is on the disk when it returns."""


@dataclass
class Trace:
    """All events in order, and the answers: when, and up to which request."""

    events: list[Event]
    answers: list[tuple[float, int]]


def record(folder: Path, mode: str, count: int) -> Trace:
    """Run the workload under strace in an empty folder."""
    shard = folder / "shard"
    output = folder / "trace"
    ran = subprocess.run(
        ["strace", "-ff", "-ttt", "-T", "-y", "-xx", "-s", "1000000", "-e", f"trace={_CALLS}", "-e", "signal=none",
         "-o", str(output), sys.executable, "-m", "tests.crash_states.workload", str(shard), mode, str(count)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    return read(sorted(folder.glob("trace.*")), shard, json.loads(ran.stdout)["replies"])


def read(files: list[Path], folder: Path, replies: int) -> Trace:
    """Read the traces of all processes."""
    reader = _Reader(folder, f"pipe:[{replies}]")
    lines = []
    for file in files:
        with file.open() as text:
            lines += [(float(line.split(" ", 1)[0]), file.suffix, line) for line in text if line[:1].isdigit()]
    for _, process, line in sorted(lines):
        matched = _LINE.match(line.rstrip("\n"))
        if matched is not None:
            reader.take(process, *matched.groups())
    return Trace(reader.events, reader.answers)


class _Reader:
    def __init__(self, folder: Path, replies: str) -> None:
        self.events: list[Event] = []
        self.answers: list[tuple[float, int]] = []
        self._folder = str(folder)
        self._replies = replies
        self._frames = FrameReader(1 << 30)
        self._at_once: set[tuple[str, str]] = set()
        self._position: dict[tuple[str, str], int] = {}
        self._known: set[str] = set()

    def take(
        self, process: str, start: str, call: str, arguments: str, result: str, opened: str | None, took: str
    ) -> None:
        """Take one call."""
        if int(result) < 0:
            return
        begun, ended = float(start), float(start) + float(took)
        if call == "openat":
            self._open(process, begun, arguments, result, opened or "")
        elif call.startswith(("rename", "unlink")):
            self._entry(call, arguments, begun, ended)
        else:
            self._file(process, call, arguments, begun, ended, int(result))

    def _open(self, process: str, begun: float, arguments: str, result: str, opened: str) -> None:
        path = _decoded(opened)
        name = self._name(path)
        if name:
            descriptor = (process, result)
            (self._at_once.add if "O_DSYNC" in arguments else self._at_once.discard)(descriptor)
            self._position[descriptor] = 0
            if name not in self._known and "O_CREAT" in arguments:
                self._known.add(name)
                self.events.append(Event("create", name, begun, begun))
            elif "O_TRUNC" in arguments:
                self.events.append(Event("truncate", name, begun, begun))

    def _entry(self, call: str, arguments: str, begun: float, ended: float) -> None:
        names = [self._name(_bytes(text).decode()) for text in _TEXT.findall(arguments)]
        if not names or not names[0]:
            return
        if call.startswith("rename"):
            self._known.discard(names[0])
            self._known.add(names[1])
            self.events.append(Event("rename", names[0], begun, ended, other=names[1]))
        else:
            self._known.discard(names[0])
            self.events.append(Event("remove", names[0], begun, ended))

    def _file(self, process: str, call: str, arguments: str, begun: float, ended: float, result: int) -> None:
        matched = _PLACE.match(arguments)
        if matched is None:
            return
        descriptor, path = (process, matched[1]), _decoded(matched[2])
        name = self._name(path)
        if call == "write" and path == self._replies:
            data = b"".join(map(_bytes, _TEXT.findall(arguments)))[:result]
            self.answers += [(ended, reply[0]) for reply in self._frames.feed(data)]
        elif call in ("fsync", "fdatasync") and path == self._folder:
            self.events.append(Event("sync folder", "", begun, ended))
        elif not name:
            return
        elif call in ("fsync", "fdatasync"):
            self.events.append(Event("sync", name, begun, ended))
        elif call == "lseek":
            self._position[descriptor] = result
        elif call == "ftruncate":
            self.events.append(Event("truncate", name, begun, ended, offset=int(arguments.rsplit(", ", 1)[1])))
        else:
            self._write(descriptor, call, arguments, name, (begun, ended), result)

    def _write(
        self, descriptor: tuple[str, str], call: str, arguments: str, name: str, times: tuple[float, float], size: int
    ) -> None:
        data = b"".join(map(_bytes, _TEXT.findall(arguments)))[:size]
        if call in ("pwrite64", "pwritev"):
            offset = int(arguments.rsplit(", ", 1)[1])
        else:
            offset = self._position.get(descriptor, 0)
            self._position[descriptor] = offset + size
        event = Event("write", name, *times, offset=offset, data=data, at_once=descriptor in self._at_once)
        self.events.append(event)

    def _name(self, path: str) -> str:
        inside = path.startswith(self._folder + "/") and not path.endswith("/lock.mdb")
        return path.removeprefix(self._folder + "/").removesuffix(" (deleted)") if inside else ""


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _decoded(path: str) -> str:
    return _bytes(path).decode() if path.startswith("\\x") else path
