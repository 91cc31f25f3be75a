"""Notices: a client's messages that have no number and get no answer: declarations, hellos, confirmations, goodbyes."""

from __future__ import annotations

from ...errors import ShardDown, SpexError, StoreError
from ..protocol.requests import BYE, DECLARE, HELLO, Request
from ..service import Service
from ..shard import Shard
from ..store import StoreLost
from .attachments import Attachments
from .dispatch import Dispatcher
from .outbox import Outbox
from .peers import Peer
from .sessions import Sessions


class Notices:
    """Takes the notices of all clients of one worker.

    Args:
        shard: The shard.
        clients: The attached clients.
        sessions: What the shard remembers of each client.
        outbox: The log records that clients confirm.
        dispatcher: Passes declarations to the service.
    """

    def __init__(
        self, shard: Shard, clients: Attachments, sessions: Sessions, outbox: Outbox, dispatcher: Dispatcher
    ) -> None:
        self._batch = shard.batch
        self._service: Service = shard.service
        self._clients = clients
        self._sessions = sessions
        self._outbox = outbox
        self._dispatcher = dispatcher

    def take(self, peer: Peer, notice: Request) -> None:
        """Apply a notice to the current batch; if it is invalid, undo it and close the client's channel."""
        mark = self._batch.mark()
        try:
            self._apply(peer, notice)
        except StoreLost:
            raise
        except (ValueError, ShardDown, StoreError) as error:
            self._batch.rollback(mark)
            self._clients.refuse(
                peer, error if isinstance(error, SpexError) else ShardDown(str(error), maybe_executed=True)
            )

    def _apply(self, peer: Peer, notice: Request) -> None:
        if notice.operation is DECLARE:
            self._dispatcher.declare(notice.arguments)
            return
        notice.operation.check(notice.arguments)
        if notice.operation is BYE:
            self._sessions.ended(peer.client_id)
            self._outbox.left(peer)
            return
        if notice.operation is HELLO:
            version, first, kept, again, events, _ = notice.arguments
            peer.session.open(version, first, kept=kept, again=again, events=events)
        self._outbox.seen(peer, notice.arguments[-1])
        self._service.held = self._outbox.full
