"""Count and name the functions that one blocking transition passes: ``python -m benchmarks.way``.

On the client's side these are the functions of the calling thread; on the worker's side those of one turn of its loop.
Each function counts once.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import spex_shards as spex
from spex_shards.engine import ModelSource
from spex_shards.engine.hosting import SpexHost
from spex_shards.messages import operations as ops
from spex_shards.messages.host_options import SpexOptions
from spex_shards.messages.specifications import describe
from spex_shards.runtime.data_dir import DataDir
from spex_shards.runtime.protocol.codec import canonical
from spex_shards.runtime.protocol.requests import DECLARE
from spex_shards.runtime.protocol.session import ClientSession, frame
from spex_shards.runtime.service import NOBODY
from spex_shards.runtime.shard import open_shard
from spex_shards.runtime.store.opening import LocalStores
from spex_shards.runtime.store.port import StoreOptions
from spex_shards.runtime.system.stream import Descriptor
from spex_shards.runtime.worker import WorkerOptions, loop
from spex_shards.runtime.worker.control import SocketControl
from spex_shards.runtime.worker.logs import LogCapture

PACKAGE = str(Path(spex.__file__).parent)


class Light(spex.Specification):
    """A traffic light."""

    name = "benchmarks.WayLight"
    transitions = [("red", "go", "green"), ("green", "stop", "red")]


def passed(work: Callable[[], Any]) -> list[str]:
    """Return the package's functions that `work` calls on this thread, in the order of their first call."""
    found: dict[str, None] = {}

    def profile(at: FrameType, event: str, _: Any) -> None:
        file = at.f_code.co_filename
        if event == "call" and file.startswith(PACKAGE):
            module = file[len(PACKAGE) + 1 : -3].replace("/", ".")
            found.setdefault(f"{module}:{at.f_code.co_qualname}")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return list(found)


def client_side(folder: Path) -> list[str]:
    """Return the functions that a transition passes in the application."""
    places = {"data_dir": folder / "data", "impl_models_dir": folder / "models"}
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True) as manager:
        manager.init_instance(Light, 1)
        for _ in range(10):
            manager.transition(1, "go", "green")
            manager.transition(1, "stop", "red")
        return passed(lambda: manager.transition(1, "go", "green"))


def worker_side(folder: Path) -> list[str]:
    """Return the functions that the same transition passes in a worker, which runs in this process."""
    host = SpexHost(ModelSource(learning_mode=True), SpexOptions(folder, True, None, 0))
    directory = DataDir(folder / "data")
    directory.make()
    shard = open_shard(LocalStores(directory), 0, host, StoreOptions("process"), NOBODY, time.time_ns() // 1000)
    _, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    capture = LogCapture(logging.WARNING)
    worker = loop.Worker(shard, SocketControl(control), WorkerOptions(0, 1 << 20, logging.WARNING), capture)
    requests, replies, events = (os.pipe2(os.O_NONBLOCK) for _ in range(3))
    streams = [Descriptor(requests[0]), Descriptor(replies[1]), Descriptor(events[1])]
    worker.clients.attach(b"c" * 16, os.getpid(), True, streams)
    key, session = canonical(1), ClientSession()
    os.write(requests[1], session.hello(1) + frame((0, 0, DECLARE.code, 0, describe(Light)[0].plain(), None)))
    os.write(requests[1], frame((1, 0, ops.INIT.code, 7, Light.name, key, None, None)))
    worker.turn()
    for number in range(2, 22):
        step = ("go", "green") if number % 2 == 0 else ("stop", "red")
        os.write(requests[1], frame((number, number - 1, ops.TRANSITION.code, 7, key, *step)))
        worker.turn()
    os.write(requests[1], frame((22, 21, ops.TRANSITION.code, 7, key, "go", "green")))
    return passed(worker.turn)


def main() -> None:
    """Print the functions of both sides, and their number."""
    with tempfile.TemporaryDirectory() as name:
        for side, way in (("client", client_side), ("worker", worker_side)):
            folder = Path(name) / side
            folder.mkdir(mode=0o700)
            functions = way(folder)
            modules = {function.split(":")[0] for function in functions}
            print(f"{side}: {len(functions)} functions in {len(modules)} modules")
            print("  " + "\n  ".join(functions))


if __name__ == "__main__":
    main()
