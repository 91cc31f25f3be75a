"""Checks of large models, which would hold up a shard's loop: they are made as deferred work, outside the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..checking.conformance import Verdict
from ..runtime.service import Deferred

LARGE: Final = 500
"""If a model and its specification have more transitions than this together, the check is deferred where possible."""
_MOST: Final = 10_000


class Checks:
    """The verdicts of deferred checks, the newest ten thousand.

    Attributes:
        large: If a model and its specification have more transitions than this together, the check is deferred.
        elsewhere: Whether checks can be deferred; if not, each check is made at once.
    """

    def __init__(self) -> None:
        self.elsewhere = False
        self.large = LARGE
        self._verdicts: dict[bytes, Verdict] = {}

    def verdict(
        self, key: bytes, size: int, soon: Callable[[], Verdict | None], work: Callable[[], Verdict]
    ) -> Verdict:
        """Return a verdict, which is found here if that takes only some milliseconds.

        Args:
            key: Stands for everything that the verdict depends on.
            size: How many transitions model and specification have together.
            soon: Returns the verdict, or None if it would take long.
            work: Returns the verdict, however long it takes.

        Raises:
            Deferred: The verdict is to be found elsewhere first.
        """
        if not self.elsewhere:
            return work()
        verdict = self._verdicts.get(key)
        if verdict is None and size <= self.large:
            verdict = soon()
        if verdict is None:
            raise Deferred(key, lambda: work().value)
        return verdict

    def found(self, key: bytes, verdict: Verdict) -> None:
        """Remember the verdict of a deferred check."""
        if len(self._verdicts) >= _MOST:
            del self._verdicts[next(iter(self._verdicts))]
        self._verdicts[key] = verdict
