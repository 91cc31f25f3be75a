"""The channels of a shard: reads bounded amounts of requests, writes answers without waiting, and closes channels.

# Guarantees:
#
# * A client whose pipe is full (`stalled`), or whose next request waits for deferred work (`parked`), is not read, and
#   none of its requests is taken. Otherwise a client that reads nothing could fill the worker's memory with answers,
#   and requests after a parked one would overtake it.
# * The request pipe of a peer is registered with epoll exactly if the peer is neither stalled nor parked. Otherwise
#   epoll would report a pipe that nobody reads again and again, and the loop would never sleep.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import Any, Final

from ...errors import ShardDown, SpexError, StoreError
from ..protocol.answers import Answer
from ..protocol.operations import Operations
from ..protocol.records import error_plain
from ..protocol.requests import ProtocolError, Request
from ..protocol.session import ServerSession
from ..store import StoreLost
from ..system.stream import Stream
from .dispatch import Done
from .peers import Peer
from .sessions import Sessions

REQUESTS_PER_CLIENT: Final = 512
MAX_UNWRITTEN: Final = 1 << 20
"""When the answers of a batch exceed this many bytes, the worker commits and writes them before it continues."""


class Attachments:
    """All attached clients of one worker.

    Args:
        epoll: Reports which descriptors are ready.
        sessions: What the shard remembers of each client.
        operations: What clients can ask for.
        limit: Most bytes of one frame.

    Attributes:
        by_descriptor: All clients, by the descriptor of their request pipe.
        waiting: The clients with requests in their queue.
    """

    def __init__(self, epoll: Any, sessions: Sessions, operations: Operations, limit: int) -> None:
        self._epoll = epoll
        self._sessions = sessions
        self._limit = limit
        self._operations = operations
        self.by_descriptor: dict[int, Peer] = {}
        self.waiting: dict[Peer, None] = {}
        self._depth = 0
        self._gone_bytes = [0, 0]

    def all(self) -> list[Peer]:
        """Return all clients."""
        return list(self.by_descriptor.values())

    def stats(self) -> dict[str, int]:
        """Return how many requests waited behind the first one of the newest batch, and the bytes read and written."""
        return {
            "queue_depth": max(0, self._depth - 1),
            "bytes_in": self._gone_bytes[0] + sum(peer.bytes_in for peer in self.by_descriptor.values()),
            "bytes_out": self._gone_bytes[1] + sum(peer.bytes_out for peer in self.by_descriptor.values()),
        }

    def ready(self) -> bool:
        """Return whether `take` would return any request."""
        for peer in self.waiting:  # noqa: SIM110 - nearly always there is none, or one
            if not peer.stalled and not peer.parked:
                return True
        return False

    def read(self, peer: Peer) -> None:
        """Read once from a client's request pipe, unless the client has to wait or has requests in its queue.

        A client that sends malformed requests, or more than there is memory for, is refused; one that has closed its
        pipe is forgotten.
        """
        if peer.stalled or peer.parked or peer.queue:
            return
        fits = True
        try:
            alive = peer.read()
        except ProtocolError as error:
            self.refuse(peer, ShardDown(str(error), maybe_executed=True))
            return
        except OSError:
            alive = False  # a connection to another machine is broken, where a pipe would just end
        except MemoryError:
            fits = False  # answer outside this block: the exception keeps the memory in use
        if not fits:
            peer.drop_unread()
            self.refuse(peer, StoreError("the shard has no memory for what this client sends"))
            return
        if peer.queue:
            self.waiting[peer] = None
        elif not alive:
            self.forget(peer)

    def writable(self, descriptor: int) -> None:
        """Write the buffered output of the client whose reply or event pipe has room again."""
        for peer in self.all():
            if descriptor in (peer.replies_fd, peer.events_fd):
                self.flush(peer)

    def attach(self, client_id: bytes, pid: int, owner: bool, streams: Sequence[Stream]) -> None:
        """Begin to serve a client's new channel; an older channel of the same client is closed.

        If the client's rows cannot be read, the channel is closed with the error as its only reply.
        """
        for other in self.all():
            if other.client_id == client_id:
                self.forget(other)
        try:
            session = self._sessions.get(client_id)
        except StoreError as error:
            peer = Peer(client_id, pid, owner, ServerSession(None, {}), streams, self._limit, self._operations)
            if isinstance(error, StoreLost):  # this worker ends: the client connects to the next one
                peer.close()
                raise
            peer.refuse(error_plain(error))
            peer.flush()
            peer.close()
            return
        session.opened = False  # the client sends its hello first on each new channel
        peer = Peer(client_id, pid, owner, session, streams, self._limit, self._operations)
        self.by_descriptor[peer.requests_fd] = peer
        self._epoll.register(peer.requests_fd, select.EPOLLIN)

    def forget(self, peer: Peer) -> None:
        """Close a client's channel, and drop its queued requests: the client sends them again on its next channel."""
        if self.by_descriptor.pop(peer.requests_fd, None) is None:
            return
        self._gone_bytes[0] += peer.bytes_in
        self._gone_bytes[1] += peer.bytes_out
        self.waiting.pop(peer, None)
        self._watch(peer, None)  # closing alone does not unregister a pipe that a helper process has a copy of
        peer.close()
        self._sessions.left(peer.client_id)

    def refuse(self, peer: Peer, error: SpexError) -> None:
        """Tell a client why its channel is closed, and close it."""
        peer.queue.clear()
        peer.refuse(error_plain(error))
        peer.flush()
        self.forget(peer)

    def take(self) -> list[tuple[Peer, Request]]:
        """Remove and return the requests of the next batch: of each client a bounded number, in order."""
        work: list[tuple[Peer, Request]] = []
        depth = 0
        for peer in list(self.waiting):
            queue = peer.queue
            depth += len(queue)
            if peer.stalled or peer.parked:
                continue
            if len(queue) <= REQUESTS_PER_CLIENT:
                for request in queue:
                    work.append((peer, request))  # noqa: PERF401 - a list of one, mostly: a comprehension is a call
                queue.clear()
                del self.waiting[peer]
            else:
                work += [(peer, queue.popleft()) for _ in range(REQUESTS_PER_CLIENT)]
        self._depth = depth
        return work

    def put_back(self, work: list[tuple[Peer, Request]]) -> None:
        """Return requests to the front of their clients' queues, in order: they were taken but not carried out."""
        for peer, request in reversed(work):
            if not peer.closed:
                peer.queue.appendleft(request)
                self.waiting[peer] = None

    def park(self, peer: Peer) -> None:
        """Stop reading a client, and take none of its requests, until `go_on`: its next request needs deferred work."""
        peer.parked = True
        if not peer.stalled:
            self._epoll.unregister(peer.requests_fd)

    def go_on(self, peer: Peer) -> None:
        """Serve a parked client again: the deferred work that it waited for is done."""
        if peer.closed:
            return
        peer.parked = False
        if not peer.stalled:
            self._epoll.register(peer.requests_fd, select.EPOLLIN)

    def answer(self, done: list[Done]) -> None:
        """Send the answers of a batch, in one reply for each client. Call it only after the commit."""
        if len(done) == 1:
            [(peer, request, answer, _)] = done
            if not peer.closed:
                peer.reply(request.number, () if answer is None else (answer,))
                self.flush(peer)
            return
        last: dict[Peer, int] = {}
        answers: dict[Peer, list[Answer]] = {}
        for peer, request, answer, _ in done:
            last[peer] = request.number
            if answer is not None:
                answers.setdefault(peer, []).append(answer)
        for peer, upto in last.items():
            if not peer.closed:
                peer.reply(upto, answers.get(peer, ()))
                self.flush(peer)

    def flush(self, peer: Peer) -> None:
        """Write as much of a client's buffered output as its pipes take.

        If some output remains, the client is stalled: it is not read until the output is written.
        """
        if not peer.flush():
            self.forget(peer)
        elif peer.events or peer.replies:
            peer.stalled = True
            self._watch(peer, peer.events_fd if peer.events else peer.replies_fd)
        elif peer.stalled:
            peer.stalled = False
            self._watch(peer, None)
            if not peer.parked:
                self._epoll.register(peer.requests_fd, select.EPOLLIN)

    def _watch(self, peer: Peer, blocked: int | None) -> None:
        # A client whose pipe is full is not read: only its full pipe is watched, until it has drained.
        for descriptor in (peer.requests_fd, peer.replies_fd, peer.events_fd):
            try:
                self._epoll.unregister(descriptor)
            except (FileNotFoundError, KeyError):
                pass
        if blocked is not None:
            self._epoll.register(blocked, select.EPOLLOUT)
