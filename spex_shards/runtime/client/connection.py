"""The connection of a process to the supervisor of its data directory, and to those that follow that one.

::

    LOST ──connect──▶ ASKING ──attached──▶ ATTACHED        ENDED: nothing is tried any more
     ▲                  │  └───refused───▶ REFUSED
     └── closed, or ────┴────────────────────┘
         it makes no sense: tried again, for ever; who waits is told after a while that there is no supervisor

For an owner, `supervisor` is the process that it has started; when that has died, the next attempt starts another.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final

from ...errors import ShardDown, SpexError
from .attaching import SupervisorWatch, attach_to, no_common_version

CONNECT_WITHIN: Final = 10.0
"""Seconds that callers wait for a supervisor to be followed by another; later ones are told that there is none."""
_SOON, _LATER, _REVIVE_AT_MOST = 0.05, 0.5, 5.0


class Standing(Enum):
    """How this process and the supervisor stand."""

    LOST = "not connected"
    ASKING = "connected, and not taken in yet"
    ATTACHED = "taken in"
    REFUSED = "refused: no common version"
    ENDED = "ended"


class Connection:
    """The courier's connection. Only the courier's thread uses it, but for the first `connect`, and for `close`.

    Args:
        path: The supervisor's socket.
        client_id: 16 random bytes.
        poll: The courier's poll: what it must wait for is registered there.
        say: Has an error logged.
        revive: For an owner: starts another supervisor and returns its pidfd; None: nobody here does.
        supervisor: The supervisor's pidfd, for an owner; else -1.

    Attributes:
        standing: Where it is.
        socket: The socket; None: not connected.
        supervisor: The supervisor's pidfd; -1: it is another process's.
        decided: Set when a supervisor has first answered, whatever it said.
        refusal: Why the last one that answered has not taken this process in, or None.
        watch: For an owner: whether the supervisor gives signs of life.
    """

    def __init__(
        self,
        path: Path,
        client_id: bytes,
        poll: select.poll,
        say: Callable[[str], None],
        revive: Callable[[], int] | None,
        supervisor: int,
    ) -> None:
        self._path, self._client_id = path, client_id
        self._poll = poll
        self._say, self._revive = say, revive
        self.standing = Standing.LOST
        self.socket: socket.socket | None = None
        self.supervisor, self._is_dead = supervisor, False
        if supervisor >= 0:
            poll.register(supervisor, select.POLLIN)
        self.decided = threading.Event()
        self.refusal: ShardDown | None = None
        self.watch = SupervisorWatch()
        self._oldest_only = False
        self._again_at: float | None = None
        self._tell_at: float | None = None
        self._pause = _SOON

    def connect(self) -> None:
        """Connect, and ask to be taken in.

        Raises:
            ShardDown: There is no supervisor, or it is another user's.
        """
        self.socket = attach_to(self._path, self._client_id, oldest_only=self._oldest_only)
        self.standing, self._again_at = Standing.ASKING, None
        self._poll.register(self.socket, select.POLLIN)
        if self._revive is not None:
            self.watch.start()

    def attached(self) -> None:
        """The supervisor has taken this process in."""
        self.standing, self.refusal = Standing.ATTACHED, None
        self.decided.set()

    def refused(self, oldest: int, newest: int) -> ShardDown:
        """The supervisor speaks other versions of the protocol; return the error of who calls from now on."""
        self.standing = Standing.REFUSED
        self.refusal = no_common_version(self._path, oldest, newest)
        self.decided.set()
        return self.refusal

    def supervisor_died(self) -> None:
        """The supervisor of this owner has ended."""
        self._poll.unregister(self.supervisor)
        self._is_dead = True

    def lose(self) -> None:
        """The connection is of no use any more: close it, and try again soon."""
        if self.socket is not None:
            self._poll.unregister(self.socket)
            self.socket.close()
            self.socket = None
            # A supervisor of before versions were negotiated lets go of who offers two: then one is offered, once.
            never_answered = not self.decided.is_set() and not self._is_dead
            self._oldest_only = never_answered and not self._oldest_only
        self.watch.stop()
        if self.standing is Standing.ENDED:
            return
        now = time.monotonic()
        # One that refuses would do it again at once, and again.
        self._again_at = now + (_LATER if self.standing is Standing.REFUSED else 0)
        self._tell_at, self._pause = now + CONNECT_WITHIN, _SOON
        self.standing = Standing.LOST

    def end(self) -> None:
        """Try nothing any more."""
        self.standing, self._again_at = Standing.ENDED, None

    def close(self) -> None:
        """Close the socket without a word."""
        connection, self.socket = self.socket, None
        if connection is not None:
            connection.close()

    @property
    def next_look(self) -> float | None:
        """Monotonic time at which it is to be tried again, or the supervisor to be looked after; None: never."""
        times = [at for at in (self._again_at, self.watch.next_look) if at is not None]
        return min(times, default=None)

    @property
    def is_due(self) -> bool:
        """Whether it is time to try again."""
        return self._again_at is not None and time.monotonic() >= self._again_at

    def try_again(self) -> ShardDown | None:
        """Connect: to the same supervisor, or to another that follows it at once or much later.

        Returns:
            What those who wait are to be told now, if it has not succeeded for so long.
        """
        try:
            if self._is_dead and self._revive is not None:
                self.supervisor = self._revive()
                self._poll.register(self.supervisor, select.POLLIN)
                self._is_dead = False
            self.connect()
        except (SpexError, OSError) as error:
            return self._not_connected(error)
        return None

    def _not_connected(self, error: Exception) -> ShardDown | None:
        text = f"the supervisor died and has no successor: {error}" if self._is_dead else str(error)
        if self._is_dead and self._pause == _SOON:
            self._say(text)
        now = time.monotonic()
        told = None
        if self._tell_at is not None and now > self._tell_at:
            self._tell_at = None
            told = ShardDown(text, maybe_executed=True)
        if self._is_dead:
            self._pause = min(2 * self._pause, _REVIVE_AT_MOST)  # a process is started each time
        elif self._tell_at is None:
            self._pause = _LATER
        self._again_at = now + self._pause
        return told

    def look(self) -> str | None:
        """Look whether the supervisor of this owner is alive; return "ping" when it is to be asked for a sign of life.

        One that gives none is ended, and said to be.
        """
        if self.socket is None or self.watch.next_look is None:
            return None
        word = self.watch.look(self.supervisor)
        if word == "ended":
            seconds = self.watch.hang_timeout
            self._say(f"the supervisor gave no sign of life within hang_timeout={seconds} s, and is replaced")
        return word
