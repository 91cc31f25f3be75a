"""Measure how long calls wait when Ray moves or replaces shards: ``python -m benchmarks.failover [ROUNDS]``.

It needs Debian's postgresql, psycopg and Ray. A head and nodes of Ray run on this machine, at addresses of their own,
with the settings that docs/cluster.md gives. A writer for each shard makes blocking transitions; the longest wait of
any of them is what an event costs. The medians of the rounds are printed, and written to ``build/failover.json``.

* a shard is moved to another node; a node is drained; the actor of a shard is killed; a node is killed; a node hangs
* the memory of an idle partition: its actor, its supervisor and its worker, as resident (RSS), as a share of what is
  shared with other processes (PSS), and what is its own (USS)
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import spex_shards as spex
from tests.support.postgres import server
from tests.support.processes import descendants, wait_until
from tests.support.ray_nodes import RayNodes, command

from .postgres import Loop

PARTITIONS: Final = 4
NODES: Final = 3
"""Besides the head: so each has a shard at first."""
WITHIN: Final = 120.0
OUTPUT: Final = Path("build/failover.json")


class Measured:
    """A cluster whose waits are measured.

    Args:
        nodes: Ray's nodes.
        url: The namespace.
    """

    def __init__(self, nodes: RayNodes, url: str) -> None:
        self._nodes, self._url = nodes, url
        self._stop = threading.Event()
        self._longest = [0.0] * PARTITIONS
        self._since = [0.0] * PARTITIONS
        self._count = [0] * PARTITIONS

    def do(self, *words: str) -> Any:
        """Run a command of the cluster; "status" ends with 1 while a shard is not ready."""
        done = command(self._nodes, self._url, *words, "--format", "json")
        if done.returncode and not (words[0] == "status" and done.returncode == 1):
            raise SystemExit(done.stderr + done.stdout)
        return json.loads(done.stdout)

    def placed(self) -> dict[str, list[int]]:
        """Return the shards of each node that lives."""
        return {node["host"]: node["shards"] for node in self.do("status")["nodes"] if node["alive"]}

    def write(self, manager: spex.InstanceManager, name: int, index: int) -> None:
        """Write to one shard until the end."""
        while not self._stop.is_set():
            self._since[index] = at = time.perf_counter()
            manager.transition(name, "go", "on")
            self._longest[index] = max(self._longest[index], time.perf_counter() - at)
            self._count[index] += 1

    def run(
        self, events: list[tuple[str, Callable[[], Callable[[], object]]]], note: Callable[[str, float], None]
    ) -> None:
        """Make each event under writers, and note the longest wait."""
        with spex.ClusterInstanceManager(
            store=self._url, address=self._nodes.address, ping=0.5, call_timeout=WITHIN
        ) as manager:
            names = _one_of_each_shard(manager)
            writers = [
                threading.Thread(target=self.write, args=(manager, name, index), daemon=True)
                for index, name in enumerate(names)
            ]
            for writer in writers:
                writer.start()
            for what, prepared in events:
                happens = prepared()
                self._longest = [0.0] * PARTITIONS
                happens()
                time.sleep(2)
                self._settle()
                note(what, max(self._longest))
                print(f"{what}: {max(self._longest):.2f} s, load {os.getloadavg()[0]:.1f}", flush=True)
            self._stop.set()
            for writer in writers:
                writer.join(WITHIN)

    def _settle(self) -> None:
        before = list(self._count)
        wait_until(
            lambda: all(now > was + 20 for now, was in zip(self._count, before, strict=True)), "all go on", WITHIN
        )

    def victim(self) -> str:
        """Return a node with a shard, which is not the head, once all shards are ready."""
        wait_until(lambda: sum(map(len, self.placed().values())) == PARTITIONS, "all shards are ready", WITHIN)
        return wait_until(
            lambda: next(
                (host for host, shards in self.placed().items() if shards and host in self._nodes.hosts), None
            ),
            "a node has a shard",
            WITHIN,
        )


def _one_of_each_shard(manager: spex.InstanceManager) -> list[int]:
    """Return the name of an instance on each shard."""
    found: dict[int, int] = {}
    for name in range(1000):
        manager.init_instance(Loop, name)
        manager.transition(name, "go", "on")
        asked = [report["requests"].get("init", 0) for report in manager.stats()]
        for shard, count in enumerate(asked):
            if count and shard not in found:
                found[shard] = name
        if len(found) == PARTITIONS:
            return [found[shard] for shard in range(PARTITIONS)]
    raise SystemExit("the shards could not be told apart")


def actor_on(nodes: RayNodes, host: str) -> int:
    """Return the process of an actor that runs a shard on a node."""
    for pid in nodes.pids(host):
        with suppress(OSError):
            if b"Partition" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    raise SystemExit(f"there is no actor on {host}")


def memory(nodes: RayNodes) -> dict[str, float]:
    """Return the memory of an idle partition in MiB: the mean over the nodes."""
    totals: Counter[str] = Counter()
    for host in nodes.hosts:
        actor = actor_on(nodes, host)
        for pid in {actor, *descendants(actor)}:
            kind = "actor" if pid == actor else "supervisor and worker"
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name in ("Rss", "Pss", "Private_Clean", "Private_Dirty"):
                    shown = "USS" if name.startswith("Private") else name.upper()
                    totals[f"{shown} of the {kind}"] += int(rest.split()[0]) / 1024
    return {name: total / len(nodes.hosts) for name, total in totals.items()}


def one_round(nodes: RayNodes, url: str, note: Callable[[str, float], None]) -> None:
    """Start the shards in a new namespace, and make all events."""
    nodes.fill(NODES)
    measured = Measured(nodes, url)
    measured.do("up", "--partitions", str(PARTITIONS), "--learn")
    first, second, _ = nodes.hosts[:NODES]
    wait_until(lambda: all(measured.placed().values()), "each node has a shard", WITHIN)
    time.sleep(3)
    for name, value in memory(nodes).items():
        note(f"{name}, MiB", value)
    shard = str(measured.placed()[first][0])

    hung: list[str] = []

    def hang(node: str) -> None:
        hung.append(node)
        nodes.give_up(node)
        nodes.signal(node, signal.SIGSTOP)

    # Each chooses the node first, and returns what is measured.
    events: list[tuple[str, Callable[[], Callable[[], object]]]] = [
        ("moved", lambda: lambda: measured.do("move", second, "--shard", shard)),
        ("drained", lambda: lambda: measured.do("drain", second)),
        ("actor killed", lambda: partial(os.kill, actor_on(nodes, measured.victim()), signal.SIGKILL)),
        ("node killed", lambda: partial(nodes.kill, measured.victim())),
        ("node hangs", lambda: partial(hang, measured.victim())),
    ]
    measured.run(events, note)
    measured.do("down")
    nodes.signal(hung[0], signal.SIGKILL)


def main() -> None:
    """Print the medians."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    found: dict[str, list[float]] = {}

    def note(what: str, value: float) -> None:
        found.setdefault(what, []).append(value)

    with server("fsync=on", "shared_buffers=128MB") as database:
        nodes = RayNodes()
        os.environ.update(nodes.environment)
        try:
            for number in range(rounds):
                one_round(nodes, f"{database.url}&namespace=f{number}", note)
        finally:
            nodes.stop()
    for what, values in found.items():
        print(f"{what:32} {statistics.median(values):8.2f}   {', '.join(f'{value:.2f}' for value in values)}")
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
