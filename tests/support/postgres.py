"""A private PostgreSQL server: started from Debian's package in a temporary folder, on a socket of its own.

One server serves all processes of a test run. The first that needs it starts it; a guard, which the server dies with,
waits until all of them have ended.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from .processes import wait_until

_DEBIAN: Final = Path("/usr/lib/postgresql")
_QUICK: Final = (
    "fsync=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=300", "autovacuum_naptime=600",
    "listen_addresses=", "log_min_messages=fatal", "max_wal_senders=4",
)  # fmt: skip


@cache
def binaries() -> Path | None:
    """Return the folder of the newest server's programs, or None if none is installed."""
    found = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def missing() -> str | None:
    """Return why tests that need PostgreSQL cannot run here, or None."""
    if importlib.util.find_spec("psycopg") is None:
        return "needs psycopg: pip install spex-shards[postgres]"
    if binaries() is None:
        return "needs a PostgreSQL server: apt-get install postgresql"
    if os.getuid() == 0 and not _account():
        return "needs an account for PostgreSQL's server, which does not run as root"
    return None


@cache
def _account() -> str:
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return ""


def _as_server() -> dict[str, Any]:
    """Return the arguments of `subprocess` for a process of the server's account: it refuses to run as root."""
    if os.getuid():
        return {}
    account = pwd.getpwnam(_account())
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


class Server:
    """A server in a folder of its own.

    Args:
        folder: The folder; it must be empty, or hold what an earlier server of this class left.
        settings: Settings, as ``name=value``, over those that make it quick.

    Attributes:
        url: The URL of its database ``postgres``.
    """

    def __init__(self, folder: Path, *settings: str) -> None:
        self.folder, self._data = folder, folder / "data"
        self._settings = (*_QUICK, f"unix_socket_directories={folder}", *settings)
        self.process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql:///postgres?host={folder}&user=spex"

    def create(self) -> None:
        """Create the database cluster."""
        if not os.getuid():
            os.chown(self.folder, pwd.getpwnam(_account()).pw_uid, -1)
        programs = binaries()
        assert programs is not None
        command = [programs / "initdb", "-D", self._data, "-U", "spex", "-A", "trust", "--no-sync", "--no-locale"]
        subprocess.run([*command, "-E", "UTF8"], check=True, stdout=subprocess.DEVNULL, cwd="/", **_as_server())

    def replicate(self, primary: Server) -> None:
        """Make the database cluster a replica of a running one."""
        if not os.getuid():
            os.chown(self.folder, pwd.getpwnam(_account()).pw_uid, -1)
        programs = binaries()
        assert programs is not None
        command = [
            programs / "pg_basebackup",
            "-D",
            self._data,
            "-h",
            primary.folder,
            "-U",
            "spex",
            "-R",
            "-X",
            "stream",
        ]
        subprocess.run([*command, "-c", "fast"], check=True, cwd="/", **_as_server())

    def promote(self) -> None:
        """Make the replica a server that takes writes, and wait until it is."""
        import psycopg

        def promoted() -> bool:
            with suppress(psycopg.Error), psycopg.connect(self.url, autocommit=True) as connection:
                row = connection.execute(b"SELECT pg_is_in_recovery()").fetchone()
                if row is not None and not row[0]:
                    return True
                connection.execute(b"SELECT pg_promote(false)")
            return False

        wait_until(promoted, "the replica takes writes")

    def pids(self) -> list[int]:
        """Return the server's processes."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        programs = binaries()
        assert programs is not None
        settings = [part for setting in self._settings for part in ("-c", setting)]
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [programs / "postgres", "-D", self._data, *settings],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True, **_as_server(),
        )  # fmt: skip
        log.close()
        wait_until(self.answers, "the server accepts connections")

    def answers(self) -> bool:
        """Return whether the server accepts connections."""
        import psycopg

        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with suppress(psycopg.Error):
            psycopg.connect(self.url).close()
            return True
        return False

    def set(self, name: str, value: str) -> None:
        """Change a setting of the running server."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute(b"SELECT pg_reload_conf()")

    def checkpoint(self) -> None:
        """Have the running server write everything to its disk."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(b"CHECKPOINT")

    def stop(self, how: int = signal.SIGQUIT) -> None:
        """Stop the server by a signal, and wait for its end; SIGKILL goes to all of its processes."""
        if self.process is None:
            return
        pids = self.pids()
        process, self.process = self.process, None
        if how == signal.SIGKILL:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, how)
        else:
            process.send_signal(how)
        process.wait(30)


def drop(url: str, namespace: str) -> None:
    """Remove a namespace, if there is one."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "{namespace}" CASCADE'.encode())


@contextmanager
def server(*settings: str, replica_of: Server | None = None) -> Iterator[Server]:
    """Return a server of one's own within a ``with`` block."""
    # Not in pytest's folders, whose parents only the user may enter; and a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="spex-pg-", dir="/tmp") as folder:
        one = Server(Path(folder), *settings)
        if replica_of is None:
            one.create()
        else:
            one.replicate(replica_of)
        one.start()
        try:
            yield one
        finally:
            one.stop()


def shared_url(folder: Path) -> str:
    """Return the URL of the test run's server; `folder` is common to all processes of the run."""
    with (folder / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        note = folder / "postgres.url"
        if not note.exists():
            guard = [sys.executable, "-m", "tests.support.postgres", str(_run_of(folder))]
            with subprocess.Popen(
                guard, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True, text=True,
                cwd=Path(__file__).resolve().parents[2],
            ) as started:  # fmt: skip
                assert started.stdout is not None
                note.write_text(started.stdout.readline().strip())
        return note.read_text()


def _run_of(folder: Path) -> int:
    """Return the process whose end is the end of the test run: the parent of pytest-xdist's workers, or this one."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


def _guard(run: int) -> None:
    if os.fork():
        os._exit(0)  # so the guard is no child of the process that starts it, which may prove that it leaves none
    with server() as one:
        print(one.url, flush=True)
        os.close(1)
        while Path(f"/proc/{run}").exists():
            time.sleep(0.2)


if __name__ == "__main__":
    _guard(int(sys.argv[1]))
