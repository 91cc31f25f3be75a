"""A real worker under a mixed load, to be traced: ``python -m tests.crash_states.workload FOLDER MODE COUNT``."""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from spex_shards import codec
from spex_shards.domain.lts import INITIALISATION
from spex_shards.engine import Engine, EngineOptions, ModelSource
from spex_shards.protocol import Kind
from spex_shards.session import ClientSession
from spex_shards.store.checkpoint import ForkedCheckpoint
from spex_shards.store.files import OsFiles
from spex_shards.store.lmdb_store import LmdbStore
from spex_shards.store.logged_store import Due, LoggedStore
from spex_shards.wire import FrameReader, pipe, receive_message, send_message
from spex_shards.worker import WorkerOptions, run

from ..simulation.client import REGISTER
from ..simulation.specs import Plain

State = dict[bytes, list[tuple[str, str]]]


def operations(count: int) -> Iterator[tuple[int, tuple[Any, ...], State]]:
    """Yield requests (kind, arguments) and the state that each leads to: instances and their histories."""
    random, state = Random(1), State()
    for number in range(count):
        key = codec.canonical(("order", random.randrange(25)))
        meta = codec.encode({"text": "x" * random.choice([0, 10, 3000])})
        if key not in state:
            state[key] = [(INITIALISATION, "start")]
            yield Kind.INIT, (Plain.name, key, meta, "start"), dict(state)
        elif random.random() < 0.08:
            del state[key]
            yield Kind.DELETE, (key,), dict(state)
        elif random.random() < 0.05:
            state[key] = []
            yield Kind.MOCK, (Plain.name, key, meta, "start"), dict(state)
        else:
            state[key] = [*state[key], ("go", f"s{number}")]
            yield Kind.TRANSITION, (key, "go", f"s{number}"), dict(state)


def boot(folder: Path, mode: str) -> Engine:
    """Open the shard as a worker does, with checkpoints after few rows; or LMDB alone, unsynced."""
    if mode == "unsynced LMDB":
        store: Any = LmdbStore(folder, sync=False)
    else:
        base = LmdbStore(folder, sync=True)
        due = Due(rows=150, seconds=1.0)
        store = LoggedStore(
            base, OsFiles(folder), sync_each=mode == "disk", checkpointer=ForkedCheckpoint(base), due=due
        )
    engine = Engine(store, ModelSource(learning_mode=True), EngineOptions(), time.time_ns() // 1000)
    engine.commit()
    return engine


class Client:
    """One client of the worker, with a request at a time or some at once."""

    def __init__(self, control: socket.socket) -> None:
        (theirs, self._out), (self._in, replies), (_, events) = pipe(), pipe(), pipe()
        self.replies = os.fstat(self._in).st_ino
        self._session, self._reader = ClientSession(), FrameReader(1 << 30)
        send_message(control, ["channel", secrets.token_bytes(16), os.getpid(), True], (theirs, replies, events))
        for descriptor in (self._out, self._in):
            os.set_blocking(descriptor, True)
        os.write(self._out, self._session.hello(os.getpid()) + REGISTER)

    def send(self, kind: int, arguments: tuple[Any, ...]) -> None:
        """Send a request."""
        os.write(self._out, self._session.add(kind, 1, arguments, waits=False)[1])

    def wait(self) -> None:
        """Wait until all are answered."""
        while self._session.unacknowledged:
            for reply in self._reader.feed(os.read(self._in, 65536)):
                self._session.receive(reply)
        assert not self._session.failures


def main(folder: str, mode: str, count: str) -> None:
    """Fork the worker, and be its client; say which pipe the answers come through."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()  # or the worker would never see the end of it
        os._exit(run(lambda: boot(Path(folder), mode), theirs, WorkerOptions(0, 1 << 20, logging.ERROR)))
    theirs.close()
    while receive_message(ours) is None:
        time.sleep(0.01)
    client, random = Client(ours), Random(2)
    print(json.dumps({"replies": client.replies}), flush=True)
    for number, (kind, arguments, _) in enumerate(operations(int(count)), 1):
        client.send(kind, arguments)
        if random.random() < 0.6:
            client.wait()
        if number % 100 == 0 and mode == "process":
            client.wait()
            time.sleep(0.8)
    client.wait()
    os._exit(
        0
    )  # the worker is killed by nobody: it ends with its parent's pipe, and what it does then is not looked at


if __name__ == "__main__":
    main(*sys.argv[1:])
