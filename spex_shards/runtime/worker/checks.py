"""Long checks of a shard: done one after another in a helper process, while the callers who asked wait."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable

from ...checking.conformance import Verdict
from ...engine import CheckPending, Checks
from ..system.helper_process import HelperFailed, HelperProcess
from .peers import Peer

logger = logging.getLogger("spex_shards")


class CheckQueue:
    """The checks that callers wait for.

    Args:
        checks: Where verdicts go.
        keep: Descriptors that helpers keep (the lock).
    """

    def __init__(self, checks: Checks, keep: Iterable[int]) -> None:
        self._checks = checks
        checks.elsewhere = True
        self._helper = HelperProcess(keep)
        self._waiting: OrderedDict[bytes, tuple[Callable[[], Verdict], list[Peer]]] = OrderedDict()

    @property
    def descriptor(self) -> int:
        """Becomes readable when the check at hand has ended; -1: there is none."""
        return self._helper.descriptor

    def wait_for(self, pending: CheckPending, peer: Peer) -> None:
        """Have a client wait for a check."""
        self._waiting.setdefault(pending.key, (pending.work, []))[1].append(peer)

    @property
    def due(self) -> bool:
        """Whether there is a check to begin."""
        return bool(self._waiting) and self._helper.descriptor < 0

    def begin(self) -> list[Peer]:
        """Begin the next check; return the clients that go on at once, because no helper could be had."""
        work = next(iter(self._waiting.values()))[0]

        def check(close_inherited: Callable[[], None]) -> str:
            close_inherited()
            return work().value

        try:
            self._helper.start(check)
        except OSError as error:
            logger.warning("a check is made in the shard's own process: %s", error)
            return self._found(work())
        return []

    def end(self) -> list[Peer]:
        """Take the verdict of the check at hand; return the clients that go on."""
        try:
            while (words := self._helper.ended()) is None:
                pass  # its pipe is closed, so it is ending just now
            return self._found(Verdict(words))
        except HelperFailed as error:
            logger.warning("a check is made in the shard's own process, as its helper failed: %s", error)
            return self._found(next(iter(self._waiting.values()))[0]())

    def _found(self, verdict: Verdict) -> list[Peer]:
        key, (_, peers) = self._waiting.popitem(last=False)
        self._checks.found(key, verdict)
        return peers
