"""A deployment on this machine: `spex-shards serve` over a private PostgreSQL server, or over two that replicate."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import spex_shards as spex
from tests.support.postgres import Server, server
from tests.support.processes import wait_until

from .deployment import Fault, Remarks
from .history import Stored
from .proxying import Cutting
from .serving import LACKS, TIMED_OUT, Owner
from .specs import Chain, Timed
from .stored import Rows

NAMESPACE = "under_faults"
CALL_TIMEOUT = 2.5


class Local:
    """An owner that serves the shards, and the database.

    Args:
        shards: The number of shards.
        replicated: Whether there is a synchronous replica. If not, connections go through a proxy that can cut them.
        breakage: How the shards are broken on purpose; empty: they are not.

    Attributes:
        replicated: Whether there is a replica.
        primary: The server that takes writes.
        replica: Its replica.
        proxy: The proxy.
        owner: The owner that serves now.
        counts: What was seen.
    """

    def __init__(self, *, shards: int = 2, replicated: bool = False, breakage: str = "") -> None:
        self._shards, self.replicated, self._breakage = shards, replicated, breakage
        self._stack = ExitStack()
        self._rows = Rows(NAMESPACE)
        self._owners: list[Owner] = []
        self._read_upto: dict[Owner, int] = {}
        self._heard_upto: dict[Owner, int] = {}
        self._url = ""
        self.counts = Remarks()
        self.proxy: Cutting | None = None
        self.replica: Server | None = None
        self.primary: Server
        self.owner: Owner

    @cached_property
    def faults(self) -> Mapping[str, Fault]:
        """The faults that can be made."""
        from .faults import faults_of

        return faults_of(self)

    # ------------------------------------------------------------------ start and stop

    def start(self) -> None:
        """Start the database and an owner."""
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="spex-histories-")))
        self.primary = self._stack.enter_context(server())
        if self.replicated:
            self.replica = self._stack.enter_context(server(replica_of=self.primary))
            self._url = f"postgresql:///postgres?host={self.primary.folder},{self.replica.folder}&user=spex"
            wait_until(self.replicates, "the replica streams")
            self.primary.set("synchronous_standby_names", "*")
        else:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="spex-pg-", dir="/tmp"))
            self.proxy = Cutting(Path(folder), self.primary.folder / ".s.PGSQL.5432")
            self._stack.callback(self.proxy.stop)
            self._url = f"postgresql:///postgres?host={folder}&user=spex"
        self.new_owner()
        self._rows.keep_ledger(self.primary.url)

    def new_owner(self) -> None:
        """Start an owner with a data directory of its own, as on another machine; it takes the namespace over."""
        folder = self._folder / f"owner{len(self._owners)}"
        owner = Owner(folder, self._store, self._shards, self._breakage, self._more())
        self._owners.append(owner)
        self._stack.callback(owner.kill)
        owner.start()
        self.owner = owner

    @property
    def _store(self) -> str:
        return f"{self._url}&namespace={NAMESPACE}"

    def _more(self) -> Sequence[object]:
        """Return further arguments of each owner."""
        return ()

    def stop(self) -> None:
        """Stop everything."""
        self._stack.close()

    # ------------------------------------------------------------------ for clients

    def connect(self) -> Any:
        """Return a manager that is attached to the present owner."""
        return spex.connect(self.owner.data_dir, specifications=(Chain, Timed), call_timeout=CALL_TIMEOUT)

    def place(self) -> object:
        """Return the present owner."""
        return self.owner

    def tend(self) -> int:
        """Start the owner again, if it has given up: as where its supervisor takes too long to come back."""
        process = self.owner.process
        if process is None or process.poll() is None:
            return 0
        self.counts.add("owners that gave up, and were started again")
        self.owner.start()
        return 1

    # ------------------------------------------------------------------ for the verdict

    def stored(self, instances: Sequence[str]) -> Stored:
        """Return what the primary holds."""
        return self._rows.read(self.primary.url, instances)

    def noticed(self) -> set[int]:
        """Return the shards whose owners have logged that the store lacks batches."""
        return {int(found) for text in self._unread(self._read_upto) for found in LACKS.findall(text)}

    def heard(self) -> Sequence[str]:
        """Return the instances whose timeouts the owners have logged: they attach to their shards as clients do."""
        return [found for text in self._unread(self._heard_upto) for found in TIMED_OUT.findall(text)]

    def _unread(self, upto: dict[Owner, int]) -> list[str]:
        texts = []
        for owner in self._owners:
            complete = owner.log().rpartition("\n")[0]
            texts.append(complete[upto.get(owner, 0) :])
            upto[owner] = len(complete)
        return texts

    def remarks(self) -> Mapping[str, int]:
        """Return what was seen."""
        return self.counts.counts

    # ------------------------------------------------------------------ the replica

    def replicates(self) -> bool:
        """Return whether the replica has received everything."""
        rows = self.sql(
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn >= pg_current_wal_lsn()"
        )
        return bool(rows[0][0])

    def sql(self, text: str) -> list[Any]:
        """Execute a statement on the primary, past the proxy."""
        import psycopg

        with psycopg.connect(self.primary.url, autocommit=True) as connection:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    def fail_over(self) -> None:
        """Kill the primary, and promote the replica."""
        assert self.replica is not None
        self.primary.stop(signal.SIGKILL)
        if self.replica.process is None:
            self.replica.start()
        self.replica.promote()
        self.primary, self.replica = self.replica, self.primary
