"""Shards on three "machines" of this one: PostgreSQL, three nodes of Ray, orders, and a node that is killed.

Run it by ``make cluster-demo``. It needs Debian's postgresql; Ray is installed by that target. Where Ray is missing,
three members are started by hand instead. Everything is in a temporary folder, and gone at the end.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import spex_shards as spex

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
HEALTH = '{"health_check_period_ms":1000,"health_check_timeout_ms":1000,"health_check_failure_threshold":3}'
PARTITIONS = 6
ORDERS = 8


class Order(spex.Specification):
    """What is paid is shipped, and may come back."""

    name = "demo.Order"
    transitions = [
        ("new", "pay", "paid"),
        ("paid", "ship", "shipped"),
        ("shipped", "return", "paid"),
    ]


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """Run a private PostgreSQL server, and give its URL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = found[-1] if found else Path(shutil.which("initdb") or "/no/initdb")
    if not initdb.exists():
        sys.exit("the demo needs PostgreSQL: apt-get install postgresql")
    account: dict[str, Any] = {"cwd": "/"}
    if not os.getuid():  # the server refuses to run as root
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        account |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data = folder / "data"
    create = [initdb, "-D", data, "-U", "spex", "-A", "trust", "-E", "UTF8"]
    subprocess.run(create, check=True, stdout=subprocess.DEVNULL, **account)
    server = subprocess.Popen(
        [initdb.parent / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **account,
    )  # fmt: skip
    try:
        wait_for(lambda: (folder / ".s.PGSQL.5432").exists(), "PostgreSQL has started")
        yield f"postgresql:///postgres?host={folder}&user=spex"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


class Machines:
    """Three nodes of Ray, each with an address of its own, and the shards on them.

    Args:
        folder: Where Ray keeps its files.
        url: The store.
    """

    def __init__(self, folder: Path, url: str) -> None:
        with socket.create_server((HOSTS[0], 0)) as free:
            self.address = f"{HOSTS[0]}:{free.getsockname()[1]}"
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32), RAY_DISABLE_USAGE_STATS="1")
        self._url, self._folder = url, folder
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        port = self.address.rpartition(":")[2]
        head = ["--head", f"--port={port}", f"--temp-dir={folder}", f"--system-config={HEALTH}"]
        head.append("--include-dashboard=false")
        for host in HOSTS:
            self._start(host, head if host == HOSTS[0] else [f"--address={self.address}"])
        self._command("up", "--partitions", str(PARTITIONS), "--learn")

    def _start(self, host: str, options: list[str]) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--node-ip-address={host}"]
        log = self._folder / f"{host}.log"
        with log.open("wb") as file:
            self._nodes[host] = subprocess.Popen(
                [*command, "--num-cpus=1", "--object-store-memory=80000000", *options],
                stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
        wait_for(lambda: "Ray runtime started" in log.read_text(errors="replace"), f"the node {host} has started")

    def _command(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "spex_shards", "cluster", *arguments]
        subprocess.run([*command, "--store", self._url, "--address", self.address], check=True)

    def manager(self) -> spex.ClusterInstanceManager:
        """Return a manager of the cluster."""
        return spex.ClusterInstanceManager(store=self._url, address=self.address, call_timeout=90.0)

    def kill(self, host: str) -> None:
        """Kill a node: all of its processes at once."""
        kill_tree(self._nodes[host].pid)

    def stop(self) -> None:
        """End everything."""
        with suppress(subprocess.CalledProcessError):
            self._command("down")
        for node in self._nodes.values():
            kill_tree(node.pid)
            node.wait(30)


class ByHand:
    """Three members that are started by hand, where Ray is not installed; see `Machines`."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self._url = folder, url
        self._token = folder / "token"
        self._token.write_text(secrets.token_urlsafe(32))
        self._members: dict[str, subprocess.Popen[bytes]] = {}
        for number, host in enumerate(HOSTS):
            self._start(host, f"{2 * number}-{2 * number + 1}")

    def _start(self, host: str, shards: str) -> None:
        ready = self._folder / f"ready-{secrets.token_hex(4)}"
        self._members[host] = subprocess.Popen(
            [
                sys.executable, "-m", "spex_shards", "serve", "--store", self._url, "--shards", str(PARTITIONS),
                "--hosts", shards, "--listen", f"{host}:0", "--gate-token-file", self._token, "--learn",
                "--data-dir", self._folder / ready.name.replace("ready", "data"), "--ready-file", ready,
            ],
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        wait_for(ready.exists, f"the member at {host} has started")

    def manager(self) -> spex.ClusterInstanceManager:
        """Return a manager of the cluster."""
        return spex.ClusterInstanceManager(store=self._url, token_file=self._token, call_timeout=90.0)

    def kill(self, host: str) -> None:
        """Kill a member, and have another one run its shards."""
        kill_tree(self._members[host].pid)
        self._start(HOSTS[0], f"{2 * HOSTS.index(host)}-{2 * HOSTS.index(host) + 1}")

    def stop(self) -> None:
        """End everything."""
        for member in self._members.values():
            member.terminate()
            member.wait(30)


def kill_tree(pid: int) -> None:
    """Kill a process and all that descend from it."""
    pids, todo = [], [pid]
    while todo:
        pids.append(todo.pop())
        with suppress(OSError):
            todo += map(int, Path(f"/proc/{pids[-1]}/task/{pids[-1]}/children").read_text().split())
    for one in pids:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def wait_for(condition: Callable[[], Any], what: str) -> None:
    """Wait until a condition holds, for two minutes at most."""
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited in vain until {what}")
        time.sleep(0.05)


class Traffic:
    """Threads that pay, ship and return an order each, again and again."""

    def __init__(self, manager: spex.InstanceManager) -> None:
        self._manager = manager
        self._stop = threading.Event()
        self.acknowledged = [0] * ORDERS
        self.pause = [0.0] * ORDERS
        self.errors: list[BaseException] = []
        for number in range(ORDERS):
            manager.init_instance(Order, number)
            manager.transition(number, "pay", "paid")
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(ORDERS)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        step = 0
        try:
            while not self._stop.is_set():
                began = time.monotonic()
                self._manager.transition(number, *(("return", "paid") if step % 2 else ("ship", "shipped")))
                step += 1
                self.acknowledged[number] = step
                self.pause[number] = max(self.pause[number], time.monotonic() - began)
        except spex.SpexError as error:
            self.errors.append(error)

    def end(self) -> None:
        """Stop the threads."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


def main() -> int:
    """Run the demo; return 0 if nothing was lost and the orders conform."""
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spex-", dir="/tmp")))
        base.chmod(0o711)
        (base / "pg").mkdir()
        (base / "ray").mkdir()
        url = stack.enter_context(database(base / "pg"))
        has_ray = importlib.util.find_spec("ray") is not None
        print(f"PostgreSQL runs; starting three {'nodes of Ray' if has_ray else 'members (Ray is not installed)'} …")
        machines = Machines(base / "ray", url) if has_ray else ByHand(base, url)
        stack.callback(machines.stop)
        with machines.manager() as manager:
            traffic = Traffic(manager)
            wait_for(lambda: traffic.errors or min(traffic.acknowledged) >= 50, "each order has made 50 steps")
            print(f"{sum(traffic.acknowledged)} observations acknowledged; killing the machine {HOSTS[2]} …")
            machines.kill(HOSTS[2])
            wanted = [count + 50 for count in traffic.acknowledged]
            wait_for(
                lambda: traffic.errors or all(map(int.__ge__, traffic.acknowledged, wanted)),
                "each order has made 50 more steps",
            )
            traffic.end()
            stored = [len(manager.get_instance(number).history) - 2 for number in range(ORDERS)]
            model = next(one for one in manager.all_impl_models() if one.specification == Order.name)
            verdict = spex.check(model, Order)
        print(f"acknowledged: {sum(traffic.acknowledged)}, stored: {sum(stored)}, errors: {len(traffic.errors)}")
        print(f"longest pause of a call: {max(traffic.pause):.1f} s")
        print(f"verdict: {verdict.verdict.value}")
        fine = stored == traffic.acknowledged and not traffic.errors and verdict.equivalent
        print("nothing was lost, nothing was doubled" if fine else "something is wrong")
        return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
