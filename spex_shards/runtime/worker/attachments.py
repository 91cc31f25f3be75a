"""The channels of a shard: reading bounded amounts, writing without waiting, and letting go."""

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
from ..system.stream import Stream
from .dispatch import Done
from .peers import Peer
from .sessions import Sessions

REQUESTS_PER_CLIENT: Final = 512
MAX_UNWRITTEN: Final = 1 << 20
"""When a batch has gathered so many bytes of answers, they are written before it goes on."""


class Attachments:
    """All attached clients of one worker.

    Attributes:
        by_descriptor: All clients, by the descriptor that their requests come through.
        waiting: Those that have requests in their queue.
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
        """Return how many requests waited behind the first of the newest batch, and the bytes read and written."""
        return {
            "queue_depth": max(0, self._depth - 1),
            "bytes_in": self._gone_bytes[0] + sum(peer.bytes_in for peer in self.by_descriptor.values()),
            "bytes_out": self._gone_bytes[1] + sum(peer.bytes_out for peer in self.by_descriptor.values()),
        }

    def ready(self) -> bool:
        """Whether a batch can be taken."""
        for peer in self.waiting:  # noqa: SIM110 - nearly always there is none, or one
            if not peer.stalled and not peer.parked:
                return True
        return False

    def read(self, peer: Peer) -> None:
        """Read once what a client has sent, unless it has something waiting still."""
        if peer.stalled or peer.parked or peer.queue:
            return
        fits = True
        try:
            alive = peer.read()
        except ProtocolError as error:
            self.refuse(peer, ShardDown(str(error), maybe_executed=True))
            return
        except MemoryError:
            fits = False  # the error has to be gone before there is memory for an answer
        if not fits:
            peer.drop_unread()
            self.refuse(peer, StoreError("the shard has no memory for what this client sends"))
            return
        if peer.queue:
            self.waiting[peer] = None
        elif not alive:
            self.forget(peer)

    def writable(self, descriptor: int) -> None:
        """A descriptor has room again: write what its client waits for."""
        for peer in self.all():
            if descriptor in (peer.replies_fd, peer.events_fd):
                self.flush(peer)

    def attach(self, client_id: bytes, pid: int, owner: bool, streams: Sequence[Stream]) -> None:
        """Take a client's channel; an older one of the same client is closed."""
        for other in self.all():
            if other.client_id == client_id:
                self.forget(other)
        try:
            session = self._sessions.get(client_id)
        except StoreError as error:
            peer = Peer(client_id, pid, owner, ServerSession(None, {}), streams, self._limit, self._operations)
            peer.refuse(error_plain(error))
            peer.flush()
            peer.close()
            return
        session.opened = False  # its hello is still to come on this channel
        peer = Peer(client_id, pid, owner, session, streams, self._limit, self._operations)
        self.by_descriptor[peer.requests_fd] = peer
        self._epoll.register(peer.requests_fd, select.EPOLLIN)

    def forget(self, peer: Peer) -> None:
        """Close a client's channel."""
        if self.by_descriptor.pop(peer.requests_fd, None) is None:
            return
        self._gone_bytes[0] += peer.bytes_in
        self._gone_bytes[1] += peer.bytes_out
        self.waiting.pop(peer, None)
        self._watch(peer, None)  # closing alone is not enough while a helper process has copies
        peer.close()
        self._sessions.left(peer.client_id)

    def refuse(self, peer: Peer, error: SpexError) -> None:
        """Close a client's channel with the reason why."""
        peer.queue.clear()
        peer.refuse(error_plain(error))
        peer.flush()
        self.forget(peer)

    def take(self) -> list[tuple[Peer, Request]]:
        """Return the requests of the next batch: a bounded number of each client's, in order."""
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
        """Have requests that were taken wait again, before all others of their clients."""
        for peer, request in reversed(work):
            if not peer.closed:
                peer.queue.appendleft(request)
                self.waiting[peer] = None

    def park(self, peer: Peer) -> None:
        """Have a client wait for a check: it is not read meanwhile, and none of its requests is taken."""
        peer.parked = True
        if not peer.stalled:
            self._epoll.unregister(peer.requests_fd)

    def go_on(self, peer: Peer) -> None:
        """The check that a client waited for is done."""
        if peer.closed:
            return
        peer.parked = False
        if not peer.stalled:
            self._epoll.register(peer.requests_fd, select.EPOLLIN)

    def answer(self, done: list[Done]) -> None:
        """Have the answers of a batch written, each client's in one reply."""
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
        """Write what fits to a client; who has more waiting is not read until it is written."""
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
