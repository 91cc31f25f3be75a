"""A client's way to one shard: where its connections lead, and what is happening with them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from time import monotonic
from typing import Any, Final

from ..protocol.control import TO_SUPERVISOR, Message
from ..protocol.requests import MAX_REPLY_BYTES, ProtocolError
from ..protocol.session import frame
from ..protocol.wire import FrameReader
from .connecting import Joined

_SOON, _LATEST = 0.05, 1.0
_SLOWER: Final = 1.25
"""How much longer each pause is than the one before; so calls wait a quarter longer than the shard is away, at most."""
_STEADY: Final = 2.0
"""Seconds that a way must have been open for the next loss to be followed by an attempt at once."""


class Standing(Enum):
    """The state of a way."""

    IDLE = "nobody needs it"
    WAITING = "the next attempt is due later"
    JOINING = "a thread opens the connections"
    ASKING = "connected; the channel is asked for"
    OPEN = "its channel is open"


class Way:
    """The connections of this process to one shard. Only the introducer's thread uses it.

    Args:
        shard: The shard.
        ping: Seconds after which the other side is asked for a sign of life; without one for twice as long, it is dead.

    Attributes:
        standing: The state.
        joined: The connections, or None.
        again_at: When the next attempt is due, if it is `WAITING`.
        lost_at: Since when there has been no channel, or None: there is one, or nobody needs it.
        told: Whether callers have been told since then.
        why: Why the last attempt failed.
    """

    def __init__(self, shard: int, ping: float) -> None:
        self.shard = shard
        self._ping = ping
        self.standing = Standing.IDLE
        self.joined: Joined | None = None
        self.again_at = 0.0
        self.lost_at: float | None = None
        self.told = False
        self.why = ""
        self._pause = _SOON
        self._opened_at = 0.0
        self._heard = self._asked = 0.0
        self._reader = FrameReader(MAX_REPLY_BYTES)
        self._unwritten = b""

    @property
    def descriptor(self) -> int:
        """The descriptor of the control connection, or -1."""
        return -1 if self.joined is None else self.joined.control.fileno()

    def join(self) -> None:
        """Note that a thread opens the connections."""
        self.standing = Standing.JOINING
        self.lost_at = monotonic() if self.lost_at is None else self.lost_at

    def take(self, joined: Joined, first: list[Message]) -> None:
        """Take the connections over, and send the first messages.

        Raises:
            OSError: The other side is gone.
        """
        self.joined, self.standing = joined, Standing.ASKING
        self._reader, self._unwritten = FrameReader(MAX_REPLY_BYTES), b""
        self._heard = self._asked = monotonic()
        for message in first:
            self.say(message)

    def opened(self) -> None:
        """Note that the channel is open."""
        self.standing, self.lost_at, self.told, self.why = Standing.OPEN, None, False, ""
        self._opened_at = monotonic()

    def failed(self) -> None:
        """Note that the shard was given up: the supervisor forgets who has asked for a channel.

        The streams are spent, so whoever needs the shard once it is started again opens new connections.
        """
        self.standing, self.lost_at, self.told = Standing.IDLE, None, False

    def drop(self) -> None:
        """Close the connections that are no line's."""
        joined, self.joined = self.joined, None
        if joined is not None:
            joined.close()
        self.standing = Standing.IDLE

    def wait(self, why: str) -> None:
        """Drop the connections, and schedule the next attempt, later after each that failed."""
        now = monotonic()
        if self.standing is Standing.OPEN and now > self._opened_at + _STEADY:
            self._pause = 0.0
        self.drop()
        self.standing, self.why = Standing.WAITING, why
        self.lost_at = now if self.lost_at is None else self.lost_at
        self.again_at = now + self._pause
        self._pause = min(_LATEST, max(_SOON, _SLOWER * self._pause))

    # ------------------------------------------------------------------ the control connection

    def say(self, message: Message) -> None:
        """Send a control message; what the connection does not take now is sent with the next.

        Raises:
            OSError: The other side is gone.
        """
        if self.joined is not None:
            data = self._unwritten + frame(TO_SUPERVISOR.plain(message))
            self._unwritten = data[self.joined.control.write(data) :]

    def hear(self) -> list[Any]:
        """Return the control messages that have arrived.

        Raises:
            EOFError: The other side is gone.
            OSError: The connection is broken.
            ProtocolError: What has arrived is malformed.
        """
        if self.joined is None:
            return []
        data = self.joined.control.read()
        if data is None:
            return []
        if not data:
            raise EOFError("the gate has closed the connection")
        self._heard = monotonic()
        plains = self._reader.feed(data)
        if any(type(plain) is not list or not plain or type(plain[0]) is not str for plain in plains):
            raise ProtocolError("a malformed message")
        return plains

    @property
    def next_look(self) -> float | None:
        """Monotonic time of the next `look`, or of the next attempt, or None."""
        if self.standing is Standing.WAITING:
            return self.again_at
        return None if self.joined is None else max(self._asked, self._heard) + self._ping

    def look(self, ask: Callable[[], None]) -> bool:
        """Ask for a sign of life if it is time; return whether the other side is taken for dead.

        Raises:
            OSError: The other side is gone.
        """
        now = monotonic()
        if self.joined is None or now < max(self._asked, self._heard) + self._ping:
            return False
        if self._asked > self._heard and now >= self._heard + 2 * self._ping:
            return True
        self._asked = now
        ask()
        return False
