"""Checks that are too long for a shard's loop: who asks for one is answered when it is done elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..checking.conformance import Verdict
from ..runtime.service import Deferred

LARGE: Final = 500
"""A model and a specification with more transitions together are checked elsewhere, where there is an elsewhere."""
_MOST: Final = 10_000


class Checks:
    """Verdicts found elsewhere, the newest ten thousand.

    Attributes:
        elsewhere: Whether there is anybody who finds them; if not, nobody has to wait.
    """

    def __init__(self) -> None:
        self.elsewhere = False
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
        if verdict is None and size <= LARGE:
            verdict = soon()
        if verdict is None:
            raise Deferred(key, lambda: work().value)
        return verdict

    def found(self, key: bytes, verdict: Verdict) -> None:
        """Take a verdict."""
        if len(self._verdicts) >= _MOST:
            del self._verdicts[next(iter(self._verdicts))]
        self._verdicts[key] = verdict
