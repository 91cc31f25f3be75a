"""Runs a long piece of work in a forked child, so that the parent's loop continues meanwhile."""

from __future__ import annotations

import gc
import os
import select
import signal
from collections.abc import Callable, Iterable
from typing import Final

from .forking import close_all_but, fork, prepare
from .waits import milliseconds

MOST_WORDS: Final = 2000
_DONE, _FAILED = b"+", b"-"
"""The first byte of a helper's text, which says how it ended.

The exit status would not do: another part of the application may reap the helper first.
"""


class HelperFailed(Exception):
    """A helper raised, or ended without returning."""


class HelperProcess:
    """Runs at most one helper process at a time.

    The helper sees memory as it was at the fork, and is killed when its parent ends. It inherits the lock on the data
    directory, so no other process can take the directory while the helper runs. It sends its result through a pipe.

    Args:
        keep: Descriptors that the helper keeps open beside the standard ones (the lock).

    Attributes:
        descriptor: Becomes readable when the helper ends; -1: no helper runs.
    """

    def __init__(self, keep: Iterable[int] = ()) -> None:
        self._keep = {0, 1, 2, *keep} - {-1}
        self._pid = 0
        self.descriptor = -1
        prepare()

    def start(self, work: Callable[[Callable[[], None]], str]) -> None:
        """Fork a helper that does `work` and sends back the text that it returns (up to 2,000 bytes).

        `work` receives a function that closes all inherited descriptors. It calls that function itself, because it may
        have to release something first.

        Raises:
            OSError: The system gives no process or descriptor.
        """
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            pid = fork(
                lambda: self._work(theirs, work),
                lambda error: self._say(theirs, _FAILED + str(error).encode(errors="replace")),
            )
        except OSError:
            os.close(ours)
            os.close(theirs)
            raise
        os.close(theirs)
        self._pid, self.descriptor = pid, ours

    def ended(self, wait: float = 0) -> str | None:
        """Wait up to `wait` seconds; return the helper's text if it has ended, or None if it still runs.

        Raises:
            HelperFailed: The helper failed; the text says how.
        """
        poll = select.poll()  # `select.select` cannot handle descriptors above 1023
        poll.register(self.descriptor, select.POLLIN)
        spoken = any(events & select.POLLIN for _, events in poll.poll(milliseconds(wait) if wait else 0))
        how = self._reap(os.WNOHANG)
        if how is None:
            if not spoken:
                return None
            # The helper has sent its text and only has to exit. If it is stopped (SIGSTOP) right there, waiting for it
            # would never end: so it is killed.
            os.kill(self._pid, signal.SIGKILL)
            how = self._reap(0)
        said = os.read(self.descriptor, MOST_WORDS + 1)
        os.close(self.descriptor)
        self.descriptor = -1
        if not said.startswith(_DONE):
            raise HelperFailed(said[1:].decode(errors="replace") or f"its process ended with {how}")
        return said[1:].decode(errors="replace")

    def _reap(self, options: int) -> str | None:
        try:
            pid, status = os.waitpid(self._pid, options)
        except ChildProcessError:  # it has ended: the application reaped it, or ignores SIGCHLD
            return "a status that is not known"
        return str(os.waitstatus_to_exitcode(status)) if pid else None

    def _work(self, theirs: int, work: Callable[[Callable[[], None]], str]) -> int:
        gc.disable()
        words = work(lambda: close_all_but({*self._keep, theirs}))
        self._say(theirs, _DONE + words.encode())
        return 0

    @staticmethod
    def _say(theirs: int, text: bytes) -> None:
        os.write(theirs, text[:MOST_WORDS])
