"""The entry point of the supervisor's process."""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import traceback
from contextlib import suppress
from typing import Any, Final

from ...errors import SpexError, words
from ..protocol import control as say
from ..protocol.config import SupervisorConfig
from ..protocol.records import error_plain
from ..protocol.requests import MAX_REPLY_BYTES
from ..protocol.session import frame
from ..protocol.wire import receive_frame
from ..system.forking import adopt_orphans, allow_descriptors, reset_signals
from .loop import Supervisor

_MOST_WORDS: Final = 8000
_STOP: Final = b"stop"
"""What an owner sends that wants this process to end."""


def main(descriptor: int) -> None:
    """Run a supervisor for the owner at the other end of the socket `descriptor`; never returns."""
    reset_signals()
    os.dup2(2, 1)  # the output of a handler goes to standard error: it must not mix with the application's output
    faulthandler.enable()
    allow_descriptors()
    adopt_orphans()  # the helper processes of a dead worker become this process's children, which reaps them
    owner, parent = socket.socket(fileno=descriptor), os.getppid()
    code = 1
    try:
        config = SupervisorConfig.of(_received(owner))
        sys.path[:] = config.search_path
        code = _supervise(config, owner)
    except BaseException as error:
        if os.getppid() == parent or not isinstance(error, (EOFError, ConnectionError)):
            _say_why(owner, error)
    finally:
        sys.stderr.flush()
        os._exit(code)


def _received(owner: socket.socket) -> Any:
    """Return what the owner sends first; end quietly if it has given this process up, as at Ctrl-C during its start."""
    with suppress(EOFError, ConnectionError):
        if owner.recv(len(_STOP), socket.MSG_PEEK) != _STOP:
            return receive_frame(owner, MAX_REPLY_BYTES)
    os._exit(0)


def _say_why(owner: socket.socket, error: BaseException) -> None:
    """Print the traceback of the error that ends this process, and send it to the owner, who logs it."""
    traceback.print_exception(error)
    text = f"{words(error)}\n{''.join(traceback.format_exception(error))}"
    with suppress(OSError):
        owner.send(frame(say.TO_OWNER.plain(say.Died(text[:_MOST_WORDS]))), socket.MSG_DONTWAIT)


def _supervise(config: SupervisorConfig, owner: socket.socket) -> int:
    try:
        supervisor = Supervisor(config, owner)
    except EOFError:
        return 0  # the owner is gone, or has given this process up while it waited for the directory
    except SpexError as error:
        owner.sendall(frame(say.TO_OWNER.plain(say.StartFailed(error_plain(error)))))
        return 1
    supervisor.run()
    return 0
