"""A process's connection to the supervisor of its data directory, and to that supervisor's successors.

::

    LOST ──connect──▶ ASKING ──attached──▶ ATTACHED        ENDED: no further attempts
     ▲                  │  └───refused───▶ REFUSED
     └── closed, or ────┴────────────────────┘
         a malformed message: connects again, for ever; after 10 s, waiting callers get an error

For an owner, `supervisor` is the process that it has started. When that has died, the next attempt starts another. A
candidate looks for the supervisor of any process first, and starts one if there is none: at once if a call waits, else
after a second, so that processes that all end at the same time do not start one after the other.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final

from ...errors import DataDirLocked, ShardDown, SpexError
from ..data_dir import WAIT_FOR_HOLDER
from ..holder import Role
from .attaching import SupervisorWatch, attach_to, no_common_version
from .candidacy import Candidacy

CONNECT_WITHIN: Final = 10.0
"""Seconds that callers wait for a successor of a lost supervisor; after that they get an error."""
_SOON, _LATER, _REVIVE_AT_MOST = 0.05, 0.5, 5.0
_IDLE: Final = 1.0
"""Seconds that a candidate without a waiting call leaves it to others to start a supervisor."""


def _patience(error: DataDirLocked, within: float) -> float:
    """Return how many seconds to wait for the holder of a directory to serve it, or to end."""
    if error.context["role"] != Role.HERE:
        return within
    return 0 if error.context["pid"] == os.getpid() else min(within, WAIT_FOR_HOLDER)


class Standing(Enum):
    """The state of the connection."""

    LOST = "not connected"
    ASKING = "connected, and not taken in yet"
    ATTACHED = "taken in"
    REFUSED = "refused: no common version"
    ENDED = "ended"


class Connection:
    """The courier's connection. Only the courier's thread uses it, except for the first `connect` and for `close`.

    Args:
        path: The supervisor's socket.
        client_id: 16 random bytes.
        poll: The courier's poll; the connection registers its descriptors there.
        say: Logs an error, without blocking.
        revive: For an owner: starts another supervisor and returns its pidfd. For other clients: None.
        supervisor: The supervisor's pidfd, for an owner; else -1.
        candidacy: For a candidate: starts a supervisor if no process has one.

    Attributes:
        standing: The state.
        socket: The socket; None: not connected.
        supervisor: The pidfd of the supervisor that this process has started; -1: another process started it.
        decided: Set once a supervisor has answered, whatever the answer.
        refusal: Why the last supervisor that answered has refused this process, or None.
        watch: For an owner: checks whether the supervisor gives signs of life.
    """

    def __init__(
        self,
        path: Path,
        client_id: bytes,
        poll: select.poll,
        say: Callable[[str, str], None],
        revive: Callable[[], int] | None,
        supervisor: int,
        candidacy: Candidacy | None = None,
    ) -> None:
        self._path, self._client_id = path, client_id
        self._candidacy = candidacy
        self._cannot_start = False
        self._lost_at = 0.0
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

    def begin(self, within: float) -> None:
        """Connect for the first time; a candidate starts a supervisor if there is none, or waits for another's.

        Raises:
            ShardDown: There is no supervisor, or it is another user's.
            DataDirLocked: A candidate: the directory is locked by a process that does not serve it.
            SpexError: A candidate: it could not start a supervisor, or the directory has another layout.
        """
        if self._candidacy is None:
            self.connect()
            return
        began = time.monotonic()
        while True:
            try:
                self._connect_or_stand(self._candidacy, stand=True)
                self._candidacy.check()
                return
            except ShardDown:
                if self._cannot_start or time.monotonic() > began + within:
                    raise
            except DataDirLocked as error:
                if time.monotonic() > began + _patience(error, within):
                    raise
            time.sleep(_SOON)

    def begin_later(self) -> None:
        """Connect now if there is a supervisor; else make the first of the attempts that follow a loss."""
        try:
            self.connect()
        except ShardDown:
            self.lose()

    def connect(self) -> None:
        """Connect, and ask the supervisor to attach this process.

        Raises:
            ShardDown: There is no supervisor, or it is another user's.
        """
        self.socket = attach_to(self._path, self._client_id, oldest_only=self._oldest_only)
        self.standing, self._again_at = Standing.ASKING, None
        self._poll.register(self.socket, select.POLLIN)
        if self.supervisor >= 0:
            self.watch.start()

    def attached(self) -> None:
        """Note that the supervisor has attached this process."""
        self.standing, self.refusal = Standing.ATTACHED, None
        if self._candidacy is not None:
            self._candidacy.was_served = True
        self.decided.set()

    def refused(self, oldest: int, newest: int) -> ShardDown:
        """Note that there is no common protocol version; return the error for all further calls."""
        self.standing = Standing.REFUSED
        self.refusal = no_common_version(self._path, oldest, newest)
        self.decided.set()
        return self.refusal

    def supervisor_died(self) -> None:
        """Note that the supervisor that this process has started has ended."""
        self._poll.unregister(self.supervisor)
        if self._candidacy is None:
            self._is_dead = True
        else:
            self.supervisor = -1
            self._candidacy.bury(self._say)

    def lose(self) -> None:
        """Close a connection that is of no use any more, and schedule the next attempt."""
        if self.socket is not None:
            self._poll.unregister(self.socket)
            self.socket.close()
            self.socket = None
            # A supervisor from before versions were negotiated closes a connection that offers two versions: so the
            # next attempt offers only one, and the attempt after that both again.
            never_answered = not self.decided.is_set() and not self._is_dead
            self._oldest_only = never_answered and not self._oldest_only
        self.watch.stop()
        if self.standing is Standing.ENDED:
            return
        now = time.monotonic()
        # A supervisor that refuses would refuse again at once: wait longer.
        self._again_at = now + (_LATER if self.standing is Standing.REFUSED else 0)
        self._tell_at, self._pause = now + CONNECT_WITHIN, _SOON
        self._lost_at, self._cannot_start = now, False
        self.standing = Standing.LOST

    def end(self) -> None:
        """Make no further attempts."""
        self.standing, self._again_at = Standing.ENDED, None

    def close(self) -> None:
        """Close the socket without telling the supervisor."""
        connection, self.socket = self.socket, None
        if connection is not None:
            connection.close()

    @property
    def next_look(self) -> float | None:
        """Monotonic time of the next attempt to connect or the next check of the supervisor; None: never."""
        times = [at for at in (self._again_at, self.watch.next_look) if at is not None]
        return min(times, default=None)

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next attempt to connect."""
        return self._again_at is not None and time.monotonic() >= self._again_at

    def try_again(self, *, needed: bool = True) -> ShardDown | None:
        """Connect to the same supervisor or to its successor; an owner starts the successor first.

        Args:
            needed: Whether a call waits. If not, a candidate leaves it to others for a while to start a supervisor.

        Returns:
            The error for waiting callers, if attempts have failed for 10 seconds; else None.
        """
        try:
            if self._is_dead and self._revive is not None:
                self.supervisor = self._revive()
                self._poll.register(self.supervisor, select.POLLIN)
                self._is_dead = False
            if self._candidacy is None:
                self.connect()
            else:
                self._connect_or_stand(self._candidacy, stand=needed or time.monotonic() > self._lost_at + _IDLE)
        except (SpexError, OSError) as error:
            return self._not_connected(error)
        return None

    def _connect_or_stand(self, candidacy: Candidacy, *, stand: bool) -> None:
        try:
            self.connect()
            return
        except ShardDown:
            if not stand or candidacy.is_serving:
                raise
        if self.supervisor >= 0:  # it has died, and the poll has not said so yet
            self.supervisor_died()
        self._cannot_start = True
        try:
            self.supervisor = candidacy.stand()
        except DataDirLocked:
            self._cannot_start = False
            raise
        self._cannot_start = False
        self._poll.register(self.supervisor, select.POLLIN)
        self.connect()

    def _not_connected(self, error: Exception) -> ShardDown | None:
        fails = self._is_dead or self._cannot_start
        text = f"the supervisor died and has no successor: {error}" if fails else str(error)
        if fails and self._pause == _SOON:
            self._say(text, "supervisor_lost")
        now = time.monotonic()
        told = None
        if self._tell_at is not None and now > self._tell_at:
            self._tell_at = None
            told = ShardDown(text, maybe_executed=True)
        if fails:
            self._pause = min(2 * self._pause, _REVIVE_AT_MOST)  # pauses grow, because each attempt starts a process
        elif self._tell_at is None:
            self._pause = _LATER
        self._again_at = now + self._pause
        return told

    def look(self) -> str | None:
        """Check whether this owner's supervisor is alive; return "ping" when it must be asked for a sign of life.

        A supervisor that gives no sign of life is killed, and that is logged.
        """
        if self.socket is None or self.watch.next_look is None:
            return None
        word = self.watch.look(self.supervisor)
        if word == "ended":
            seconds = self.watch.hang_timeout
            text = f"the supervisor gave no sign of life within hang_timeout={seconds} s, and is replaced"
            self._say(text, "supervisor_hung")
        return word
