"""The requests and notices that a shard accepts.

A request on the wire is ``[number, acknowledged, code, thread, *arguments]``. `code` is that of an `Operation`, plus
`NOWAIT` if the caller does not wait. A message with number 0 is a notice: it gets no answer, and is not counted.
"""

from __future__ import annotations

from typing import Any, Final

from ...errors import show
from .operations import COUNT, FLAG, Operation, Operations, checked_by

PROTOCOL_VERSION: Final = 2
"""The newest protocol version that this code speaks."""
SAYS_GOODBYE: Final = 2
"""The first version with `BYE`."""
OLDEST_PROTOCOL: Final = 1
"""The oldest protocol version that this code speaks: during a rolling upgrade, two neighbouring versions meet."""
FORGOTTEN_AFTER: Final = 24 * 3600
"""Seconds after which a shard may forget a client that is gone, with its answers."""
DEFAULT_MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
MAX_REPLY_BYTES: Final = 1 << 30


def _notice(name: str, code: int, check: Any) -> Operation:
    return Operation(name, code, changes=False, posts=False, check=check)


HELLO: Final = _notice("hello", 0, checked_by("hello", COUNT, COUNT, FLAG, FLAG, COUNT, COUNT))
"""The first message on a channel: version, first number, kept, again, newest event seen, newest report logged; see
`ServerSession.open`."""
DECLARE: Final = _notice("declare", 1, lambda _: None)
"""A declaration of the client for the service, which checks it."""
SEEN: Final = _notice("seen", 14, checked_by("seen", COUNT))
"""The client has logged all reports up to a number."""
BYE: Final = _notice("bye", 15, checked_by("bye"))
"""The client sends nothing more, and may be forgotten."""
NOTICES: Final = {notice.code: notice for notice in (HELLO, DECLARE, SEEN, BYE)}
"""All notices, by code."""


class Request:
    """A request or notice as a shard reads it.

    Attributes:
        number: Its number among the client's requests to this shard; 0: it is a notice.
        acknowledged: The client has the answers of all requests up to this number.
        operation: The operation.
        nowait: Whether the caller does not wait for the answer.
        thread: The calling thread.
        arguments: The operation's arguments, not checked yet.
    """

    __slots__ = ("acknowledged", "arguments", "nowait", "number", "operation", "thread")

    def __init__(
        self, number: int, acknowledged: int, operation: Operation, nowait: bool, thread: int, arguments: list[Any]
    ) -> None:
        self.number = number
        self.acknowledged = acknowledged
        self.operation = operation
        self.nowait = nowait
        self.thread = thread
        self.arguments = arguments


class ProtocolError(ValueError):
    """The other side broke the protocol; its channel is closed."""


def read_request(plain: Any, operations: Operations) -> Request:
    """Return the request or notice of a plain value; its arguments are not checked.

    Raises:
        ProtocolError: The value is malformed.
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
