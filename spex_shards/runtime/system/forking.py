"""Forks child processes, and prepares them: signals, death with the parent, closed descriptors."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
MOST_DESCRIPTORS: Final = 65536
"""The highest limit asked for. Without `close_range`, closing all descriptors takes time in proportion to the limit."""
_libc: list[Any] = []


def prepare() -> None:
    """Load the C library for `die_with`, so that a forked child need not load it."""
    if not _libc:
        _libc.append(ctypes.CDLL(None, use_errno=True))


def die_with(parent: int) -> bool:
    """Have the system kill this process when its parent ends; return False if process `parent` has already ended."""
    prepare()
    if hasattr(_libc[0], "prctl"):
        _libc[0].prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def fork(child: Callable[[], int], failed: Callable[[BaseException], None]) -> int:
    """Fork a process that is killed when this one ends; return its process id.

    Args:
        child: Runs in the child, whose exit status is the returned number, or 1 if it raises.
        failed: Called in the child with the exception that `child` raised.

    Raises:
        OSError: The system gives no process.
    """
    parent = os.getpid()
    with warnings.catch_warnings():
        # Python warns because other threads may run, also the application's; the child touches nothing of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    code = 1
    # The child must never return or raise from here: the frames further up the stack are the parent's code.
    try:
        if die_with(parent):
            code = child()
    except BaseException as error:
        failed(error)
    finally:
        try:
            sys.stderr.flush()  # raises if there is no standard error; the child still exits
        finally:
            os._exit(code)


def reset_signals() -> None:
    """Set all signal dispositions and the signal mask of this process to known values.

    An application may ignore SIGCHLD or block signals, and a child inherits both, even across exec. With SIGCHLD
    ignored, this process could not wait for its own children.
    """
    ignored = {signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ}  # with the last two ignored, `write` raises an OSError
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def adopt_orphans() -> None:
    """Make this process the new parent of its orphaned descendants, if the system supports that."""
    prepare()
    if hasattr(_libc[0], "prctl"):
        _libc[0].prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def allow_descriptors() -> None:
    """Raise this process's soft limit of open descriptors: each client uses three in a worker."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def close_all_but(kept: set[int]) -> None:
    """Close every descriptor except those in `kept`."""
    low = 0
    for descriptor in sorted(kept):
        if low < descriptor:  # some systems read an empty range as one without an end
            os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))
