"""The loop of a worker.

::

        ┌──────────────── wait: control socket, request pipes, full reply pipes, next timer
        │   read every ready pipe once                       → queues, bounded per client
        │   carry out a bounded number per client            → one batch
        │   commit once
        │   write events, then replies                       → what does not fit waits; its client is not read
        └── do a portion of what is due by itself            → one more commit

# Guarantees:
#
# * No reply leaves before the commit of the batch that it speaks of.
# * It never waits for a pipe: only for its store, and for the user's handlers.
# * One client's full pipe, broken frame or failing request does not touch another's.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from math import inf
from typing import Any, Final

from ...errors import ShardDown, SpexError, StoreError
from ..protocol.answers import Answer
from ..protocol.control import Drain, Ping, Pong, Serve
from ..protocol.operations import Operations
from ..protocol.records import error_plain
from ..protocol.requests import BYE, DECLARE, HELLO, ProtocolError, Request
from ..service import Deferred
from ..shard import Shard
from ..store import LogBroken
from .attachments import MAX_UNWRITTEN, Attachments
from .control import Control
from .deferred import DeferredWork
from .dispatch import Dispatcher, Done, size_of
from .logs import LogCapture
from .memory import most_request_bytes
from .options import WorkerOptions
from .outbox import MOST_KEPT, Outbox
from .peers import Peer
from .sessions import Sessions
from .shard_page import ShardPage
from .suspects import Suspects
from .watch import PageWatch

FORCED_BY: Final = 1.2
"""Seconds after its owner's death in which the supervisor must have ended this worker, or is ended by it."""
_DRAIN_SECONDS: Final = 0.5
_RETRY_AFTER: Final = 1.0
LONGEST_WAIT: Final = 60.0  # the wall clock may be set by any amount meanwhile
logger = logging.getLogger("spex_shards")


class Worker:
    """One shard at work: its clients, and what is due by itself.

    Args:
        shard: The shard, open.
        control: Where channels and orders come from.
        options: The options.
        capture: Takes what is logged.

    Attributes:
        clients: The attached clients and their channels.
        sessions: What is known of each client's requests.
        outbox: Log records that no application has taken yet.
    """

    def __init__(self, shard: Shard, control: Control, options: WorkerOptions, capture: LogCapture) -> None:
        self._store, self._batch, self._service = shard.store, shard.batch, shard.service
        self._control = control
        self._options = options
        self._capture = capture
        self._dispatcher = Dispatcher(shard, capture, self._stats, most_request_bytes(options.max_frame_bytes))
        self.sessions = Sessions(self._batch)
        self.outbox = Outbox(self._batch)
        self._deferred = DeferredWork(self._service, options.helper_keeps)
        self._epoll = select.epoll()
        operations = Operations(self._service.operations)
        self.clients = Attachments(self._epoll, self.sessions, operations, options.max_frame_bytes)
        self._epoll.register(control, select.EPOLLIN)
        if options.owner_pidfd >= 0:
            self._epoll.register(options.owner_pidfd, select.EPOLLIN)
        self._draining = False
        self._forced_at: float | None = None
        self._not_before = -inf
        self._complaint = ""
        self._next_due = self._service.next_due()
        self._batches = self._batched = 0
        self._watch = options.watch or PageWatch(options.shard, ShardPage(), Suspects())

    def serve(self) -> int:
        """Loop until drained."""
        while not self._draining:
            self.turn()
        self._drain()
        self._batch.rollback()
        self._store.close()
        return 0

    def turn(self, most: float = LONGEST_WAIT) -> None:
        """Wait until there is something to do, at most `most` seconds, and do it once."""
        clients = self.clients
        wait = min(self._timeout(), most)
        for descriptor, _ in self._epoll.poll(wait):
            peer = clients.by_descriptor.get(descriptor)
            if peer is not None:
                clients.read(peer)
            else:
                self._ready(descriptor)
        if clients.waiting:
            self._work()
        if self._deferred.waiting:
            self._begin_deferred()
        if self._is_due():
            self._by_itself()
        if self._store.next_upkeep <= time.monotonic():
            self._store.upkeep()

    def _begin_deferred(self) -> None:
        if self._deferred.descriptor >= 0:
            return  # one piece at a time
        for peer in self._deferred.begin():
            self.clients.go_on(peer)
        if self._deferred.descriptor >= 0:
            self._epoll.register(self._deferred.descriptor, select.EPOLLIN)

    def _timeout(self) -> float:
        if self.clients.waiting and self.clients.ready():
            return 0
        if self._forced_at is not None:
            return max(0.0, min(self._forced_at - time.monotonic(), 0.1))
        now = time.monotonic()
        due = self.sessions.next_sweep - now
        if self._next_due is not None:
            due = min(due, self._next_due / 1_000_000 - time.time_ns() / 1_000_000_000)
        wait = min(max(due, self._not_before - now), self._store.next_upkeep - now)
        return max(0.0, min(wait, LONGEST_WAIT))

    def _is_due(self) -> bool:
        if self._forced_at is not None:
            return True
        now = time.monotonic()
        return now >= self._not_before and (
            self._batch.dirty
            or bool(self._capture.outside)
            or bool(self.outbox.reports and self.outbox.waiting)
            or bool(self.sessions.unwritten)
            or self.sessions.next_sweep <= now
            or (self._next_due is not None and self._next_due <= time.time_ns() // 1000)
        )

    def _ready(self, descriptor: int) -> None:
        """Take what a descriptor brings that carries no requests."""
        if descriptor == self._control.fileno():
            self._order()
        elif descriptor == self._deferred.descriptor:
            self._epoll.unregister(descriptor)
            for waiting in self._deferred.end():
                self.clients.go_on(waiting)
        elif descriptor == self._options.owner_pidfd:
            self._epoll.unregister(descriptor)
            self._forced_at = time.monotonic() + FORCED_BY
        else:
            self.clients.writable(descriptor)

    def _order(self) -> None:
        try:
            received = self._control.receive()
        except EOFError:
            self._draining = True
            return
        except ProtocolError as error:  # its ends are closed, by which the client knows, and asks again
            self._complain(f"a client could not be taken: {error}")
            return
        if received is None:
            return
        order, streams = received
        match order:
            case Serve(client_id, pid, owner):
                self.clients.attach(client_id, pid, owner, streams)
            case Ping():
                self._control.say(Pong())
            case Drain():
                self._draining = True

    # ------------------------------------------------------------------ one batch

    def _work(self) -> None:
        work = self.clients.take()
        if not work:
            return
        now = time.time_ns() // 1000
        done: list[Done] = []
        later: list[tuple[Peer, Request]] = []
        unwritten = 0
        for peer, request in work:
            alone = self._watch.suspicious and self._watch.is_suspect(peer.client_id, request.number)
            if alone:
                self._commit(done)
                done = []
            # Not before that commit: its answers may have shown that this client is gone, or reads nothing.
            if peer.closed:
                continue
            if peer.stalled or peer.parked:  # by an answer of this batch, or by a request of it
                later.append((peer, request))
                continue
            before = len(done)
            if not self._carry_out(peer, request, now, done):
                self.clients.park(peer)
                later.append((peer, request))
            elif len(done) > before and len(work) > 1:  # a single answer is written at once anyway
                unwritten += size_of(request, done[-1].answer)
            if alone or unwritten > MAX_UNWRITTEN:
                self._commit(done)
                done, unwritten = [], 0
        if later:
            self.clients.put_back(later)
        if done:  # notices alone are no batch
            self._batches += 1
            self._batched += len(done)
        self._commit(done)

    def _carry_out(self, peer: Peer, request: Request, now: int, done: list[Done]) -> bool:
        """Carry a request or notice out in the batch; False: it must wait for a check, as if it had not come yet."""
        if request.number == 0:
            self._take_notice(peer, request)
            return True
        session = peer.session
        try:
            if not session.receive(request):
                done.append(Done(peer, request, session.again(request.number), False))
                return True
            answer = self._execute(peer, request, now)
        except ProtocolError as error:
            self.clients.refuse(peer, ShardDown(str(error), maybe_executed=True))
            return True
        except Deferred as deferred:
            session.put_back()
            self._deferred.wait_for(deferred, peer)
            return False
        changes = request.operation.changes
        session.applied_now(request.number, answer, remember=changes)
        if changes:
            self.sessions.unwritten.add(peer.client_id)
        done.append(Done(peer, request, answer, True))
        return True

    def _execute(self, peer: Peer, request: Request, now: int) -> Answer | None:
        if self._watch.suspicious:
            refusal = self._watch.poison(peer.client_id, request)
            if refusal is not None:
                return Answer(request.number, False, error_plain(refusal))
        self._watch.executing(peer.client_id, request.number)
        return self._dispatcher.execute(peer, request, now)

    def _take_notice(self, peer: Peer, request: Request) -> None:
        mark = self._batch.mark()
        try:
            self._notice(peer, request)
        except (ValueError, ShardDown, StoreError) as error:
            self._batch.rollback(mark)
            self.clients.refuse(
                peer, error if isinstance(error, SpexError) else ShardDown(str(error), maybe_executed=True)
            )

    def _notice(self, peer: Peer, request: Request) -> None:
        if request.operation is DECLARE:
            self._dispatcher.declare(request.arguments)
            return
        request.operation.check(request.arguments)
        if request.operation is BYE:
            self.sessions.ended(peer.client_id)
            return
        if request.operation is HELLO:
            version, first, kept, again, events, _ = request.arguments
            peer.session.open(version, first, kept=kept, again=again, events=events)
        self.outbox.seen(peer, request.arguments[-1])
        self._service.held = self.outbox.full

    def _commit(self, done: list[Done]) -> bool:
        """Keep the batch and answer its requests; return whether it was kept."""
        self._watch.clear()
        outside = self._capture.outside
        captured = list(outside)
        try:
            if outside or self.outbox.lost:
                self.outbox.take_unasked(outside)
            self.sessions.write()
            self._batch.commit()
        except LogBroken:
            raise
        except (StoreError, MemoryError) as error:
            self._batch.rollback(0)
            self._dispatcher.declare_again()
            outside[:0] = captured[:MOST_KEPT]
            self.outbox.lose(len(captured) - MOST_KEPT)
            self.clients.answer(
                self._failed(done, StoreError(str(error) or "a batch was not kept: there is no memory"))
            )
            self._next_due, self._not_before = 0, time.monotonic() + _RETRY_AFTER
            return False
        self._dispatcher.declared.clear()
        self.clients.answer(done)
        self.sessions.committed()  # after the answers, for which somebody waits
        self._next_due = self._service.next_due()
        return True

    def _failed(self, done: list[Done], error: StoreError) -> list[Done]:
        self.sessions.failed()
        plain = error_plain(error)
        failed: list[Done] = []
        for peer, request, kept, fresh in done:
            answer = kept
            if fresh and request.operation.changes:
                answer = Answer(request.number, False, plain)
                peer.session.not_applied(request.number, answer)
            elif fresh:  # what it read may be of this batch: read again
                answer = self._execute(peer, request, time.time_ns() // 1000)
            failed.append(Done(peer, request, answer, fresh))
        self._watch.clear()
        if not done:  # who asked for something is told, and nobody asked for this
            self._complain(f"what is due could not be kept: {error}")
        return failed

    # ------------------------------------------------------------------ what happens by itself

    def _by_itself(self) -> None:
        if self._forced_at is not None and time.monotonic() >= self._forced_at:
            # The supervisor did not end this shard in time: it must be stopped itself, and is ended instead.
            os.kill(os.getppid(), signal.SIGKILL)
            self._draining = True
        now = time.time_ns() // 1000
        due = self._next_due is not None and self._next_due <= now
        done = self._tick(now) if due or self.sessions.next_sweep <= time.monotonic() else True
        if self._commit([]):
            if done:
                self._complaint = ""
            self._deliver_reports()

    def _tick(self, now: int) -> bool:
        mark = self._batch.mark()
        logged = self._capture.target = []
        failure = None
        try:
            self.sessions.sweep()
            self._service.held = self.outbox.full
            self._service.tick(now)
            self.outbox.take(logged)  # with what they speak of, or not at all
        except StoreError as error:
            self._batch.rollback(mark)
            self._not_before = time.monotonic() + _RETRY_AFTER
            failure = error
        finally:
            self._capture.target = self._capture.outside
        if failure is not None:
            self._complain(f"what is due could not be done: {failure}")
        return failure is None

    def _complain(self, text: str) -> None:
        # Once, and not with every attempt.
        if text != self._complaint:
            self._complaint = text
            logger.error("%s", text)

    def _deliver_reports(self) -> None:
        if self.outbox.waiting:
            peer = self.outbox.deliver(sorted(self.clients.all(), key=lambda peer: not peer.owner))
            if peer is not None:
                self.clients.flush(peer)

    def _drain(self) -> None:
        for peer in self.clients.all():
            while not peer.closed and not peer.stalled and not peer.parked:
                size = peer.bytes_in
                self.clients.read(peer)
                while not peer.closed and peer.queue and not peer.stalled and not peer.parked:
                    self._work()
                if peer.closed or peer.bytes_in == size:
                    break
        # Who must read first, or waits for a check, has a little time; what is left then is sent to the next worker.
        self._epoll.unregister(self._control)
        deadline = time.monotonic() + _DRAIN_SECONDS
        while time.monotonic() < deadline and any(peer.stalled or peer.parked for peer in self.clients.all()):
            if self._deferred.waiting:
                self._begin_deferred()
            for descriptor, _ in self._epoll.poll(0.05):
                reader = self.clients.by_descriptor.get(descriptor)
                self._ready(descriptor) if reader is None else self.clients.read(reader)
            if self.clients.waiting:
                self._work()

    def _stats(self) -> dict[str, Any]:
        return {
            "batches": self._batches,
            "mean_batch_size": self._batched / self._batches if self._batches else 0.0,
            **self.clients.stats(),
        }
