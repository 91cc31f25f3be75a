"""An owner of shards: ``spex-shards serve`` in a process of its own, which may be broken on purpose.

``python -m tests.programs.histories.serving BREAKAGE ARGUMENT …`` is the command line ``spex-shards ARGUMENT …`` with
one of `breakages`; ``-`` stands for none.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.support.places import ROOT
from tests.support.processes import descendants, is_gone, wait_until
from tests.support.serving import supervisor_of

from .breakages import host_of
from .clock import Clock

HANG_TIMEOUT = 1.5
REFUSED = re.compile(r"claimed the shard|another manager has taken the namespace over")
LACKS = re.compile(r"shard (\d+) in PostgreSQL: (?:the store has \d+ batches, where|the server has lost this owner's)")
TIMED_OUT = re.compile(r"instance '([^']*)' of histories\.Timed has been in state")


class Owner:
    """A process that serves the shards of a namespace.

    Args:
        folder: The folder for its data directory, its log, and a file that is there while it is ready.
        store: The URL of the namespace.
        shards: The number of shards.
        breakage: How it is broken; empty: it is not.
        more: Further arguments of the command.

    Attributes:
        data_dir: Its data directory.
        clock: The clock of its machine.
    """

    def __init__(self, folder: Path, store: str, shards: int, breakage: str = "", more: Sequence[object] = ()) -> None:
        folder.mkdir()
        self.clock = Clock(folder)
        self.data_dir = folder / "data"
        self._log, self._ready = folder / "log", folder / "ready"
        arguments: list[object] = [
            "serve", "--data-dir", self.data_dir, "--models-dir", folder / "models", "--shards", shards,
            "--store", store, "--durability", "disk", "--ready-file", self._ready,
            *more,
        ]  # fmt: skip
        self._command = [sys.executable, "-m", __name__, breakage or "-", *map(str, arguments)]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self._ready.unlink(missing_ok=True)
        environment = {
            **os.environ, "SPEX_SHARDS_MAX_RESTARTS": "1000000", "SPEX_SHARDS_HANG_TIMEOUT": str(HANG_TIMEOUT),
            "PYTHONPATH": str(ROOT), **self.clock.environment,
        }  # fmt: skip
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stderr=log, stdout=log, env=environment, cwd=ROOT)
        wait_until(self._is_ready, lambda: f"the owner is ready: {self.log()[-3000:]}")

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()[-3000:]
        return self._ready.exists()

    def log(self) -> str:
        """Return all that it has logged."""
        return self._log.read_text(errors="replace")

    def supervisor(self) -> int:
        """Return the supervisor's process id; 0: there is none."""
        return supervisor_of(self.data_dir)

    def workers(self) -> list[int]:
        """Return the process ids of the workers that run."""
        with suppress(OSError, ValueError):
            holder = json.loads((self.data_dir / "lock").read_text())
            return [pid for pid, _ in holder.get("workers", []) if not is_gone(pid)]
        return []

    def tree(self) -> set[int]:
        """Return the process ids of the owner and of all processes below it."""
        assert self.process is not None
        return {self.process.pid, *descendants(self.process.pid)}

    def kill(self) -> None:
        """Kill the owner and all processes below it, also if they are stopped."""
        if self.process is None:
            return
        everybody = self.tree()
        for pid in everybody:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        wait_until(lambda: all(map(is_gone, everybody)), "the owner's processes are gone")


def main(breakage: str, *arguments: str) -> None:
    """Run the command line."""
    from spex_shards.cli import main as command
    from spex_shards.manager import clustered, sharded

    if breakage != "-":
        sharded.HOST = clustered.HOST = host_of(breakage)  # type: ignore[misc]
    sys.argv[1:] = arguments
    command()


if __name__ == "__main__":
    main(*sys.argv[1:])
