"""Opening every image with the real recovery, and looking at what is there."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spex_shards import records
from spex_shards.audit.shard import audit_shard
from spex_shards.boot import BootOptions, open_engine
from spex_shards.engine import EngineOptions, ModelSource

from .images import Image, images
from .trace import Trace, record
from .workload import State, operations

MODES = ("disk", "process", "unsynced LMDB")


@dataclass
class Table:
    """What was found in one mode."""

    images: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    events: int = 0
    recovered: set[int] = field(default_factory=set)
    """How many requests were there, over all images."""


def explore(mode: str, *, count: int, places: int) -> Table:
    """Trace a load, and open images of `places` instants."""
    states: list[State] = [{}, *(state for _, _, state in operations(count))]
    with tempfile.TemporaryDirectory() as folder:
        trace = record(Path(folder), mode, count)
        table = Table(events=len(trace.events))
        for instant, variant, image in images(trace, places):
            must = acknowledged(trace, instant, mode)
            word, there = look(Path(folder) / "image", image, states, must)
            table.images += 1
            table.recovered.add(there)
            if word:
                table.wrong[word.split(":")[0]] += 1
                table.examples.setdefault(word.split(":")[0], f"{variant}: {word}")
    return table


def acknowledged(trace: Trace, instant: float, mode: str) -> int:
    """Return up to which request everything must be there."""
    if mode == "unsynced LMDB":
        return 0  # nothing is promised but that it can be opened and is whole
    until = instant if mode == "disk" else instant - 1.0
    return max((upto for when, upto in trace.answers if when <= until), default=0)


def look(folder: Path, image: Image, states: list[State], must: int) -> tuple[str, int]:
    """Open an image in a process of its own; return what is wrong with it (or ""), and how many requests are there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in image.items():
        (folder / name).write_bytes(data)
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.write(theirs, _verdict(folder, states, must).encode()[:2000])
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        words = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    if status:
        return f"the process that opens it crashes: {os.waitstatus_to_exitcode(status)}", 0
    there, _, word = words.partition(" ")
    return word, int(there)


def _verdict(folder: Path, states: list[State], must: int) -> str:
    there = 0
    try:
        findings: list[Any] = []
        audit_shard(folder, 0, lambda _: frozenset({0}), findings.append, lambda *_: None)
        if findings:
            return f"0 verify finds something: {findings[0]}"
        options = BootOptions("process", EngineOptions())
        engine = open_engine(folder, ModelSource(learning_mode=True), options, time.time_ns() // 1000)
        clients = [records.unseal(row, "a client") for _, row in engine.batch.range("clients", b"")]
        there = clients[0][0] if clients else 0
        items = engine.page(None, None, 10**6)[0]
        state = {item[2][1]: [(action, target) for _, action, target in item[2][4]] for item in items}
        engine.close()
        if there < must:
            return f"{there} what was acknowledged is lost: {there} of {must}"
        if state != states[there]:
            return f"{there} it is no state that ever was: after {there} requests"
    except Exception as error:
        return f"{there} it cannot be opened: {type(error).__name__}: {error}"
    return f"{there} "
