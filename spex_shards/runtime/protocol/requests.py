"""The requests that a shard takes.

A request on the wire is ``[number, acknowledged, code, thread, *arguments]``; `code` is that of an `Operation`, plus
`NOWAIT` where the caller does not wait. Number 0 is a notice: it has no answer and no place in the count.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from ...errors import show
from .operations import COUNT, FLAG, Operation, Operations, checked_by

PROTOCOL_VERSION: Final = 2
"""The newest version that is spoken here."""
SAYS_GOODBYE: Final = 2
"""The first version with `BYE`."""
OLDEST_PROTOCOL: Final = 1
"""The oldest version that is spoken here: a rolling upgrade has one version beside the next."""
FORGOTTEN_AFTER: Final = 24 * 3600
"""Seconds after which a shard may forget a client that is gone, and what it had of its requests."""
DEFAULT_MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
MAX_REPLY_BYTES: Final = 1 << 30


def _notice(name: str, code: int, check: Any) -> Operation:
    return Operation(name, code, changes=False, posts=False, check=check)


HELLO: Final = _notice("hello", 0, checked_by("hello", COUNT, COUNT, FLAG, FLAG, COUNT, COUNT))
"""The first on a channel: process, version, first number, kept, again, newest event seen, newest report logged."""
DECLARE: Final = _notice("declare", 1, lambda _: None)
"""What a client declares to the service; the service checks it."""
SEEN: Final = _notice("seen", 14, checked_by("seen", COUNT))
"""Reports up to a number are logged."""
BYE: Final = _notice("bye", 15, checked_by("bye"))
"""The client is gone for good."""
NOTICES: Final = {notice.code: notice for notice in (HELLO, DECLARE, SEEN, BYE)}
"""What has number 0: nothing is answered."""


class Request(NamedTuple):
    """A request as a shard reads it."""

    number: int
    acknowledged: int
    operation: Operation
    nowait: bool
    thread: int
    arguments: list[Any]


class ProtocolError(ValueError):
    """The other side broke the protocol; its channel is closed."""


def read_request(plain: Any, operations: Operations) -> Request:
    """Read a request or notice.

    Raises:
        ProtocolError: It is malformed.
    """
    try:
        number, acknowledged, code, thread, *arguments = plain
        notice = NOTICES.get(code)
        if notice is not None:
            operation, nowait = notice, False
        else:
            operation, nowait = operations.by_code.get(code) or operations.named(code, arguments)
    except (TypeError, ValueError, KeyError):
        raise ProtocolError(f"a malformed request: {show(plain)}") from None
    if type(number) is not int or type(acknowledged) is not int or type(thread) is not int or number < 0:
        raise ProtocolError(f"a malformed request: {show(plain)}")
    if (number == 0) is not (notice is not None):
        raise ProtocolError(f"a malformed request: {operation.name} must not have number {number}")
    return Request(number, acknowledged, operation, nowait, thread, arguments)
