"""How often a worker may die before its shard is given up, and when what failed is tried again. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

FIRST_DELAY: Final = 0.05
LONGEST_DELAY: Final = 1.0
LONGEST_RETRY: Final = 60.0


@dataclass(slots=True)
class RestartIntensity:
    """Deaths of one shard's worker within a sliding window, as Erlang's supervisors count them.

    A death during the execution of a request may be the request's fault or chance. The first that may be is not
    counted; nor are those of a request that the worker died with again, which is refused after a few.

    Args:
        max_restarts: Deaths that are answered by a restart within `max_seconds`; one more gives the shard up.
        max_seconds: The length of the window.
    """

    max_restarts: int
    max_seconds: float
    _deaths: deque[tuple[float, object]] = field(default_factory=deque)

    def after_death(self, now: float, suspect: object = None) -> float | None:
        """Count a death at monotonic time `now`, by what may have caused it (None: nothing is known).

        Returns:
            Seconds to wait before the restart (0 for the first within the window, at most 1), or None when the
            shard must be given up.
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
        """Count a death no more: it was this request's fault, as it happened again."""
        self._deaths = deque(death for death in self._deaths if death[1] != suspect)

    def forget(self) -> None:
        """Forget all deaths, as when an operator revives the shard."""
        self._deaths.clear()


@dataclass(slots=True)
class BackOff:
    """Delays between attempts, each twice the one before.

    Args:
        first: The first delay in seconds; None: there are no further attempts.
        longest: No delay is longer, unless the first one is.
    """

    first: float | None
    longest: float
    _delay: float = 0.0

    def next(self) -> float | None:
        """Return the delay before the next attempt, or None."""
        if self.first is None:
            return None
        self._delay = min(2 * self._delay, max(self.first, self.longest)) or self.first
        return self._delay

    def reset(self) -> None:
        """Begin with the first delay again."""
        self._delay = 0.0
