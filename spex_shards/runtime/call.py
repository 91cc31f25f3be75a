"""A call of an application, as the service that carries it out sees it."""

from __future__ import annotations

import os
from typing import Any

from .protocol.records import encode_value


class Call:
    """A call that a service carries out: who made it, and when.

    Attributes:
        pid: The calling process.
        thread: The calling thread (`threading.get_ident`).
        client_id: The client's unique id, a hex string.
        now: When the call is carried out, in microseconds since the epoch.
    """

    __slots__ = ("_messages", "client_id", "now", "pid", "thread")

    def __init__(self, pid: int, thread: int, client_id: str, messages: list[bytes], now: int = 0) -> None:
        self.pid = pid
        self.thread = thread
        self.client_id = client_id
        self.now = now
        self._messages = messages

    @property
    def is_here(self) -> bool:
        """Whether this very process made the call."""
        return self.pid == os.getpid()

    def send(self, message: Any) -> None:
        """Send a message to the calling process, which receives it through `on_message` or `messages`.

        The message is sent when the changes of the call are committed, and only then.

        Args:
            message: A value of a type that identifiers may have, a list or dict of such values, or a `SpexError`.

        Raises:
            TypeError: A part of the message cannot be sent.
        """
        self._messages.append(encode_value(message))

    def mark(self) -> int:
        """Return the present point, for `rollback`."""
        return len(self._messages)

    def rollback(self, mark: int) -> None:
        """Drop the messages since `mark`: what they belong to was undone."""
        del self._messages[mark:]

    def __repr__(self) -> str:
        return f"Caller(pid={self.pid}, thread={self.thread}, client_id={self.client_id!r})"
