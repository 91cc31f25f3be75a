"""A shard as far as bytes can reach it: frames, requests, dispatch, engine, timers and a store in memory."""

from __future__ import annotations

import logging
from typing import Any, Final

from spex_shards.engine import Engine, EngineOptions, ModelSource
from spex_shards.engine.service import SpexService
from spex_shards.errors import ShardDown
from spex_shards.messages import operations as ops
from spex_shards.runtime.protocol.requests import DECLARE, HELLO, ProtocolError, Request, read_request
from spex_shards.runtime.protocol.session import ServerSession, frame
from spex_shards.runtime.protocol.wire import FrameReader
from spex_shards.runtime.shard import Shard as RunningShard
from spex_shards.runtime.store import Batch, MemoryStore
from spex_shards.runtime.system.stream import Descriptor
from spex_shards.runtime.worker.dispatch import Dispatcher
from spex_shards.runtime.worker.logs import LogCapture
from spex_shards.runtime.worker.outbox import Outbox
from spex_shards.runtime.worker.peers import Peer
from tests.support.asking import OPERATIONS

LIMIT: Final = 65536
FRESH_AFTER: Final = 500
"""So many inputs meet what earlier ones left in the store."""


class ShardTarget:
    """Carries out conversations, each as a new client; the data of earlier conversations stays in the store.

    It excludes predicates and a specification's own handlers, because they run the code of an attached client by
    design.
    """

    def __init__(self) -> None:
        self._count = 0
        self._capture = LogCapture(logging.WARNING)
        logger = logging.getLogger("spex_shards")
        logger.handlers[:] = [self._capture]
        logger.propagate = False

    def __call__(self, data: bytes) -> bool:
        """Carry out the conversation in `data`; return whether all of it was understood and done."""
        if self._count % FRESH_AFTER == 0:
            store = MemoryStore()
            self._engine = Engine(Batch(store), ModelSource(learning_mode=True), EngineOptions(), 0)
            service = SpexService(self._engine)
            self._dispatcher = Dispatcher(RunningShard(store, self._engine.batch, service), self._capture, dict)
            self._outbox = Outbox(self._engine.batch, lambda: 0.0)
        self._count += 1
        now = self._count * 1_000_000
        peer = Peer(b"f" * 16, 1, False, ServerSession(None, {}), [Descriptor(-1)] * 3, LIMIT, OPERATIONS)
        accepted = True
        try:
            for plain in FrameReader(LIMIT).feed(data):
                accepted &= self._carry_out(peer, read_request(plain, OPERATIONS), now)
        except (ProtocolError, ShardDown):
            accepted = False
        self._engine.batch.commit()
        self._engine.timers.tick(now)
        self._outbox.take(self._capture.outside)
        self._engine.batch.commit()
        return accepted

    def _carry_out(self, peer: Peer, request: Request, now: int) -> bool:
        if request.operation is ops.DELETE_WHERE:
            return False
        if request.number == 0:
            return self._notice(peer, request)
        try:
            peer.session.receive(request)
        except ProtocolError:
            pass  # the real one closes the channel; here what follows is of interest
        answer = self._dispatcher.execute(peer, request, now)
        if answer is None:
            return True
        frame((request.number, [answer[:4]]))
        for event in answer.events:
            frame(event)
        if not answer.ok:
            _look_at(answer.value)
        return answer.ok

    def _notice(self, peer: Peer, request: Request) -> bool:
        if request.operation is DECLARE:
            self._dispatcher.declare(_harmless(request.arguments))
            return True
        try:
            request.operation.check(request.arguments)
        except ValueError:
            return False
        if request.operation is HELLO:
            version, first, kept, again, events, _ = request.arguments
            peer.session.open(version, first, kept=kept, again=again, events=events)
        self._outbox.seen(peer, request.arguments[-1])
        return True


def _harmless(arguments: list[Any]) -> list[Any]:
    try:
        plain, shipped = arguments
        kind = plain[-1][0]
    except (ValueError, TypeError, IndexError, KeyError):
        return arguments
    if kind == "default":
        return arguments
    return [[*plain[:-1], ["default", *plain[-1][1:]]], shipped]


def _look_at(error: list[Any]) -> None:
    # An error of the library is a valid answer, and so is a ValueError about an argument.
    code, text, _, cause = error
    if code == "spex_error" and "could not carry out" in text and ": ValueError: " not in text:
        raise AssertionError(f"{text}\n{cause}")
