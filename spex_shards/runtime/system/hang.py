"""Decides when a worker counts as hung. Does no input or output: the time is an argument.

A worker shows that it is alive by answering a ping or by changing its progress counter. It is hung when it has done
neither for `hang_timeout` seconds and is not waiting for a disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_LOOKS: Final = 4
"""How many times within the timeout the supervisor looks at the counter."""


@dataclass(slots=True)
class HangWatch:
    """Watches one worker for signs of life.

    Args:
        timeout: Seconds without a sign of life after which the worker is hung; None: it never is.

    Attributes:
        next_look: Monotonic time of the next `look`, or None.
    """

    timeout: float | None
    next_look: float | None = None
    _counter: int = -1
    _alive_at: float = 0.0
    _asked: bool = False

    def start(self, now: float) -> None:
        """Start watching: a worker has become ready."""
        if self.timeout is not None:
            self._counter, self._alive_at, self._asked = -1, now, False
            self.next_look = now + self.timeout / _LOOKS

    def stop(self) -> None:
        """Stop watching: there is no worker."""
        self.next_look = None

    def answered(self, now: float) -> None:
        """Note that the worker answered a ping."""
        self._alive_at, self._asked = now, False

    def look(self, now: float, counter: int, *, waits_for_disk: bool) -> str | None:
        """Compare the progress counter; return "ping" to ping the worker, "hung" to kill it, or None.

        A supervisor that looks much later than planned was held up itself. The time it lost does not count against the
        worker: the timeout starts afresh.
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
