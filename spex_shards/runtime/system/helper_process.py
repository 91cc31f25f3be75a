"""Work in a forked child, so that a loop goes on meanwhile."""

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
"""What a helper's words begin with: its exit status may be another's to read."""


class HelperFailed(Exception):
    """A helper ended otherwise than by returning."""


class HelperProcess:
    """One helper at a time.

    It sees memory as it was when it was forked, and is killed with its parent. It shares the parent's lock on the data
    directory: nobody takes the directory before it is gone. What it returns comes through a pipe.

    Args:
        keep: Descriptors that it keeps beside the standard ones (the lock).

    Attributes:
        descriptor: Becomes readable when the helper ends; -1: there is none.
    """

    def __init__(self, keep: Iterable[int] = ()) -> None:
        self._keep = {0, 1, 2, *keep} - {-1}
        self._pid = 0
        self.descriptor = -1
        prepare()

    def start(self, work: Callable[[Callable[[], None]], str]) -> None:
        """Fork a helper that does `work`, and returns its words (up to 2,000 bytes).

        `work` is given a function that closes all inherited descriptors; it may have to let go of something first.

        Raises:
            OSError: No process or descriptor is to be had.
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
        """Return the helper's words if it has ended, looking for up to `wait` seconds; None: it has not.

        Raises:
            HelperFailed: It failed; says how.
        """
        poll = select.poll()  # select ends at descriptor 1023
        poll.register(self.descriptor, select.POLLIN)
        spoken = any(events & select.POLLIN for _, events in poll.poll(milliseconds(wait) if wait else 0))
        how = self._reap(os.WNOHANG)
        if how is None:
            if not spoken:
                return None
            # It has only its exit left. Where it is stopped just there, that would be waited for without end.
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
        except ChildProcessError:  # a handler of the user's has reaped it, or ignores SIGCHLD: it has ended
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
