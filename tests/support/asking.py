"""Requests of a client session, as the tests of the protocol make them."""

from __future__ import annotations

from typing import Any, Final

from spex_shards.messages import operations as ops
from spex_shards.runtime.protocol.operations import Operation, Operations
from spex_shards.runtime.protocol.sent import Sent
from spex_shards.runtime.protocol.session import ClientSession

OPERATIONS: Final = Operations(ops.ALL)


def ask(session: ClientSession, operation: Operation, thread: int, arguments: tuple[Any, ...], *, waits: bool) -> Sent:
    """Add a request to a session's window; return it, with its number and frame."""
    sent = Sent(operation, thread, arguments, waits=waits)
    session.add(sent)
    return sent
