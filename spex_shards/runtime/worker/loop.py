"""The loop of a worker.

::

        ┌──────────────── wait: control socket, request pipes, full reply pipes, next timer
        │   read every ready pipe once                       → queues, bounded per client
        │   carry out a bounded number per client            → one batch
        │   commit once
        │   write events, then replies                       → a client with a full pipe is not read
        └── do a portion of the due work                     → one more commit

# Guarantees:
#
# * No answer is written before the commit of its batch. Otherwise a client could be told of a change that a crash then
#   undoes. A query's answer waits as well, because the query may have read changes of the same batch.
# * The loop never waits for a pipe. It waits only for its store and for the application's handlers. Otherwise a client
#   that reads nothing would stop all others.
# * A client's full pipe, malformed frame or failing request does not affect other clients.
"""

from __future__ import annotations

import logging
import os
import select
import signal
from math import inf
from time import process_time
from typing import Any, Final

from ...errors import ShardDown, StoreError
from ...log_fields import about
from ..protocol.answers import Answer
from ..protocol.control import Drain, Ping, Pong, Serve
from ..protocol.operations import Operations
from ..protocol.records import error_plain
from ..protocol.requests import ProtocolError, Request
from ..service import Deferred
from ..shard import Shard
from ..store import StoreLost
from .attachments import MAX_UNWRITTEN, Attachments
from .control import Control
from .deferred import DeferredWork
from .dispatch import Dispatcher, Done, size_of
from .logs import LogCapture
from .memory import most_request_bytes
from .notices import Notices
from .options import WorkerOptions
from .outbox import MOST_KEPT, PATIENCE, Outbox
from .peers import Peer
from .sessions import Sessions
from .shard_page import ShardPage
from .suspects import Suspects
from .watch import PageWatch

FORCED_BY: Final = 1.2
"""Seconds after its owner's death within which the supervisor must end this worker; after that, the worker kills it."""
_DRAIN_SECONDS: Final = 0.5
_RETRY_AFTER: Final = 1.0
LONGEST_WAIT: Final = 60.0  # bounded, because due times are compared with the wall clock, which may be set meanwhile
logger = logging.getLogger("spex_shards")


class Worker:
    """Serves one shard: carries out its clients' requests, and the work that becomes due.

    Args:
        shard: The shard, open.
        control: The connection to the supervisor, from which channels and orders come.
        options: The options.
        capture: Collects log records.

    Attributes:
        clients: The attached clients and their channels.
        sessions: What the shard remembers of each client.
        outbox: The log records that no application has confirmed yet.
    """

    def __init__(self, shard: Shard, control: Control, options: WorkerOptions, capture: LogCapture) -> None:
        self._store, self._batch, self._service = shard.store, shard.batch, shard.service
        self._control, around = control, options.surroundings
        self._monotonic, self._time_ns = around.monotonic, around.time_ns
        self._options = options
        self._capture = capture
        self._dispatcher = Dispatcher(shard, capture, self._stats, most_request_bytes(options.max_frame_bytes))
        self.sessions = Sessions(self._batch, around.monotonic)
        self.outbox = Outbox(self._batch, around.monotonic, PATIENCE if options.clustered else 0.0)
        self._foresee = self._service.foresee if self._store.far else None
        self._deferred = DeferredWork(self._service, around.helper(options.helper_keeps))
        self._epoll = around.poll()
        operations = Operations(self._service.operations)
        self.clients = Attachments(self._epoll, self.sessions, operations, options.max_frame_bytes)
        self._notices = Notices(shard, self.clients, self.sessions, self.outbox, self._dispatcher)
        self._epoll.register(control, select.EPOLLIN)
        if options.owner_pidfd >= 0:
            self._epoll.register(options.owner_pidfd, select.EPOLLIN)
        self._forced_at: float | None = None
        self._not_before = -inf
        self._draining, self._complaint = False, ""
        self._next_due = self._service.next_due()
        self._batches = self._batched = 0
        self._watch = options.watch or PageWatch(options.shard, ShardPage(), Suspects())

    def serve(self) -> int:
        """Serve until the supervisor says to drain or is gone; then drain, close the store and return the exit code."""
        while not self._draining:
            self.turn()
        self._drain()
        self._batch.rollback()
        self._store.close()
        return 0

    def turn(self, most: float = LONGEST_WAIT) -> None:
        """Wait up to `most` seconds until a descriptor is ready or work is due, and do one round of work."""
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
        if self._store.next_upkeep <= self._monotonic():
            self._store.upkeep()

    def _begin_deferred(self) -> None:
        if self._deferred.descriptor >= 0:
            return  # a helper process is at work: there is one at a time
        for peer in self._deferred.begin():
            self.clients.go_on(peer)
        if self._deferred.descriptor >= 0:
            self._epoll.register(self._deferred.descriptor, select.EPOLLIN)

    def _timeout(self) -> float:
        if self.clients.waiting and self.clients.ready():
            return 0
        if self._forced_at is not None:
            return max(0.0, min(self._forced_at - self._monotonic(), 0.1))
        now = self._monotonic()
        due = min(self.sessions.next_sweep, self.outbox.next_look) - now
        if self._next_due is not None:
            due = min(due, self._next_due / 1_000_000 - self._time_ns() / 1_000_000_000)
        wait = min(max(due, self._not_before - now), self._store.next_upkeep - now)
        return max(0.0, min(wait, LONGEST_WAIT))

    def _is_due(self) -> bool:
        if self._forced_at is not None:
            return True
        now = self._monotonic()
        return now >= self._not_before and (
            self._batch.dirty
            or bool(self._capture.outside)
            or bool(self.outbox.reports and self.outbox.waiting)
            or bool(self.sessions.unwritten)
            or self.sessions.next_sweep <= now
            or (self._next_due is not None and self._next_due <= self._time_ns() // 1000)
        )

    def _ready(self, descriptor: int) -> None:
        """Handle a ready descriptor that is not a client's request pipe."""
        if descriptor == self._control.fileno():
            self._order()
        elif descriptor == self._deferred.descriptor:
            self._epoll.unregister(descriptor)
            for waiting in self._deferred.end():
                self.clients.go_on(waiting)
        elif descriptor == self._options.owner_pidfd:
            self._epoll.unregister(descriptor)
            self._forced_at = self._monotonic() + FORCED_BY
        else:
            self.clients.writable(descriptor)

    def _order(self) -> None:
        try:
            received = self._control.receive()
        except EOFError:
            self._draining = True
            return
        except ProtocolError as error:  # `receive` closed the client's pipes: it sees that, and requests new ones
            self._complain(f"a client's channel was refused: {error}")
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

    def _work(self) -> None:
        """Carry out one batch of requests, commit it and answer.

        A suspect is carried out alone, between two commits. So if it kills the worker again, no other client's request
        is lost with it, and the death is certain to be its own.
        """
        work = self.clients.take()
        if not work:
            return
        if self._foresee is not None:
            self._batch.fetch(self._foresee([(request.operation, request.arguments) for _, request in work]))
        now = self._time_ns() // 1000
        done: list[Done] = []
        later: list[tuple[Peer, Request]] = []
        unwritten = 0
        for peer, request in work:
            alone = self._watch.suspicious and self._watch.is_suspect(peer.client_id, request.number)
            if alone:
                self._commit(done)
                done = []
            # Check only after that commit: while answering, it may have found that this client is gone or stalled.
            if peer.closed:
                continue
            if peer.stalled or peer.parked:  # since the batch was taken; requests must stay in order
                later.append((peer, request))
                continue
            before = len(done)
            if not self._carry_out(peer, request, now, done):
                self.clients.park(peer)
                later.append((peer, request))
            elif len(done) > before and len(work) > 1:  # not for a single answer: it is written next anyway
                unwritten += size_of(request, done[-1][2])
            if alone or unwritten > MAX_UNWRITTEN:
                self._commit(done)
                done, unwritten = [], 0
        if later:
            self.clients.put_back(later)
        if done:  # a batch of notices only is not counted
            self._batches += 1
            self._batched += len(done)
        self._commit(done)

    def _carry_out(self, peer: Peer, request: Request, now: int, done: list[Done]) -> bool:
        """Carry out a request or notice in the batch; False: it was undone, and must wait for deferred work."""
        if request.number == 0:
            self._notices.take(peer, request)
            return True
        session = peer.session
        try:
            if not session.receive(request):
                done.append((peer, request, session.again(request.number), False))
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
        done.append((peer, request, answer, True))
        return True

    def _execute(self, peer: Peer, request: Request, now: int) -> Answer | None:
        if self._watch.suspicious:
            refusal = self._watch.poison(peer.client_id, request)
            if refusal is not None:
                return Answer(request.number, False, error_plain(refusal))
        self._watch.executing(peer.client_id, request.number)
        return self._dispatcher.execute(peer, request, now)

    def _commit(self, done: list[Done]) -> bool:
        """Commit the batch and answer its requests; return whether it was committed.

        If the store refuses the batch, it is rolled back, and each request that changed something gets the error.

        Raises:
            StoreLost: It is not known whether the batch is stored. No request is answered: the next worker reads what
                is stored, and the clients send again what is not.
        """
        self._watch.clear()
        outside = self._capture.outside
        captured = list(outside)
        try:
            if outside or self.outbox.lost:
                self.outbox.take_unasked(outside)
            self.sessions.write()
            self._batch.commit()
        except StoreLost:
            raise
        except (StoreError, MemoryError) as error:
            self._batch.rollback(0)
            self._dispatcher.declare_again()
            outside[:0] = captured[:MOST_KEPT]
            self.outbox.lose(len(captured) - MOST_KEPT)
            why = str(error) or "a batch could not be committed: there is no memory for it"
            self.clients.answer(self._failed(done, StoreError(why)))
            self._next_due, self._not_before = 0, self._monotonic() + _RETRY_AFTER
            return False
        self._dispatcher.declared.clear()
        self.clients.answer(done)
        self.sessions.committed()  # after the answers, because callers wait for those
        self._next_due = self._service.next_due()
        return True

    def _failed(self, done: list[Done], error: StoreError) -> list[Done]:
        """Return the answers of a batch that was rolled back."""
        self.sessions.failed()
        plain = error_plain(error)
        failed: list[Done] = []
        for peer, request, kept, fresh in done:
            answer = kept
            if fresh and request.operation.changes:
                answer = Answer(request.number, False, plain)
                peer.session.not_applied(request.number, answer)
            elif fresh:  # a query: it may have read changes of the batch, which do not exist now, so it reads again
                answer = self._execute(peer, request, self._time_ns() // 1000)
            failed.append((peer, request, answer, fresh))
        self._watch.clear()
        if not done:  # no client gets the error, because none requested this work
            self._complain(f"due work could not be committed, and will be tried again: {error}")
        return failed

    def _by_itself(self) -> None:
        """Do a portion of the work that is due, commit it, and send log records to an application."""
        if self._forced_at is not None and self._monotonic() >= self._forced_at:
            # The owner is dead, and the supervisor has not ended this worker in time. It must be stopped (SIGSTOP), and
            # would keep the directory locked for ever.
            os.kill(os.getppid(), signal.SIGKILL)
            self._draining = True
        now = self._time_ns() // 1000
        due = self._next_due is not None and self._next_due <= now
        done = self._tick(now) if due or self.sessions.next_sweep <= self._monotonic() else True
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
            self.outbox.take(logged)  # in the same batch as the reports, so that each is logged exactly if it is kept
        except StoreError as error:
            self._batch.rollback(mark)
            self._not_before = self._monotonic() + _RETRY_AFTER
            failure = error
        finally:
            self._capture.target = self._capture.outside
        if failure is not None:
            self._complain(f"due work failed, and will be tried again: {failure}")
        return failure is None

    def _complain(self, text: str) -> None:
        # Log an error once, not at each new attempt.
        if text != self._complaint:
            self._complaint = text
            logger.error("%s", text, extra=about("due_work_failed"))

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
        # Stalled and parked clients get half a second more. They send their other requests again to the next worker.
        self._epoll.unregister(self._control)
        deadline = self._monotonic() + _DRAIN_SECONDS
        while self._monotonic() < deadline and any(peer.stalled or peer.parked for peer in self.clients.all()):
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
            "processor_seconds": process_time(),
            "outbox": len(self.outbox.reports),
            **self.clients.stats(),
        }
