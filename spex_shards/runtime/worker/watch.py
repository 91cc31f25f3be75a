"""What a worker notes on its shard's page, and what it knows of those it has died with."""

from __future__ import annotations

import os

from ...errors import PoisonRequest, SpexError
from ..protocol.requests import Request
from ..service import Watch
from .shard_page import ShardPage, Suspect
from .suspects import Suspects


class PageWatch(Watch):
    """A watch on the page that the supervisor reads.

    Args:
        shard: The shard's index.
        page: Its page.
        suspects: What earlier workers of the shard died with; it does not change while this one lives.

    Attributes:
        suspicious: Whether there are suspects at all.
    """

    def __init__(self, shard: int, page: ShardPage, suspects: Suspects) -> None:
        self._shard = shard
        self._suspects = suspects
        self.suspicious = bool(suspects)
        self.executing = page.executing
        self.timing = page.timing  # type: ignore[method-assign]
        self.clear = page.clear  # type: ignore[method-assign]
        self.bump = page.bump  # type: ignore[method-assign]

    def is_suspect(self, who: bytes, number: int) -> bool:
        """Whether a worker has died while it carried out this request of a client."""
        return self._suspects.deaths(Suspect(who, number)) > 0

    def poison(self, who: bytes, request: Request) -> SpexError | None:
        """Return the refusal of a request that too many workers have died with, or None."""
        suspect = Suspect(who, request.number)
        if not self._suspects.is_poison(suspect):
            return None
        how = self._suspects.how(suspect)
        return PoisonRequest(
            f"shard {self._shard} died {self._suspects.deaths(suspect)} times while it carried out this "
            f"{request.operation.name} (the last time: {how}), which is refused now; nothing of it was kept",
            shard=self._shard,
            pid=os.getpid(),
            exit=how,
            maybe_executed=False,
        )

    def deaths(self, key: bytes) -> int:
        """Return how often a worker has died while the handler of this deadline was asked."""
        return self._suspects.deaths(Suspect(key, 0)) if self.suspicious else 0

    def refusal(self, key: bytes) -> str | None:
        """Return why the handler of this deadline is not to be asked any more, or None."""
        suspect = Suspect(key, 0)
        if not self._suspects.is_poison(suspect):
            return None
        return f"the shard died {self._suspects.deaths(suspect)} times (the last time: {self._suspects.how(suspect)})"
