"""A Ray cluster on this machine: a head, and further nodes with addresses of their own, 127.0.0.2 and so on."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from .processes import descendants, wait_until

_HEALTH: Final = (
    '{"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000, "health_check_timeout_ms": 1000,'
    ' "health_check_failure_threshold": 3}'
)
_MEMORY: Final = "80000000"
_HEAD: Final = "127.0.0.1"


def missing() -> str | None:
    """Return why tests that need Ray cannot run here, or None."""
    return None if importlib.util.find_spec("ray") else "needs Ray: pip install spex-shards[cluster]"


_TOKEN: Final = secrets.token_hex(32)
"""Of all clusters: Ray remembers in a process the first one that it is given."""


class RayNodes:
    """A cluster; `stop` ends all of it. Addresses of nodes are used once, but for the head's.

    Args:
        redis: The address of the Redis server in which the head keeps what it knows; None: it keeps it in its memory.

    Attributes:
        address: The head's address.
        environment: Variables that processes need which connect with it.
    """

    def __init__(self, redis: str | None = None) -> None:
        # Ray's sockets are in this folder, and the path of a socket must be short.
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.environment = {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _TOKEN, "RAY_DISABLE_USAGE_STATS": "1",
            "RAY_raylet_start_wait_time_s": "120",
        }  # fmt: skip
        self._redis = {} if redis is None else {"RAY_REDIS_ADDRESS": redis}
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        self._gone: set[str] = set()
        self.start_head()

    @property
    def hosts(self) -> list[str]:
        """The addresses of the nodes that run, without the head."""
        return [host for host in list(self._nodes)[1:] if host not in self._gone]

    def start_head(self) -> None:
        """Start the head, also again after it was killed."""
        port = self.address.rpartition(":")[2]
        if _HEAD in self._nodes:
            self._nodes[_HEAD].wait(10)
        # Ray takes the other nodes' processes, which are on the same machine here, for a head that runs already.
        (self._folder / "ray_current_cluster").unlink(missing_ok=True)
        self._start(
            _HEAD, "--head", f"--port={port}", f"--temp-dir={self._folder}", f"--system-config={_HEALTH}",
            "--include-dashboard=false",
        )  # fmt: skip

    def fill(self, count: int) -> None:
        """Start nodes until that many run besides the head; each is there when this returns."""
        wait_until(lambda: "Ray runtime started" in self.output(_HEAD), lambda: self.output(_HEAD), 120.0)
        while len(self.hosts) < count:
            host = f"127.0.0.{len(self._nodes) + 1}"
            self._start(host, f"--address={self.address}")
            wait_until(lambda: "Ray runtime started" in self.output(host), lambda: self.output(host), 120.0)  # noqa: B023

    def kill(self, host: str) -> None:
        """Kill all processes of a node."""
        self._gone.add(host)
        self.signal(host, signal.SIGKILL)

    def give_up(self, host: str) -> None:
        """Do not count a node any more: Ray has taken it for dead."""
        self._gone.add(host)

    def _start(self, host: str, *options: str) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--node-ip-address={host}", "--num-cpus=1"]
        with (self._folder / f"{host}.log").open("wb") as log:
            # In the foreground (--block), in a process group of its own: so that all of the node can be signalled.
            self._nodes[host] = subprocess.Popen(
                [*command, f"--object-store-memory={_MEMORY}", "--block", *options], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True,
                env={**os.environ, **self.environment, **(self._redis if host == _HEAD else {})},
            )  # fmt: skip

    def output(self, host: str) -> str:
        """Return what a node has printed."""
        return (self._folder / f"{host}.log").read_text(errors="replace")

    def pids(self, host: str) -> set[int]:
        """Return all processes of a node, with those of the shards that it runs."""
        return {self._nodes[host].pid, *descendants(self._nodes[host].pid)}

    def signal(self, host: str, number: int) -> None:
        """Send a signal to all processes of a node."""
        for pid in self.pids(host):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """Kill all nodes."""
        for host in [*self._nodes][::-1]:
            pids = self.pids(host)
            for number in (signal.SIGCONT, signal.SIGTERM):
                with suppress(ProcessLookupError):
                    os.kill(self._nodes[host].pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._nodes[host].wait(10)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._nodes[host].wait(10)
        shutil.rmtree(self._folder, ignore_errors=True)


def command(nodes: RayNodes, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``spex-shards cluster`` with arguments, and return what it did."""
    return subprocess.run(
        [sys.executable, "-m", "spex_shards", "cluster", *arguments, "--store", url, "--address", nodes.address],
        capture_output=True, text=True, check=False, timeout=200, env={**os.environ, **nodes.environment},
    )  # fmt: skip
