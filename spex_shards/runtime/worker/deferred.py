"""Long work of a shard: done one piece after another in a helper process, while the callers who need it wait."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable

from ..service import Deferred, Service
from ..system.helper_process import HelperFailed, HelperProcess
from .peers import Peer

logger = logging.getLogger("spex_shards")


class DeferredWork:
    """The work that callers wait for.

    Args:
        service: Where results go.
        keep: Descriptors that helpers keep (the lock).

    Attributes:
        waiting: The work that is not done yet, by its key, with the clients that wait for it.
    """

    def __init__(self, service: Service, keep: Iterable[int]) -> None:
        self._service = service
        service.defers = True
        self._helper = HelperProcess(keep)
        self.waiting: OrderedDict[bytes, tuple[Callable[[], str], list[Peer]]] = OrderedDict()

    @property
    def descriptor(self) -> int:
        """Becomes readable when the work at hand has ended; -1: there is none."""
        return self._helper.descriptor

    def wait_for(self, deferred: Deferred, peer: Peer) -> None:
        """Have a client wait for some work."""
        self.waiting.setdefault(deferred.key, (deferred.work, []))[1].append(peer)

    def begin(self) -> list[Peer]:
        """Begin the next piece; return the clients that go on at once, because no helper could be had."""
        work = next(iter(self.waiting.values()))[0]

        def do_it(close_inherited: Callable[[], None]) -> str:
            close_inherited()
            return work()

        try:
            self._helper.start(do_it)
        except OSError as error:
            logger.warning("long work is done in the shard's own process: %s", error)
            return self._done(work())
        return []

    def end(self) -> list[Peer]:
        """Take the result of the work at hand; return the clients that go on."""
        try:
            while (result := self._helper.ended()) is None:
                pass  # its pipe is closed, so it is ending just now
            return self._done(result)
        except HelperFailed as error:
            logger.warning("long work is done in the shard's own process, as its helper failed: %s", error)
            return self._done(next(iter(self.waiting.values()))[0]())

    def _done(self, result: str) -> list[Peer]:
        key, (_, peers) = self.waiting.popitem(last=False)
        self._service.done(key, result)
        return peers
