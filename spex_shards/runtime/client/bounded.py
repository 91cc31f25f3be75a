"""A channel whose callers can bound how long they wait, for observations that must never hold a program up.

# Guarantees:
#
# * `offer` waits at most the time that its caller allows: for room, and for the answer.
# * When such a wait ends in vain, the shard has *stalled*. Until it has answered one of the requests that it owed then,
#   `offer` does not wait at all, so that a stopped shard costs a program one wait, and not one per call.
# * A request whose caller has left stays in the window like any other, and is applied exactly once. Its answer is
#   handled when it is read: log records are logged, and an error is counted among the channel's failures.
# * The window is bounded. Beyond that, nothing is sent, and the caller is told.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from ...errors import CallTimeout
from ..protocol.answers import Answer
from ..protocol.operations import Operation
from ..protocol.sent import Sent
from .channel import Channel

_MOST_OUTPUT: Final = 1 << 20
"""The most bytes that may wait for room in the pipe; beyond that there is no room for further requests."""


class BoundedChannel(Channel):
    """A channel with `offer`; see `Channel` for the arguments."""

    def start_anew(self) -> None:
        """Begin with an empty window, as a new client: at first, and in a forked child."""
        super().start_anew()
        self._owed: Sent | None = None

    def offer(self, operation: Operation, arguments: tuple[Any, ...], within: float, *, waits: bool) -> Answer | None:
        """Send a request, and wait for its answer if it `waits`, at most `within` seconds and not on a stalled shard.

        Returns:
            The answer; None is success without a value, or not known yet if it does not wait.

        Raises:
            CallTimeout: The wait has ended. `maybe_executed` says whether the request was sent.
            ShardFailed: The shard is given up.
            ManagerClosed: The manager is closed.
            ValueError: The request is too large.
        """
        sent = Sent(operation, threading.get_ident(), arguments, waits=waits)
        if sent.size > self.lines.limit:
            raise ValueError(self.lines.too_large(sent))
        if self._has_stalled():
            within = 0.0
        deadline = time.monotonic() + within
        if not self._has_room() and not self._interrupts(self.lines.current):
            self._wait_for_room(deadline, operation, within)
        self._put(sent)
        if not waits or (within and self._wait_for(sent, deadline)) or not sent.leave():
            return sent.answer
        if self._owed is None:
            self._owed = sent
        raise self.lines.unanswered(sent)

    def _has_stalled(self) -> bool:
        """Return whether an earlier wait ended in vain, and the shard has not answered since."""
        owed = self._owed
        if owed is None:
            return False
        if not owed.done:
            line = self.lines.current
            self.lines.see_to(line)
            if line.pipes is not None and line.reading.take():  # nobody else may be there to read the answers
                self._lead(line, line.look)
        if not owed.done:
            return True
        self._owed = None
        return False

    def _has_room(self) -> bool:
        line = self.lines.current
        if line.session.unacknowledged >= self._max_unacknowledged:
            return False
        return line.pipes is None or len(line.pipes.output) < _MOST_OUTPUT

    def _wait_for_room(self, deadline: float, operation: Operation, within: float) -> None:
        """Wait until there is room.

        Raises:
            CallTimeout: There was none before the deadline; nothing was sent.
        """
        try:
            if within:
                self._make_room(deadline, operation, within)
            if self._has_room():
                return
        except CallTimeout:
            if self._has_room():
                return
        if self._owed is None:
            self._owed = self.lines.current.session.oldest
        raise CallTimeout(
            f"shard {self.shard} (pid {self.lines.pid}) took no further {operation.name}: "
            f"{self.lines.current.session.unacknowledged} requests are unacknowledged",
            **self.lines.facts(maybe_executed=False),
        )
