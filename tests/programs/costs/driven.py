"""Each side of the way of a transition, driven by one process, so that Valgrind can count its instructions.

Valgrind cannot run the supervisor, since it knows no pidfd. So the worker's loop gets its requests from this process,
and the client gets answers that this process has written in advance. That adds the same to the counts each time.

``python -m tests.programs.costs.driven`` does all the work. At the beginning and the end of each piece it calls `mark`.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import spex_shards as spex
from spex_shards.manager.base import InstanceManager
from spex_shards.manager.settings import manager_options
from spex_shards.manager.sharded import client_options
from spex_shards.messages import operations as ops
from spex_shards.runtime.client.core import Client
from spex_shards.runtime.protocol.codec import canonical
from spex_shards.runtime.protocol.session import ClientSession, frame
from spex_shards.runtime.system.stream import Descriptor

AT_ONCE = 100
WARM_UP, TIMES = 200, 400
STEPS = (("go", "green"), ("stop", "red"))
KEY = "light 1"
MARK = "ctermid*"
"""The C library's function that `os.ctermid` calls, and nothing else. Functions of CPython have no names everywhere."""
Make = Callable[[int], None]
"""Makes the transitions from a number on: one, or `AT_ONCE`."""


class Light(spex.Specification):
    """A traffic light."""

    name = "costs.Light"
    transitions = [("red", "go", "green"), ("green", "stop", "red")]


def mark() -> None:
    """Begin or end a piece of work: callgrind writes its counts down before each call of `MARK`."""
    os.ctermid()


@contextmanager
def in_process(folder: Path, at_once: int) -> Iterator[Make]:
    """Give the transitions of an in-process manager: one, or so many in one call."""
    places = {"data_dir": folder / "data", "impl_models_dir": folder / "models"}
    with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:
        manager.init_instance(Light, KEY)
        if at_once == 1:
            yield lambda number: manager.transition(KEY, *STEPS[number % 2])
        else:
            many = [(KEY, *STEPS[number % 2]) for number in range(at_once)]
            yield lambda _: manager.transition_many(many)


@contextmanager
def worker(folder: Path, at_once: int) -> Iterator[Make]:
    """Give turns of a worker's loop, each with so many transitions that wait in its pipe."""
    loop, requests, replies = served(folder)

    def make(number: int) -> None:
        os.write(requests, asked(2 + number * at_once, at_once))
        loop.turn()
        os.read(replies, 1 << 16)

    yield make


def asked(first: int, count: int) -> bytes:
    """Return the frames of so many transitions, numbered from `first` on; all requests before are answered."""
    key, code = canonical(KEY), ops.TRANSITION.code
    numbers = range(first, first + count)
    return b"".join(frame((number, first - 1, code, 7, key, *STEPS[number % 2])) for number in numbers)


def served(folder: Path) -> tuple[Any, int, int]:
    """Return a worker's loop that has a light, and the ends of pipes: to write requests to, and to read answers from.

    The next request has the number 2.
    """
    from spex_shards.engine import ModelSource
    from spex_shards.engine.hosting import SpexHost
    from spex_shards.messages.host_options import SpexOptions
    from spex_shards.messages.specifications import describe
    from spex_shards.runtime.data_dir import DataDir
    from spex_shards.runtime.protocol.requests import DECLARE
    from spex_shards.runtime.shard import open_shard
    from spex_shards.runtime.store.opening import LocalStores
    from spex_shards.runtime.store.port import StoreOptions
    from spex_shards.runtime.watch import NOBODY
    from spex_shards.runtime.worker import WorkerOptions, loop
    from spex_shards.runtime.worker.control import SocketControl
    from spex_shards.runtime.worker.logs import LogCapture

    directory = DataDir(folder / "data")
    directory.make()
    host = SpexHost(ModelSource(learning_mode=True), SpexOptions(folder, True, None, 0))
    shard = open_shard(LocalStores(directory), 0, host, StoreOptions("process"), NOBODY, time.time_ns() // 1000)
    other, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    options = WorkerOptions(0, 1 << 20, logging.WARNING)
    running = loop.Worker(shard, SocketControl(control), options, LogCapture(logging.WARNING))
    requests, replies, events = (os.pipe2(os.O_NONBLOCK) for _ in range(3))
    streams = [Descriptor(requests[0]), Descriptor(replies[1]), Descriptor(events[1])]
    running.clients.attach(b"c" * 16, os.getpid(), True, streams)
    other.detach()  # it stays open as long as this process
    declare = frame((0, 0, DECLARE.code, 0, describe(Light)[0].plain(), None))
    create = frame((1, 0, ops.INIT.code, 7, Light.name, canonical(KEY), None, None))
    os.write(requests[1], ClientSession().hello(1) + declare + create)
    running.turn()
    return running, requests[1], replies[0]


class Pipes:
    """An introducer whose only shard is this process: the ends of two pipes, and no thread.

    Attributes:
        requests: Where the client's requests arrive.
        replies: Where answers are written.
    """

    def __init__(self, _client_id: bytes, channels: Sequence[Any], *_: Any) -> None:
        self._channels = channels
        (self.requests, self._ask), (self._answer, self.replies) = (os.pipe2(os.O_NONBLOCK) for _ in range(2))

    def start(self, *_: Any, **_options: Any) -> None:
        self._channels[0].lines.install(1, os.getpid(), Descriptor(self._ask), Descriptor(self._answer))

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_: None  # what it is told besides that changes nothing


@contextmanager
def client(folder: Path, at_once: int) -> Iterator[Make]:
    """Give the client's side of transitions: one that is waited for, or so many that are posted, and the flush."""
    introduced: list[Pipes] = []

    def connect(manager: Any) -> Client:
        def introduce(*arguments: Any) -> Any:
            introduced.append(Pipes(*arguments))
            return introduced[-1]

        found = Client(introduce, client_options(manager, 1), manager.mailbox, None)
        found.start()
        return found

    places = {"data_dir": folder / "data", "impl_models_dir": folder / "models"}
    manager: Any = InstanceManager(connect, manager_options(places)).start()
    [pipes] = introduced
    os.write(pipes.replies, frame((1, [])))
    manager.transition(KEY, *STEPS[1])  # now its pipe has taken the hello

    def make(number: int) -> None:
        os.write(pipes.replies, frame((1 + (number + 1) * at_once, [])))
        for n in range(at_once - 1):
            manager.transition_nowait(KEY, *STEPS[n % 2])
        manager.transition(KEY, *STEPS[1])  # waits for the answers to all before it as well
        os.read(pipes.requests, 1 << 16)

    yield make


WORK: dict[str, tuple[Callable[[Path], AbstractContextManager[Make]], int]] = {
    "in-process manager": (lambda folder: in_process(folder, 1), 1),
    "in-process manager, many": (lambda folder: in_process(folder, AT_ONCE), AT_ONCE),
    "worker, blocking": (lambda folder: worker(folder, 1), 1),
    "worker, pipelined": (lambda folder: worker(folder, AT_ONCE), AT_ONCE),
    "client, blocking": (lambda folder: client(folder, 1), 1),
    "client, pipelined": (lambda folder: client(folder, AT_ONCE), AT_ONCE),
}
"""Name → the work, and how many transitions it makes at once."""


def slow_down() -> None:
    """Make each transition dearer, on each side, for the test that this is found: its row is read again and again."""
    from spex_shards.runtime.protocol import records
    from spex_shards.runtime.store import batch

    def dearer(write: Any) -> Any:
        def twice(self: Any) -> None:
            for _ in range(20):
                records.unseal(records.seal([1, 2, 3, "green"]), "a row")
            write(self)

        return twice

    batch.Batch.commit = dearer(batch.Batch.commit)  # type: ignore[method-assign]


def main() -> None:
    """Do all work, or that which is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=WORK, nargs="+", default=list(WORK))
    parser.add_argument("--slowed", action="store_true", help="make each transition dearer")
    given = parser.parse_args()
    if given.slowed:
        slow_down()
    for name in given.only:
        opened, at_once = WORK[name]
        with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as make:
            warm_up, times = (max(2, count // at_once) for count in (WARM_UP, TIMES))
            for number in range(warm_up):
                make(number)
            mark()
            for number in range(warm_up, warm_up + times):
                make(number)
            mark()


if __name__ == "__main__":
    main()
