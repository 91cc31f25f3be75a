"""Deferred work of a shard: helper processes do it, one piece after another, while the clients that need it wait."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable

from ...log_fields import about
from ..service import Deferred, Service
from ..system.helper_process import HelperFailed, HelperProcess
from .peers import Peer

logger = logging.getLogger("spex_shards")


class DeferredWork:
    """The deferred work that clients wait for.

    Args:
        service: Receives the results.
        helper: Does one piece of work at a time, in a process of its own.

    Attributes:
        waiting: The work that is not done yet: key → the work, and the clients that wait for it. The first piece is
            the one that is being done.
    """

    def __init__(self, service: Service, helper: HelperProcess) -> None:
        self._service = service
        service.defers = True
        self._helper = helper
        self.waiting: OrderedDict[bytes, tuple[Callable[[], str], list[Peer]]] = OrderedDict()

    @property
    def descriptor(self) -> int:
        """The descriptor that becomes readable when the current piece of work has ended; -1: none is being done."""
        return self._helper.descriptor

    def wait_for(self, deferred: Deferred, peer: Peer) -> None:
        """Note that a client waits for a piece of work."""
        self.waiting.setdefault(deferred.key, (deferred.work, []))[1].append(peer)

    def begin(self) -> list[Peer]:
        """Start the next piece of work in a helper process.

        Returns:
            The clients to serve again at once. There are some only if no process could be forked: then the work was
            done here, before this method returned.
        """
        work = next(iter(self.waiting.values()))[0]

        def do_it(close_inherited: Callable[[], None]) -> str:
            close_inherited()
            return work()

        try:
            self._helper.start(do_it)
        except OSError as error:
            logger.warning("long work is done in the shard's own process: %s", error, extra=about("helper_failed"))
            return self._done(work())
        return []

    def end(self) -> list[Peer]:
        """Give the result of the current piece of work to the service; return the clients to serve again.

        If the helper process died, the work is done here.
        """
        try:
            while (result := self._helper.ended()) is None:
                pass  # the helper has closed its pipe, so it ends within moments
            return self._done(result)
        except HelperFailed as error:
            logger.warning(
                "long work is done in the shard's own process, as its helper failed: %s",
                error,
                extra=about("helper_failed"),
            )
            return self._done(next(iter(self.waiting.values()))[0]())

    def _done(self, result: str) -> list[Peer]:
        key, (_, peers) = self.waiting.popitem(last=False)
        self._service.done(key, result)
        return peers
