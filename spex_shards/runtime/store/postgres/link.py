"""One connection to PostgreSQL: statements that are prepared once, sent in one round trip, and waited for with a limit.

psycopg connects; the statements then go through its binding of libpq, because a batch is many bytes and few values. No
thread is used, and no wait is without an end or a sign of life.
"""

from __future__ import annotations

import select
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Final

from ....errors import DataDirError, StoreError
from ...system.waits import milliseconds
from ..failures import StoreLost
from .namespace import Namespace

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.pq.abc import PGconn, PGresult

OLDEST_SERVER: Final = 130000
_ALIVE_EVERY: Final = 1.0
_AGAIN: Final = 0.1
_CONNECT: Final = 5.0
_DEFAULTS: Final = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "target_session_attrs": "read-write",
}
"""Settings of a connection, where the URL says nothing else. A network that lets nothing through is noticed in 10 s."""
_SESSION: Final = (
    "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;"
    "SET default_transaction_isolation = 'read committed'; SET client_min_messages = 'warning';"
    # Each statement looks keys up. Plans are made while a table is small, and nothing is known of it; they must not
    # read the whole table when it is large.
    "SET plan_cache_mode = 'force_generic_plan'; SET enable_seqscan = off; SET enable_hashjoin = off;"
    "SET enable_mergejoin = off; SET enable_material = off; SET enable_sort = off; SET enable_bitmapscan = off;"
    "SET jit = off;"
)
_LASTING: Final = ("28", "3D", "3F", "42", "0A")
"""Classes of SQLSTATE (authorisation, no such database, no privilege, syntax) that trying again does not change."""
_BINARY: Final = 1


class Broken(Exception):
    """The connection is lost, or is not in order; the outcome of its last statement is not known."""


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a connection is waited for.

    Attributes:
        patience: Seconds to try to connect.
        answer: Seconds that a statement may take; infinity: as long as the server is connected.
        on_wait: Called every second meanwhile.
    """

    patience: float
    answer: float = inf
    on_wait: Callable[[], None] = lambda: None


class Link:
    """One connection, for one thread at a time. After `Broken`, `open` makes another.

    Args:
        namespace: Where the database is.
        name: What the connection is for, as PostgreSQL's list of sessions shows it.
        synchronous_commit: The setting of that name.
        wait: How long to wait.
        writes: Whether only a server that takes changes will do.

    Attributes:
        warned: Whether the last statement drew a warning. The server warns if it has committed a batch without waiting
            for its replica, for example.
    """

    def __init__(
        self, namespace: Namespace, name: str, synchronous_commit: str, wait: Wait, *, writes: bool = True
    ) -> None:
        self._namespace = namespace
        self._name = name
        self._synchronous_commit = synchronous_commit
        self._writes = writes
        self.wait = wait
        self._connection: Connection[Any] | None = None
        self._prepared: dict[str, bytes] = {}
        self._busy = self._left = False
        self.warned = False

    def open(self, deadline: float | None = None) -> None:
        """Connect anew, and try again until a monotonic time (None: `patience` seconds from now).

        Raises:
            StoreLost: No connection was made in time.
            DataDirError: The server refuses, or cannot be used.
        """
        self.close()
        until = time.monotonic() + self.wait.patience if deadline is None else deadline
        while True:
            try:
                self._connect(until)
                return
            except Broken as error:
                left = until - time.monotonic()
                if left <= 0:
                    text = f"PostgreSQL cannot be reached at {self._namespace.shown}: {error}"
                    raise StoreLost(text, place=self._namespace.shown) from None
                self.wait.on_wait()
                time.sleep(min(_AGAIN, left))

    def _connect(self, until: float) -> None:
        psycopg = imported()
        left = max(1, min(int(_CONNECT), int(until - time.monotonic()) + 1))
        settings = {**_DEFAULTS, "connect_timeout": str(left), "application_name": self._name}
        if not self._writes:
            del settings["target_session_attrs"]
        try:
            given = psycopg.conninfo.conninfo_to_dict(self._namespace.url)
        except psycopg.Error:  # its text may quote a part of a password
            text = f"the URL of the store cannot be read by PostgreSQL's library: {self._namespace.shown}"
            raise DataDirError(text, place=self._namespace.shown) from None
        try:
            connection = psycopg.connect("", autocommit=True, **{**settings, **given})
        except psycopg.Error as error:
            raise self._refused(error) from None
        try:
            self._prepare_session(connection)
        except psycopg.Error as error:
            connection.close()
            raise self._refused(error) from None
        except BaseException:
            connection.close()
            raise
        self._connection, self._prepared, self._busy = connection, {}, False

    def _prepare_session(self, connection: Connection[Any]) -> None:
        version = connection.info.server_version
        if version < OLDEST_SERVER:
            shown = f"{version // 10000}, and this version needs {OLDEST_SERVER // 10000} or later"
            text = f"the server at {self._namespace.shown} is PostgreSQL {shown}"
            raise DataDirError(text, place=self._namespace.shown)
        connection.add_notice_handler(self._notice)
        connection.execute(f"{_SESSION} SET synchronous_commit = '{self._synchronous_commit}'".encode())

    def _notice(self, diagnostic: Any) -> None:
        self.warned = self.warned or diagnostic.severity_nonlocalized == "WARNING"

    def _refused(self, error: Exception) -> Exception:
        """Return the exception for a connection that failed: `Broken` where another attempt may succeed."""
        text = self._namespace.cleaned(str(error))
        state = getattr(error, "sqlstate", None)
        # libpq reports no SQLSTATE for a connection that was refused, but the server's words; these states last.
        lasting = ("authentication failed", "no password supplied", " does not exist", "no pg_hba.conf entry")
        lasts = state.startswith(_LASTING) if state else any(words in text for words in lasting)
        if lasts and "No such file" not in text:
            return DataDirError(f"PostgreSQL refuses {self._namespace.shown}: {text}", place=self._namespace.shown)
        return Broken(text)

    def close(self) -> None:
        """Close the connection, if there is one; a statement that is being executed may still be completed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def another(self) -> Link:
        """Return a link to the same database, with the same settings, that is not open."""
        return Link(self._namespace, self._name, self._synchronous_commit, self.wait, writes=self._writes)

    def leave(self) -> None:
        """Close the connection as soon as no call is in the middle of using it."""
        self._left = True
        if not self._busy:
            self.close()

    @property
    def connection(self) -> Connection[Any]:
        """Psycopg's connection, for statements that are not executed often."""
        assert self._connection is not None
        return self._connection

    def run(self, statement: str, values: Sequence[bytes | None]) -> PGresult:
        """Execute a statement with binary values, and return its result, whose values are binary.

        Raises:
            Broken: The connection was lost, or a call on it was cut off; it is not known whether it was executed.
            StoreError: The server refused the statement, and nothing was changed; `sqlstate` in its context says why.
        """
        connection = self._connection
        if connection is None or self._busy:
            raise Broken("a call on the connection was cut off" if self._busy else "there is no connection")
        self._busy, self.warned = True, False
        try:
            result = self._execute(connection.pgconn, statement, values)
        except (imported().Error, OSError) as error:
            raise Broken(self._namespace.cleaned(str(error))) from None
        except StoreError:
            self._busy = False
            raise
        except BaseException:  # a signal handler's, in the middle of the statement: the next answer would be this one's
            self.close()
            raise
        finally:
            if self._left:
                self.close()
        self._busy = False
        return result

    def _execute(self, pgconn: PGconn, statement: str, values: Sequence[bytes | None]) -> PGresult:
        name = self._prepared.get(statement)
        if name is None:
            name = b"s%d" % len(self._prepared)
            pgconn.send_prepare(name, statement.encode())
            self._checked(self._result(pgconn))
            self._prepared[statement] = name
        pgconn.send_query_prepared(name, values, [_BINARY] * len(values), _BINARY)
        return self._checked(self._result(pgconn))

    def _result(self, pgconn: PGconn) -> PGresult:
        poll = select.poll()
        socket = pgconn.socket
        until = time.monotonic() + self.wait.answer
        while pgconn.flush():
            poll.register(socket, select.POLLIN | select.POLLOUT)
            self._poll(poll, until)
            pgconn.consume_input()
        poll.register(socket, select.POLLIN)
        found: PGresult | None = None
        while True:
            while pgconn.is_busy():
                self._poll(poll, until)
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                break
            found = result if found is None else found
        if found is None:
            raise Broken("the server gave no answer")
        return found

    def _poll(self, poll: select.poll, until: float) -> None:
        while not poll.poll(milliseconds(_ALIVE_EVERY)):
            self.wait.on_wait()
            if time.monotonic() > until:
                raise Broken(f"the server gave no answer within {self.wait.answer:g} s")

    def _checked(self, result: PGresult) -> PGresult:
        from psycopg.pq import DiagnosticField, ExecStatus

        if result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            return result
        state = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
        text = self._namespace.cleaned((result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"").decode())
        # Of class 57 ("operator intervention") and 08 (connection), and without a state: ask what became of it.
        if not state or state[:2] in ("57", "08", "25"):
            raise Broken(text or "the connection was lost")
        raise StoreError(f"PostgreSQL refused a statement: {text} (SQLSTATE {state})", sqlstate=state)


def imported() -> Any:
    """Return the module psycopg.

    Raises:
        DataDirError: It is not installed, or finds no libpq.
    """
    try:
        import psycopg
    except ImportError as error:
        text = "a store in PostgreSQL needs psycopg: install spex-shards[postgres]"
        raise DataDirError(f"{text} ({error})") from error
    return psycopg


def array(items: Sequence[bytes]) -> bytes:
    """Return an array of texts of bytes (bytea[]) in PostgreSQL's binary form."""
    if not items:
        return _NO_ITEMS
    parts = [_ARRAY(1, 0, _BYTEA, len(items), 1)]
    for item in items:
        parts.append(_int4(len(item)))
        parts.append(item)
    return b"".join(parts)


_BYTEA: Final = 17
_ARRAY: Final[Callable[..., bytes]] = struct.Struct(">iiIii").pack
_NO_ITEMS: Final = struct.pack(">iiI", 0, 0, _BYTEA)
_int4: Final[Callable[[int], bytes]] = struct.Struct(">i").pack
_int8: Final[Callable[[int], bytes]] = struct.Struct(">q").pack
int4, int8 = _int4, _int8


def number(value: bytes | None) -> int:
    """Return an integer of a result."""
    return int.from_bytes(value or b"", "big", signed=True)
