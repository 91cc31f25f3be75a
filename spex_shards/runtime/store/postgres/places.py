"""A namespace: the stores of all shards in one schema of a PostgreSQL database."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from math import inf
from typing import Any, Final, NamedTuple
from uuid import UUID

from ....errors import DataDirError, LayoutMismatch, SpexError, StoreError
from ...data_dir import DataDir
from ...protocol.routing import HASH_NAME
from ..failures import StoreLost
from ..note import check_elsewhere, check_not_own, unusable
from ..port import TABLES, StoreOptions
from .claimant import Claimant
from .link import Broken, Link, Wait, imported, int8, number
from .namespace import Namespace
from .postgres_store import PostgresStore
from .snapshot import SnapshotStore
from .statements import VERSION, Statements, schema

COMMITS: Final = {"disk": "on", "process": "off", "remote_apply": "remote_apply"}
"""Durability → the setting ``synchronous_commit`` of the connections that write."""
READY: Final = "ready"
CLUSTER: Final = "a cluster"
"""The holder of a namespace that the members of a cluster use together."""
_PATIENCE: Final = 20.0
_PATIENCE_HERE: Final = 5.0
_LOOKS: Final = 5.0
_TO_START: Final = 5.0
_TO_LEAVE: Final = 0.5
_ANSWER: Final = 10.0
_NO_TABLE: Final = ("42P01", "3F000")
_NO_COLUMN: Final = "42703"
_LOCK: Final = 0x53504558  # of the advisory lock under which schemas are created: "SPEX"


class NamespaceRow(NamedTuple):
    """What a namespace says of itself.

    Attributes:
        version: The version of its tables.
        cluster: Its identity, which it got when it was created.
        shards: The number of its shards.
        hash: The hash function by which it routes.
        term: How often a manager has begun to use it.
        holder: Who began the present term; empty: nobody uses it.
        state: `READY`, or what is being done with it.
        other: The other place of an unfinished move, and what else belongs to the state.
    """

    version: int
    cluster: Any
    shards: int
    hash: str
    term: int
    holder: str
    state: str
    other: str


class PostgresStores:
    """The stores of a namespace.

    Before it opens stores, a manager begins a *term*; whoever began the term before can claim no shard any more.

    Args:
        namespace: The namespace.
        durability: ``"disk"``, ``"process"`` or ``"remote_apply"``.
        directory: The data directory whose shards' stores these are; None: of none.
        user: Who uses it, in the words of an operator; empty: the directory on this machine, or this process.
        joins: Whether it is used by a cluster, of which this is a member: all members share one term.
    """

    def __init__(
        self,
        namespace: Namespace,
        durability: str = "disk",
        directory: DataDir | None = None,
        *,
        user: str = "",
        joins: bool = False,
    ) -> None:
        self.namespace = namespace
        self._commits = COMMITS[durability]
        self._directory = directory
        here = f"process {os.getpid()}" if directory is None else str(directory.path)
        self._user = user or f"{here} on {socket.gethostname()}"
        self._joins = joins
        self._statements = Statements(namespace.name)
        self._term = 0
        self._cluster = b""
        self._present: frozenset[int] | None = None

    # ------------------------------------------------------------------ the namespace

    def look(self) -> NamespaceRow | None:
        """Return what the namespace says of itself, or None if there is none.

        Raises:
            StoreLost: The server cannot be reached.
            DataDirError: It refuses, or the namespace belongs to another version.
        """
        with self._session(writes=False) as session:
            return self._read(session)

    def begin(self, shards: int, *, resumes: bool = False) -> list[str]:
        """Begin a term, and create the namespace if there is none; return a warning if another manager has not left it.

        Args:
            shards: The number of shards.
            resumes: Whether this user had a term before, so that the namespace is left to whoever else holds it now.

        Raises:
            LayoutMismatch: It was made for another number of shards.
            StoreLost: The server cannot be reached.
            DataDirError: It cannot be used, is left to another, or the data directory belongs to other stores.
        """
        with self._session() as session:
            found = self._read(session)
            if found is None and self._directory is not None:
                check_not_own(self._directory, self.namespace.shown)
            found = found or self._created(session, shards, READY)
            self.check(found, shards)
            if self._directory is not None:
                check_elsewhere(self._directory, self.namespace.shown, found.cluster.bytes)
                self._directory.check_layout(shards)
            held = self._begun(session, resumes=resumes)
        if not held:
            return []
        return [f"{self.namespace.shown} is taken over from {held}, which can store nothing there any more"]

    def owners(self) -> dict[int, str]:
        """Return who has claimed each shard, as the owner has named itself; shards that nobody ever had are left out.

        Raises:
            StoreLost: The server cannot be reached.
            DataDirError: It refuses, or there is no such namespace.
        """
        with self._session(writes=False) as session:
            text = f"SELECT shard, owner FROM \"{self.namespace.name}\".owners WHERE owner <> ''"
            return {number(shard): _text(owner) for shard, owner in self._rows(session, text)}

    def make(self, shards: int, state: str, other: str) -> NamespaceRow:
        """Create the namespace in a state that is not ready, for a move into it; return what it says of itself."""
        with self._session() as session:
            return self._read(session) or self._created(session, shards, state, other)

    def take(self) -> str:
        """Begin a term whatever the namespace's state is, as `begin` does."""
        with self._session() as session:
            return self._begun(session)

    def leave(self) -> None:
        """Note that nobody uses the namespace any more, if the term is still this one's and the server answers.

        The last member that leaves a cluster is not known, so the namespace stays the cluster's.
        """
        if self._joins:
            return
        text = f'UPDATE "{self.namespace.name}".place SET holder = $1::text WHERE term = $2::bigint'
        with suppress(SpexError), _Session(self._link("spex_shards", _TO_LEAVE, answer=_TO_LEAVE)) as session:
            self._rows(session, text, b"", int8(self._term))

    def mark(self, state: str, other: str = "") -> None:
        """Set the namespace's state."""
        with self._session() as session:
            text = f'UPDATE "{self.namespace.name}".place SET state = %s, other = %s'
            session.connection.execute(text.encode(), (state, other))

    def clear(self, state: str, other: str) -> None:
        """Delete all rows of all shards, and set the namespace's state, at once."""
        name = self.namespace.name
        with self._session() as session, session.connection.transaction():
            tables = ", ".join(f'"{name}".t_{table}' for table in TABLES)
            session.connection.execute(f"TRUNCATE {tables}".encode())
            text = f'UPDATE "{name}".place SET state = %s, other = %s'
            session.connection.execute(text.encode(), (state, other))

    def check(self, place: NamespaceRow, shards: int | None = None) -> None:
        """Check that a namespace may be used, and that it has this number of shards.

        Raises:
            LayoutMismatch: It has another number.
            DataDirError: It is being moved, has been moved, or routes otherwise.
        """
        shown = self.namespace.shown
        if place.hash != HASH_NAME:
            text = f"{shown} routes by {place.hash!r}, and this version by {HASH_NAME!r}; "
            raise DataDirError(f"{text}open it with the version that wrote it", place=shown)
        if place.state != READY:
            raise DataDirError(unusable(shown, place.state, place.other), place=shown)
        if shards is not None and place.shards != shards:
            text = f"{shown} was made for {place.shards} shards, not {shards}"
            raise LayoutMismatch(text, found=place.shards, wanted=shards, place=shown)

    def _session(self, *, writes: bool = True) -> _Session:
        wait = Wait(_TO_START, answer=_ANSWER)
        return _Session(Link(self.namespace, "spex_shards", "on", wait, writes=writes))  # whatever batches wait for

    def _rows(self, session: Link, statement: str, *values: bytes) -> list[tuple[bytes, ...]]:
        """Execute a statement, and return its rows, none of which has a NULL.

        Raises:
            StoreLost: The server does not answer in time.
            StoreError: It refuses the statement.
        """
        try:
            result = session.run(statement, values)
        except Broken as error:
            shown = self.namespace.shown
            raise StoreLost(f"PostgreSQL does not answer at {shown}: {error}", place=shown) from None
        columns = range(result.nfields)
        return [tuple(result.get_value(row, column) or b"" for column in columns) for row in range(result.ntuples)]

    def _link(self, name: str, patience: float, **options: Any) -> Link:
        writes = options.pop("writes", True)
        return Link(self.namespace, name, self._commits, Wait(patience, **options), writes=writes)

    def _read(self, session: Link) -> NamespaceRow | None:
        shown, state = self.namespace.shown, ""
        rows: list[tuple[bytes, ...]] = []
        try:
            text = "SELECT version, cluster, shards, hash, term, holder, state, other"
            rows = self._rows(session, f'{text} FROM "{self.namespace.name}".place')
        except StoreLost:
            raise
        except StoreError as error:
            state = str(error.context["sqlstate"])
            if state in _NO_TABLE:
                return None
            if state != _NO_COLUMN:
                raise self._refused(error) from None
        if not rows or number(rows[0][0]) != VERSION:
            found = f"version {number(rows[0][0])}" if rows else "no known version"
            text = f"{shown} has tables of {found}, and this version reads version {VERSION}; "
            raise DataDirError(f"{text}open it with the version that wrote it", place=shown)
        version, cluster, shards, hashed, term, *texts = rows[0]
        return NamespaceRow(
            number(version), UUID(bytes=cluster), number(shards), _text(hashed), number(term), *map(_text, texts)
        )

    def _created(self, session: Link, shards: int, state: str, other: str = "") -> NamespaceRow:
        psycopg, schema_name, connection = imported(), self.namespace.name, session.connection
        try:
            with connection.transaction():
                connection.execute(b"SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, schema_name))
                there = connection.execute(b"SELECT to_regclass(%s)", (f'"{schema_name}".place',)).fetchone()
                if there is None or there[0] is None:
                    for statement in schema(schema_name):
                        connection.execute(statement.encode())
                    values = (VERSION, shards, HASH_NAME, state, other)
                    connection.execute(
                        f'INSERT INTO "{schema_name}".place VALUES'
                        " (%s, gen_random_uuid(), %s, %s, 0, '', %s, %s)".encode(), values
                    )  # fmt: skip
                    connection.execute(
                        f'INSERT INTO "{schema_name}".owners'
                        " SELECT n, 0, '', 0, 0, '', NULL FROM generate_series(0, %s - 1) AS n".encode(), (shards,)
                    )  # fmt: skip
        except psycopg.Error as error:
            raise self._refused(error) from None
        found = self._read(session)
        assert found is not None
        return found

    def _begun(self, session: Link, *, resumes: bool = False) -> str:
        """Begin a term, or join the present one if it is a cluster's; return who began the one before, or nothing."""
        holder = CLUSTER if self._joins else self._user
        statement = (
            f'UPDATE "{self.namespace.name}".place p SET holder = $1::text,'
            " term = p.term + CASE WHEN $2::boolean AND old.holder = $1 THEN 0 ELSE 1 END"
            f' FROM (SELECT holder FROM "{self.namespace.name}".place FOR UPDATE) old'
            " WHERE NOT $3::boolean OR old.holder IN ('', $1) RETURNING p.term, p.cluster, old.holder"
        )
        try:
            rows = self._rows(session, statement, holder.encode(), _boolean(self._joins), _boolean(resumes))
        except StoreLost:
            raise
        except StoreError as error:
            raise self._refused(error) from None
        if not rows:
            now, shown = self._read(session), self.namespace.shown
            text = f"{shown} was taken over by {now.holder if now else 'another manager'}, which is left to use it: "
            raise DataDirError(f"{text}to take it back, start a new manager", place=shown)
        term, self._cluster, before = rows[0]
        self._term = number(term)
        return "" if _text(before) == holder else _text(before)

    def _refused(self, error: Exception) -> DataDirError:
        shown = self.namespace.shown
        return DataDirError(f"{shown} cannot be used: {self.namespace.cleaned(str(error))}", place=shown)

    # ------------------------------------------------------------------ the stores

    def exists(self, shard: int) -> bool:
        """Return whether a shard has a store."""
        if self._present is None:
            found = self.look()
            self._present = frozenset(range(found.shards) if found is not None else ())
        return shard in self._present

    def open(self, shard: int, options: StoreOptions) -> PostgresStore:
        """Claim a shard, and return its store; `begin` or `take` must have been called."""
        patience = _PATIENCE if options.waits_for_room else _PATIENCE_HERE
        wait: dict[str, Any] = {"on_wait": options.on_wait}
        if not options.waits_for_room:  # a call of the application waits for it
            wait["answer"] = _PATIENCE_HERE
        link = self._link(f"spex_shards {self.namespace.name} {shard}", patience, **wait)
        looks = _LOOKS if self._joins else inf
        claimant = Claimant(self._term, self._cluster, self._user, options.resumes, looks)
        return PostgresStore(link, self._statements, shard, claimant)

    def view(self, shard: int) -> SnapshotStore:
        """Open a shard's store as it is now, for reading; what is written later is not seen."""
        link = self._link(f"spex_shards reads {self.namespace.name} {shard}", _TO_START, writes=False)
        return SnapshotStore(link, self._statements, shard)


def _text(value: bytes) -> str:
    return value.decode()


def _boolean(value: bool) -> bytes:
    return b"\x01" if value else b"\x00"


class _Session:
    """A connection within a ``with`` block."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def __enter__(self) -> Link:
        self._link.open()
        return self._link

    def __exit__(self, *_: object) -> None:
        self._link.close()
