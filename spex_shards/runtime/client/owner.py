"""Starts and stops the supervisor process of an embedded manager."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from ...errors import DataDirError, ShardDown, SpexError
from ..protocol.config import SupervisorConfig
from ..protocol.control import TO_OWNER, Died, Started, StartFailed, Stopped
from ..protocol.records import error_of
from ..protocol.requests import MAX_REPLY_BYTES
from ..protocol.session import frame
from ..protocol.wire import FrameReader
from ..shard_info import describe_exit
from ..system.descriptors import lifted, lifted_socket, take_standard_ones
from ..system.waits import milliseconds

_Word = TypeVar("_Word", Started, Stopped)
START_WITHIN: Final = 90.0
_MARGIN: Final = 2.0
_GONE_WITHIN: Final = 0.2
"""Seconds to wait for killed processes whose parent this process has become."""
# The application's path is appended before any other import. Appended, so that nothing in the current directory or
# beside a script shadows the standard library; before, so that packages on a path that the application has added are
# found. This package itself is loaded from the application's file: the path might lead to another version.
_BOOTSTRAP: Final = """
import sys
sys.path += [place for place in sys.argv[3:] if place not in sys.path]
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("spex_shards", sys.argv[2])
sys.modules["spex_shards"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["spex_shards"])
from spex_shards.runtime.supervisor.main import main
main(int(sys.argv[1]))
"""
_PACKAGE: Final = Path(__file__).resolve().parents[2] / "__init__.py"


class SupervisorOwner:
    """Starts one supervisor, and holds the socket to it; when that socket closes, the supervisor ends.

    Args:
        config: The supervisor's options.

    Attributes:
        pid: Its process id.
        pidfd: Becomes readable when it has ended; -1 once it is closed.
        warnings: The warnings of its start.
        why: Why it died, once it is reaped.

    Raises:
        DataDirError: No process could be started, or the supervisor cannot use the directory.
        SpexError: The supervisor could not start for another reason, which the text says.
    """

    def __init__(self, config: SupervisorConfig) -> None:
        try:
            take_standard_ones()
            ours, theirs = map(lifted_socket, socket.socketpair())
        except OSError as error:
            raise DataDirError(f"the supervisor process could not be started: {error}") from error
        self._socket = ours
        self._reader = FrameReader(MAX_REPLY_BYTES)
        self.warnings: list[str] = []
        self.why = ""
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOTSTRAP, str(theirs.fileno()), str(_PACKAGE), *search_path()],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *([config.lock] if config.lock >= 0 else [])],
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise DataDirError(f"the supervisor process could not be started: {error}") from error
        finally:
            theirs.close()
        self.pid = self._process.pid
        try:
            self.pidfd = lifted(os.pidfd_open(self.pid))
        except OSError as error:
            ours.close()
            self._process.kill()
            self._process.wait()
            raise DataDirError(f"the supervisor process could not be watched: {error}") from error
        try:
            self._tell(frame(config.plain()))
            self.warnings = self._answer(START_WITHIN)
            _orphans.reap()
        except BaseException:
            self.stop(0)
            raise

    def stop(self, within: float) -> list[str]:
        """Have the supervisor stop its workers and end; return a text for each thing that did not end properly.

        This takes at most `within` and a few seconds; then everything is killed. It may be called again.
        """
        if self.pidfd < 0:
            return []
        abnormal: list[str] = []
        try:
            self._socket.sendall(b"stop")
            abnormal = self._wait_for(Stopped, within + _MARGIN).abnormal if within else []
        except (OSError, SpexError):
            pass
        self._socket.close()
        try:
            self._process.wait(_MARGIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            abnormal.append(f"the supervisor (pid {self.pid}) did not stop by itself and was killed")
        self.let_go()
        _orphans.reap(self.pid)
        return abnormal

    def reap(self) -> str:
        """Reap a supervisor that has ended, and return why it ended; never waits for a running one."""
        code = self._process.poll()
        self.why = self.why or self._last_words() or self._describe(code)
        self._socket.close()
        self.let_go()
        if code is not None:
            _orphans.add(self.pid)
        return self.why

    def _last_words(self) -> str:
        said: list[Any] = []
        with suppress(OSError, ValueError):
            while data := self._socket.recv(65536, socket.MSG_DONTWAIT):
                said += map(TO_OWNER.read, self._reader.feed(data))
        for message in said:
            if isinstance(message, Died):
                return message.why
            if isinstance(message, Stopped):
                return "it was told to stop, by SIGTERM"
        return ""

    @staticmethod
    def _describe(code: int | None) -> str:
        if not code:  # `subprocess` also says 0 if other code has reaped the process, or SIGCHLD is ignored
            return "its exit status is not known"
        return describe_exit(-code if code < 0 else code << 8, sender="its owner")

    def let_go(self) -> None:
        """Close this process's descriptors, as a forked child does too, without telling the supervisor."""
        self._socket.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        self._process.returncode = self._process.returncode if self._process.returncode is not None else 0

    def _tell(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except ConnectionError:
            raise ShardDown(f"the supervisor (pid {self.pid}) ended unexpectedly", pid=self.pid) from None

    def _answer(self, within: float) -> list[str]:
        return self._wait_for(Started, within).warnings

    def _wait_for(self, word: type[_Word], within: float) -> _Word:
        deadline = time.monotonic() + within
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while time.monotonic() < deadline:
            if not poll.poll(milliseconds(deadline - time.monotonic())):
                continue
            try:
                data = self._socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                raise ShardDown(f"the supervisor (pid {self.pid}) ended unexpectedly", pid=self.pid)
            for message in map(TO_OWNER.read, self._reader.feed(data)):
                if isinstance(message, Died):
                    self.why = message.why
                    raise ShardDown(f"the supervisor (pid {self.pid}) died: {self.why}", pid=self.pid)
                if isinstance(message, StartFailed):
                    raise error_of(message.error)
                if isinstance(message, word):
                    return message
        text = f"the supervisor (pid {self.pid}) did not report that it has {word.__name__.lower()} within {within} s"
        raise ShardDown(text, pid=self.pid)


class _Orphans:
    """Processes of dead supervisors whose parent this process has become, as happens to process 1 of a container.

    Each supervisor has a process group of its own, with all its workers and their helpers. Only such groups are waited
    for, never another child of the application.
    """

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._pid = os.getpid()

    def add(self, group: int) -> None:
        """Add the process group of a supervisor that has died and was reaped; its processes may end later."""
        if self._pid != os.getpid():  # this is a forked child: the recorded groups belong to the parent
            self._groups, self._pid = set(), os.getpid()
        self._groups.add(group)
        self._sweep()

    def reap(self, *groups: int) -> None:
        """Reap processes that have ended, waiting up to 0.2 seconds for those that are about to end."""
        for group in groups:
            self.add(group)
        deadline = time.monotonic() + _GONE_WITHIN
        while self._pid == os.getpid() and self._sweep() and time.monotonic() < deadline:
            time.sleep(0.005)

    def _sweep(self) -> bool:
        """Reap processes that have ended; return whether any still run."""
        for group in list(self._groups):
            try:
                while os.waitpid(-group, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                self._groups.discard(group)
        return bool(self._groups)


_orphans = _Orphans()


def search_path() -> list[str]:
    """Return the application's `sys.path` without entries that cannot be paths; shards import handlers by it."""
    return [path for entry in sys.path if isinstance(entry, str) and (path := _path(entry))]


def _path(entry: str) -> str:
    try:
        os.fsencode(entry)
        return "" if "\0" in entry else entry or str(Path.cwd())
    except (UnicodeEncodeError, FileNotFoundError):  # the latter: the current directory was deleted
        return ""
