"""The processes of the demo, and the loop that kills shards while they run."""

import multiprocessing
import os
import random
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any

from .client import run_all
from .endpoint import TIMEOUT, Observer, Tally
from .server import accept_all

CONTEXT = multiprocessing.get_context("fork")  # a forked child of a manager's owner attaches by itself
THREADS = 4


class Worker:
    """A forked process whose threads all do the same work, observed by the manager.

    Args:
        manager: The parent's manager, which the child uses as a client of its own.
        work: Called in each thread with the process's observer.
    """

    def __init__(self, manager: Any, work: Callable[[Observer], None]) -> None:
        self._results, results = CONTEXT.Pipe(duplex=False)
        self._process = CONTEXT.Process(target=_run, args=(manager, work, results), daemon=True)
        self._process.start()
        results.close()

    def result(self) -> Tally:
        """Wait for the end of the work; return the process's tally.

        Raises:
            RuntimeError: The work failed; the text has the traceback of the process.
        """
        if not self._results.poll(TIMEOUT):
            raise RuntimeError(f"process {self._process.pid} did not finish")
        tally: Tally
        try:
            tally, failures = self._results.recv()
        except EOFError:
            raise RuntimeError(f"process {self._process.pid} died") from None
        self._process.join()
        if failures:
            raise RuntimeError(f"process {self._process.pid} failed:\n{failures[0]}")
        return tally


def _run(manager: Any, work: Callable[[Observer], None], results: Connection) -> None:
    observer = Observer(manager)
    failures: list[str] = []

    def run() -> None:
        try:
            work(observer)
        except Exception:
            failures.append(traceback.format_exc())

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manager.flush()
    results.send((observer.tally, failures))


def start(manager: Any, servers: int, clients: int, stop: Event) -> tuple[socket.socket, list[Worker], list[Worker]]:
    """Start servers on one listening socket, and clients that go on until `stop` is set."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    address = listener.getsockname()

    def request_until_stopped(observer: Observer) -> None:
        while True:  # every kind of connection at least once
            run_all(observer, address)
            if stop.is_set():
                return

    serving = [Worker(manager, lambda observer: accept_all(observer, listener)) for _ in range(servers)]
    return listener, serving, [Worker(manager, request_until_stopped) for _ in range(clients)]


def kill_shards(manager: Any, kills: int, pause: float) -> list[int]:
    """Kill a random shard with SIGKILL, wait until it is back, and repeat; return the indices of the killed shards.

    Raises:
        RuntimeError: A shard does not come back.
    """
    killed = []
    for _ in range(kills):
        time.sleep(pause)
        victim = random.choice([shard for shard in manager.shards() if shard.pid is not None])
        os.kill(victim.pid, signal.SIGKILL)
        deadline = time.monotonic() + TIMEOUT
        while (shard := manager.shards()[victim.index]).restarts == victim.restarts or shard.status != "READY":
            if time.monotonic() > deadline:
                raise RuntimeError(f"shard {victim.index} did not come back: {shard}")
            time.sleep(0.01)
        killed.append(victim.index)
    return killed
