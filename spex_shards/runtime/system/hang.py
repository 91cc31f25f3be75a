"""When a worker counts as hung: pure, time is an argument.

A worker is alive as long as it answers a ping or its progress counter changes. It is hung when it has done neither for
`hang_timeout`, and is not waiting for a disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_LOOKS: Final = 4
"""So many times within the timeout the supervisor looks."""


@dataclass(slots=True)
class HangWatch:
    """The watch over one worker.

    Args:
        timeout: Seconds without a sign of life; None: never hung.

    Attributes:
        next_look: Monotonic time of the next look, or None.
    """

    timeout: float | None
    next_look: float | None = None
    _counter: int = -1
    _alive_at: float = 0.0
    _asked: bool = False

    def start(self, now: float) -> None:
        """A worker is ready."""
        if self.timeout is not None:
            self._counter, self._alive_at, self._asked = -1, now, False
            self.next_look = now + self.timeout / _LOOKS

    def stop(self) -> None:
        """There is no worker."""
        self.next_look = None

    def answered(self, now: float) -> None:
        """It answered a ping."""
        self._alive_at, self._asked = now, False

    def look(self, now: float, counter: int, *, waits_for_disk: bool) -> str | None:
        """Look at the counter: return "ping" to ask it, "hung" to end it, or None.

        A supervisor that looks much later than it meant to was held up itself: its clock starts afresh.
        """
        if self.timeout is None or self.next_look is None or now < self.next_look:
            return None
        late = now - self.next_look > self.timeout / _LOOKS
        self.next_look = now + self.timeout / _LOOKS
        if late or counter != self._counter or waits_for_disk:
            self._counter, self._alive_at = counter, now
        if now - self._alive_at >= self.timeout:
            return "hung"
        if self._asked:
            return None
        self._asked = True
        return "ping"
