"""Forks worker processes, and runs the first steps of each child."""

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
"""The description of a worker's exit after it was told to stop."""
_MOST_WORDS: Final = 1000
_INHERITED: list[Any] = []
"""Keeps the supervisor's objects alive in a worker.

Their finalisers would close descriptors by number, and in the worker those numbers belong to other files by then.
"""


@dataclass(slots=True)
class WorkerProcess:
    """A running worker.

    Attributes:
        pid: Its process id.
        pidfd: Becomes readable when it has ended.
        control: The control socket to it.
        killed_for: Why the supervisor killed it, or None.
        last_words: What it said about its own death, or "".
    """

    pid: int
    pidfd: int
    control: socket.socket
    killed_for: str | None = None
    last_words: str = ""

    def reap(self) -> str | None:
        """Return how the process ended, or None if it still runs."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return "its exit status is not known"
        return describe_exit(status) if pid else None

    def close(self, epoll: select.epoll | None = None) -> None:
        """Close this side's descriptors, and remove them from `epoll`; the process must have been reaped."""
        # Closing alone does not remove them: a process that was forked just now holds copies for a moment. Their events
        # would still arrive, under numbers that may belong to other files by then.
        if epoll is not None:
            for descriptor in (self.pidfd, self.control.fileno()):
                with suppress(OSError):
                    epoll.unregister(descriptor)
        os.close(self.pidfd)
        self.control.close()


class Forker:
    """Forks workers off the supervisor.

    Args:
        keep: Descriptors that all workers inherit (the lock).
        owner: An object to keep alive in each worker.
    """

    def __init__(self, keep: list[int], owner: object) -> None:
        self._keep = keep
        self._owner = owner
        prepare()

    def fork(self, main: Callable[[socket.socket], int], *keep: int) -> WorkerProcess:
        """Fork a process that runs `main` with its control socket, and exits with the number that `main` returns.

        The process inherits the standard descriptors, its control socket, the descriptors for all workers, and `keep`;
        nothing else.

        Raises:
            OSError: The system gives no process or descriptor.
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
        except OSError:  # without a pidfd, the supervisor would not notice its end
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
        traceback.clear_frames(error.__traceback__)  # frees memory for the message
    with suppress(OSError):
        send_message(control, OF_WORKER.plain(Dying(words(error)[:_MOST_WORDS])))
    traceback.print_exception(error)
