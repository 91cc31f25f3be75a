"""What a process does before it is its own: set its signals, die with its parent, hold nothing that is not its own."""

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
"""More are not asked for: where there is no `close_range`, closing all takes as long as the limit is high."""
_libc: list[Any] = []


def prepare() -> None:
    """Load what `die_with` needs, so that a forked child need not."""
    if not _libc:
        _libc.append(ctypes.CDLL(None, use_errno=True))


def die_with(parent: int) -> bool:
    """Have this process killed when its parent ends; return False when the parent `parent` is gone already."""
    prepare()
    if hasattr(_libc[0], "prctl"):
        _libc[0].prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def fork(child: Callable[[], int], failed: Callable[[BaseException], None]) -> int:
    """Fork a process that dies with this one; return its process id.

    Args:
        child: What the process does; it exits with what this returns, or with 1 when it raises.
        failed: Called there with what it raised.

    Raises:
        OSError: No process is to be had.
    """
    parent = os.getpid()
    with warnings.catch_warnings():
        # There may be threads, the application's too; the child touches nothing of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    code = 1
    # Nothing may lead out of here: what is further up the stack is the parent's.
    try:
        if die_with(parent):
            code = child()
    except BaseException as error:
        failed(error)
    finally:
        try:
            sys.stderr.flush()  # there may be none
        finally:
            os._exit(code)


def reset_signals() -> None:
    """Set all dispositions and the mask of this process, whatever it inherited.

    An application may ignore SIGCHLD or block signals, and both are inherited over exec: no child could be waited for.
    """
    ignored = {signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ}  # the last two: errors of `write`, as Python has them
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def adopt_orphans() -> None:
    """Have this process become the parent of its descendants whose own parents end, where the system can do that."""
    prepare()
    if hasattr(_libc[0], "prctl"):
        _libc[0].prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def allow_descriptors() -> None:
    """Raise this process's soft limit of open descriptors: each client takes three in a worker."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def close_all_but(kept: set[int]) -> None:
    """Close every descriptor that is not in `kept`."""
    low = 0
    for descriptor in sorted(kept):
        if low < descriptor:  # an empty range would be taken for one without end
            os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))
