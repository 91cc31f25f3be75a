"""Killing a change of a data directory: at each of its steps, or at any instant of the real command."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from spex_shards.audit import verify
from spex_shards.runtime.data_dir import COPYING, DELETING, DataDir
from spex_shards.runtime.store.lmdb_store import LmdbStore
from spex_shards.runtime.store.redo_log import RedoLog
from tests.support.places import ROOT

HELD = b"<held>"
_COMMAND = f"""
import sys
from spex_shards.runtime.data_dir import DataDir, OwnerLock

def held(function):
    def call(*arguments, **named):
        function(*arguments, **named)
        sys.__stdout__.write({HELD.decode()!r})
        sys.__stdout__.flush()
        sys.stdin.readline()
    return call

OwnerLock.acquire = held(OwnerLock.acquire)
DataDir.write_layout = held(DataDir.write_layout)
from spex_shards.cli import main
main()
"""
"""The command line, but that it waits to be told to go on where it owns the directory, and at each change of layout."""


def killed_at(step: int, work: Callable[[], Any]) -> bool:
    """Do work in a child that is killed at a write, rename or unlink; return whether it had ended before."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        assert status in (0, signal.SIGKILL), status
        return status == 0
    code = 1
    try:
        left = [step]

        def counted(call: Callable[..., Any], after: bool) -> Callable[..., Any]:
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                result = call(*args, **kwargs) if after else None
                left[0] -= 1
                if left[0] <= 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result if after else call(*args, **kwargs)

            return wrapped

        for cls, name in (
            (RedoLog, "append"),
            (LmdbStore, "_commit"),
            (DataDir, "write_layout"),
            (LmdbStore, "_record"),
        ):
            setattr(cls, name, counted(getattr(cls, name), after=False))
        Path.replace = counted(Path.replace, after=True)
        os.unlink = counted(os.unlink, after=True)  # what rmtree does, one file at a time
        work()
        code = 0
    finally:
        os._exit(code)


def command_killed(arguments: list[object], *, at: int = 0, within: Random | None = None, longest: float = 0) -> bool:
    """Run the command line and kill it; return whether it had ended before, as it should.

    It is held where it owns the directory, and behind each change of the layout record, so that a kill there is sure
    whatever the speed of the machine.

    Args:
        arguments: Its arguments.
        at: Kill it where it is held for this time (1: it owns the directory); 0: nowhere.
        within: Kill it at a random instant behind any of these places, too.
        longest: The latest of these instants, in seconds.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, *map(str, arguments)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    said, times, wait = b"", 0, 60.0
    with process:
        try:
            while select.select([process.stdout], [], [], wait)[0]:
                data = os.read(process.stdout.fileno(), 65536)
                said += data
                if not data:
                    break
                if said.count(HELD) > times:
                    times += 1
                    if times == at:
                        break
                    wait = 60.0 if within is None else within.uniform(0, longest)
                    process.stdin.write(b"\n")
                    process.stdin.flush()
        finally:
            process.kill()  # nothing is done to one that has ended and was reaped
            code = process.wait(60)
    assert code in (0, -signal.SIGKILL), said.decode()
    return code == 0


def kill_the_command(path: Path, arguments: list[object], random: Random) -> None:
    """Kill a `reshard` in each state of the layout record, and at random instants between them, until it ends.

    The directory is verified after each kill.
    """

    def step() -> str | None:
        assert verify(path) == []
        layout = DataDir(path).read_layout()
        assert layout is not None
        return layout.step

    assert not command_killed(arguments, at=1)  # it owns the directory
    assert step() is None
    assert not command_killed(arguments, at=2)  # nothing is copied yet
    assert step() == COPYING
    longest = 0.02
    while step() == COPYING:
        assert not command_killed(arguments, at=2, within=random, longest=longest)  # at the latest when all is copied
        longest *= 2
    assert step() == DELETING
    longest = 0.02
    while not command_killed(arguments, within=random, longest=longest):
        longest *= 2
        step()
    assert step() is None
