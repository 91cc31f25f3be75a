"""Forking a worker, and what the child does before it is one."""

from __future__ import annotations

import os
import select
import signal
import socket
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from ...errors import words
from ..protocol.control import OF_WORKER, Dying
from ..protocol.wire import send_message
from ..shard_info import describe_exit
from ..system.forking import close_all_but, fork, prepare

STOPPED: Final = describe_exit(0)
"""How a worker ends that was told to."""
_MOST_WORDS: Final = 1000
_INHERITED: list[Any] = []
"""The supervisor's objects, kept alive in a worker: their finalisers would close what are other descriptors by then."""


@dataclass(slots=True)
class WorkerProcess:
    """A running worker.

    Attributes:
        pidfd: Becomes readable when it has ended.
        control: The socket to it.
        killed_for: Why the supervisor killed it, or None.
        last_words: What it said of its own death, or nothing.
    """

    pid: int
    pidfd: int
    control: socket.socket
    killed_for: str | None = None
    last_words: str = ""

    def reap(self) -> str | None:
        """Return how it ended, if it has ended."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return "its exit status is not known"
        return describe_exit(status) if pid else None

    def close(self, epoll: select.epoll | None = None) -> None:
        """Close this side's descriptors, which `epoll` may wait for; the process must have been reaped."""
        # Closing alone does not end the wait: a process forked just now has copies for a moment, whose events would
        # come on, under numbers that may be another's by then.
        if epoll is not None:
            for descriptor in (self.pidfd, self.control.fileno()):
                with suppress(OSError):
                    epoll.unregister(descriptor)
        os.close(self.pidfd)
        self.control.close()


class Forker:
    """Forks workers off the supervisor.

    Args:
        keep: Descriptors that workers share with it (the lock).
        owner: What to keep alive in a worker.
    """

    def __init__(self, keep: list[int], owner: object) -> None:
        self._keep = keep
        self._owner = owner
        prepare()

    def fork(self, main: Callable[[socket.socket], int], *keep: int) -> WorkerProcess:
        """Fork a process that runs `main` with its control socket, and exits with what it returns.

        It has the standard descriptors, its control socket, what all workers share, and `keep`; nothing else.

        Raises:
            OSError: No process or descriptor is to be had.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid = fork(lambda: self._be_child(theirs, main, keep), lambda error: _last_words(theirs, error))
        except OSError:
            ours.close()
            theirs.close()
            raise
        theirs.close()
        try:
            return WorkerProcess(pid, os.pidfd_open(pid), ours)
        except OSError:  # nobody would see it end
            ours.close()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise

    def _be_child(self, control: socket.socket, main: Callable[[socket.socket], int], keep: tuple[int, ...]) -> int:
        _INHERITED.append(self._owner)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        close_all_but({0, 1, 2, control.fileno(), *self._keep, *keep} - {-1})
        return main(control)


def _last_words(control: socket.socket, error: BaseException) -> None:
    if isinstance(error, MemoryError):
        traceback.clear_frames(error.__traceback__)  # so that there is memory for the words
    with suppress(OSError):
        send_message(control, OF_WORKER.plain(Dying(words(error)[:_MOST_WORDS])))
    traceback.print_exception(error)
