"""Requests of a client session, as the tests of the protocol make them."""

from __future__ import annotations

from typing import Any

from spex_shards.runtime.protocol.sent import Sent
from spex_shards.runtime.protocol.session import ClientSession


def ask(session: ClientSession, code: int, thread: int, arguments: tuple[Any, ...], *, waits: bool) -> Sent:
    """Make a request and take it into a session's window; return it, with its number and frame."""
    sent = Sent(code, thread, arguments, waits=waits)
    session.add(sent)
    return sent
