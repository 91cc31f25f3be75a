"""PostgreSQL by psycopg 3 over its unix socket: a step is one call of a function in the database."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..lights import ALLOWED, KEYS, Step, in_portions
from . import Missing, package, program

COMMIT = {"process": "off", "disk": "on"}
"""Without synchronous_commit a power loss costs up to three times wal_writer_delay (200 ms), and a kill nothing."""
FOLDERS = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
SCHEMA = f"""
create table instances(key text primary key, number int, seq int, last bigint, state text) with (fillfactor = 50);
create table history(number int, seq int, time bigint, action text, state text, primary key(number, seq));
create function step(k text, a text, s text, now bigint) returns void language plpgsql as $$
declare n int; q int; before text;
begin
    select number, seq, state into strict n, q, before from instances where key = k for update;
    if (before, a, s) not in ({", ".join(map(str, sorted(ALLOWED)))}) then raise 'not allowed'; end if;
    update instances set seq = q + 1, last = now, state = s where key = k;
    insert into history values (n, q + 1, now, a, s);
end $$;
"""


@contextmanager
def server(durability: str) -> Iterator[str]:
    """Run a server of its own; return the folder of its socket. It runs as another user if this one is root.

    Raises:
        Missing: It is not installed.
    """
    initdb, postgres = (program(name, "postgresql", *FOLDERS) for name in ("initdb", "postgres"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        try:
            entry = pwd.getpwnam("postgres")
        except KeyError:
            raise Missing("there is no user postgres for the server to run as (Debian's package postgresql)") from None
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    folder = tempfile.mkdtemp(prefix="spex-postgres-")
    if user:
        os.chown(folder, user["user"], user["group"])
    try:
        quiet: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **user}
        command = [
            initdb,
            "-D",
            folder + "/data",
            "-A",
            "trust",
            "-U",
            "bench",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run(command, check=True, **quiet)
        options = {
            "listen_addresses": "", "unix_socket_directories": folder, "shared_buffers": "256MB",
            "synchronous_commit": COMMIT[durability],
        }  # fmt: skip
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        running = subprocess.Popen([postgres, "-D", folder + "/data", *settings], **quiet)
        try:
            yield folder
        finally:
            running.send_signal(2)  # a fast shutdown
            running.wait(60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class InPostgres:
    """Lights in a database; a transaction for each step, or for a portion of what is posted."""

    _STEP = "select step(%s, %s, %s, %s)"

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        connection.execute(SCHEMA)
        for number, key in enumerate(KEYS):
            connection.execute("insert into instances values (%s, %s, 0, 0, 'red')", (key, number))
        self._cursor = connection.cursor()

    def step(self, key: str, action: str, state: str) -> None:
        self._cursor.execute(self._STEP, (key, action, state, time.time_ns() // 1000), prepare=True)

    def post_all(self, steps: Sequence[Step]) -> None:
        for portion in in_portions(steps):
            with self._connection.pipeline():
                for key, action, state in portion:
                    self.step(key, action, state)

    def entries(self) -> int:
        return self._connection.execute("select count(*) from history").fetchone()[0]  # type: ignore[no-any-return]


@contextmanager
def lights(folder: Path, durability: str) -> Iterator[InPostgres]:  # noqa: ARG001 - the server's user has no access
    """Open lights in a server of their own."""
    psycopg = package("psycopg")
    with server(durability) as socket:
        deadline = time.monotonic() + 30
        while True:
            with suppress(psycopg.OperationalError):
                connection = psycopg.connect(host=socket, user="bench", dbname="postgres", autocommit=True)
                break
            if time.monotonic() > deadline:
                raise RuntimeError("the PostgreSQL server does not answer")
            time.sleep(0.05)
        with connection:
            yield InPostgres(connection)
