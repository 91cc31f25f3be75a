"""Opens a shard in a worker's process, and serves it; defines the exit codes of workers."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable
from typing import Final

from ...errors import SpexError
from ..protocol.control import BootFailed, Dying, Fenced, NotYet, Ready, Suspected
from ..protocol.records import error_plain
from ..shard import Shard
from ..store import StoreLost
from ..store.failures import Fenced as ClaimLost
from .control import Control, SocketControl
from .logs import LogCapture
from .loop import Worker
from .options import WorkerOptions
from .suspect_rows import exchange

BOOT_FAILED: Final = 64
"""Exit code of a worker that could not start, and for which a new attempt would not help."""
_NOT_YET: Final = 66
"""Exit code of a worker that could not start for lack of memory, threads or descriptors, or because its database cannot
be reached: a new attempt may succeed."""
_TEMPORARY: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
STORE_BROKEN: Final = 65
"""Exit code of a worker that does not know any more what is stored, or whose shard another process has claimed. The
next worker reads what is stored, and clients send their unanswered requests again."""


def run(boot: Callable[[], Shard], connection: socket.socket, options: WorkerOptions) -> int:
    """Open the shard, report that it is ready, and serve it until the supervisor says to drain; return the exit code.

    Args:
        boot: Opens the shard.
        connection: The socket to the supervisor.
        options: The worker's options.
    """
    capture = LogCapture(options.log_level)
    capture.install()
    control = SocketControl(connection)
    try:
        shard = boot()
        if shard.store.far and options.watch is not None:
            found = exchange(shard, options.watch)
            if found is not None:
                control.say(Suspected(found.plain()))
        worker = Worker(shard, control, options, capture)
    except ClaimLost as error:
        control.say(Fenced(str(error)))
        return STORE_BROKEN
    except StoreLost as error:  # the database cannot be reached
        return _not_yet(control, str(error))
    except SpexError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _TEMPORARY:
            return _not_yet(control, str(error))
        control.say(BootFailed(error_plain(error)))
        return BOOT_FAILED
    except MemoryError:
        return _not_yet(control, "there was not enough memory to open the shard")
    control.say(Ready(shard.store.claim))
    try:
        return worker.serve()
    except StoreLost as error:
        control.say(Fenced(str(error)) if isinstance(error, ClaimLost) else Dying(str(error)))
        print(f"spex_shards: shard {options.shard} gives up: {error}", file=sys.stderr)  # noqa: T201
        return STORE_BROKEN


def _not_yet(control: Control, why: str) -> int:
    control.say(NotYet(why))
    return _NOT_YET
