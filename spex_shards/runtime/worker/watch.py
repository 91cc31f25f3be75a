"""Notes on the shard's page what a worker executes, and refuses requests and timers that have killed too many."""

from __future__ import annotations

import os

from ...errors import PoisonRequest, SpexError
from ..protocol.requests import Request
from ..watch import Watch
from .shard_page import ShardPage, Suspect
from .suspects import Suspects


class PageWatch(Watch):
    """A watch that notes on the page that the supervisor reads.

    Args:
        shard: The shard's index.
        page: The shard's page.
        suspects: The suspects of the shard's earlier workers; they do not change while this worker serves.

    Attributes:
        suspicious: Whether there are any suspects.
    """

    def __init__(self, shard: int, page: ShardPage, suspects: Suspects) -> None:
        self._shard = shard
        self.suspects = suspects
        self.suspicious = bool(suspects)
        self.executing = page.executing
        self.timing = page.timing  # type: ignore[method-assign]
        self.clear = page.clear  # type: ignore[method-assign]
        self.bump = page.bump  # type: ignore[method-assign]

    def merge(self, others: Suspects) -> bool:
        """Add the suspects of other supervisors; return whether they are news."""
        is_news = self.suspects.merge(others)
        self.suspicious = bool(self.suspects)
        return is_news

    def is_suspect(self, who: bytes, number: int) -> bool:
        """Return whether a worker has died while it carried out this request of the client `who`."""
        return self.suspects.deaths(Suspect(who, number)) > 0

    def poison(self, who: bytes, request: Request) -> SpexError | None:
        """Return the error with which to refuse a request that has killed too many workers, or None to carry it out."""
        suspect = Suspect(who, request.number)
        if not self.suspects.is_poison(suspect):
            return None
        how = self.suspects.how(suspect)
        return PoisonRequest(
            f"shard {self._shard} died {self.suspects.deaths(suspect)} times while it carried out this "
            f"{request.operation.name} (the last time: {how}), which is refused now; nothing of it was kept",
            shard=self._shard,
            pid=os.getpid(),
            exit=how,
            maybe_executed=False,
        )

    def deaths(self, key: bytes) -> int:
        """Return how many workers have died while they called the handler of this deadline."""
        return self.suspects.deaths(Suspect(key, 0)) if self.suspicious else 0

    def refusal(self, key: bytes) -> str | None:
        """Return why the handler of this deadline must not be called any more, or None if it may be."""
        suspect = Suspect(key, 0)
        if not self.suspects.is_poison(suspect):
            return None
        return f"the shard died {self.suspects.deaths(suspect)} times (the last time: {self.suspects.how(suspect)})"
