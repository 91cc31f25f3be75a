"""Counts a shard's deaths, and spaces out attempts. Does no input or output."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

FIRST_DELAY: Final = 0.05
LONGEST_DELAY: Final = 1.0
LONGEST_RETRY: Final = 60.0


@dataclass(slots=True)
class RestartIntensity:
    """Counts deaths of a shard's worker within a sliding window, as Erlang's supervisors do.

    A death while a request was executed may be the request's fault, or chance. Within the window, one such death is not
    counted. Nor are the deaths of a request that the worker died with more than once: such a request is refused after a
    few deaths.

    Args:
        max_restarts: The number of deaths within `max_seconds` that lead to a restart; one more gives the shard up.
        max_seconds: The length of the window.
    """

    max_restarts: int
    max_seconds: float
    _deaths: deque[tuple[float, object]] = field(default_factory=deque)

    def after_death(self, now: float, suspect: object = None) -> float | None:
        """Count a death; return how long to wait before the restart.

        Args:
            now: Monotonic time.
            suspect: The request that may have caused the death, or None.

        Returns:
            Seconds to wait (0 for the first death within the window, at most 1), or None when the shard must be given
                up.
        """
        while self._deaths and now - self._deaths[0][0] > self.max_seconds:
            self._deaths.popleft()
        self._deaths.append((now, suspect))
        doubtful = sum(cause is not None for _, cause in self._deaths)
        counted = len(self._deaths) - min(1, doubtful)
        if counted > self.max_restarts:
            return None
        earlier = max(0, counted - 1)
        return 0.0 if earlier == 0 else min(LONGEST_DELAY, FIRST_DELAY * 2 ** (earlier - 1))

    def forgive(self, suspect: object) -> None:
        """Stop counting the deaths of this request: it was their cause, since it killed the worker again."""
        self._deaths = deque(death for death in self._deaths if death[1] != suspect)

    def forget(self) -> None:
        """Forget all deaths, as when an operator revives the shard."""
        self._deaths.clear()


@dataclass(slots=True)
class BackOff:
    """The delays between attempts, each twice as long as the one before.

    Args:
        first: The first delay in seconds; None: there are no further attempts.
        longest: The longest delay, unless `first` is longer.
    """

    first: float | None
    longest: float
    _delay: float = 0.0

    def next(self) -> float | None:
        """Return the delay before the next attempt, or None if there is none."""
        if self.first is None:
            return None
        self._delay = min(2 * self._delay, max(self.first, self.longest)) or self.first
        return self._delay

    def reset(self) -> None:
        """Start with the first delay again."""
        self._delay = 0.0
