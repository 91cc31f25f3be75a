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
        elsewhere: Whether checks can be deferred; if not, each check is made at once.
    """

    def __init__(self) -> None:
        self.elsewhere = False
        self._verdicts: dict[bytes, Verdict] = {}

    def verdict(self, key: bytes, size: int, work: Callable[[], Verdict]) -> Verdict:
        """Return the verdict of a check: computed here if it is small, else the one that `found` was given.

        Args:
            key: Identifies the question: the same key has the same verdict.
            size: The transitions of the model and the specification together.
            work: Makes the check.

        Raises:
            Deferred: The check is large, and its verdict is not known yet.
        """
        if not self.elsewhere or size <= LARGE:
            return work()
        verdict = self._verdicts.get(key)
        if verdict is None:
            raise Deferred(key, lambda: work().value)
        return verdict

    def found(self, key: bytes, verdict: Verdict) -> None:
        """Remember the verdict of a deferred check."""
        if len(self._verdicts) >= _MOST:
            del self._verdicts[next(iter(self._verdicts))]
        self._verdicts[key] = verdict
