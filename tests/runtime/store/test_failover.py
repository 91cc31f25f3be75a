"""A server with a streaming replica is lost, and the replica is promoted: what is kept, and what is noticed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.runtime.store import StoreLost
from spex_shards.runtime.store.port import StoreOptions
from spex_shards.runtime.store.postgres.namespace import Namespace
from spex_shards.runtime.store.postgres.places import PostgresStores
from tests.support.postgres import Server, server
from tests.support.processes import wait_until
from tests.support.writers import Writers

pytestmark = [pytest.mark.postgres, pytest.mark.process, pytest.mark.long]
TABLE = "instances"


class Pair:
    """A server and its replica.

    Attributes:
        url: The URL that names both.
    """

    def __init__(self, primary: Server, replica: Server) -> None:
        self.primary, self.replica = primary, replica
        self.url = f"postgresql:///postgres?host={primary.folder},{replica.folder}&user=spex"

    def replicated(self) -> bool:
        """Return whether the replica has received everything."""
        import psycopg

        with psycopg.connect(self.primary.url, autocommit=True) as connection:
            row = connection.execute(
                b"SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
                b" AND replay_lsn >= pg_current_wal_lsn()"
            ).fetchone()
        return row is not None and bool(row[0])

    def lose(self) -> None:
        """Kill the primary, and promote the replica."""
        self.primary.stop(signal.SIGKILL)
        self.replica.promote()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return a server with a replica that receives all changes."""
    with server() as primary, server(replica_of=primary) as replica:
        made = Pair(primary, replica)
        wait_until(made.replicated, "the replica streams")
        yield made


@pytest.mark.parametrize("durability", ["disk", "remote_apply"])
def test_a_failover_to_a_synchronous_replica_loses_nothing(
    pair: Pair, places: dict[str, Path], durability: Any
) -> None:
    """Writers go on at the replica; each history has exactly the transitions that were acknowledged."""
    pair.primary.set("synchronous_standby_names", "*")
    with spex.ShardedInstanceManager(
        **places, distribution_factor=2, store=pair.url, durability=durability, call_timeout=60.0, learning_mode=True
    ) as manager:
        writers = Writers(manager, 4)
        writers.wait(20)
        pair.lose()
        writers.wait(20)
        writers.check()


def test_a_commit_whose_wait_for_the_replica_is_cut_off_is_acknowledged_after_another(pair: Pair) -> None:
    """It is visible at the server without being at the replica; so the owner waits until the replica has it."""
    import psycopg

    stores = PostgresStores(Namespace.of(pair.url))
    stores.begin(1)
    store = stores.open(0, StoreOptions("disk"))
    pair.primary.set("synchronous_standby_names", "*")
    for pid in pair.replica.pids():
        os.kill(pid, signal.SIGSTOP)
    writing = threading.Thread(target=store.apply, args=({TABLE: {b"k": b"x"}},))
    with psycopg.connect(pair.primary.url, autocommit=True) as connection:

        def waiting() -> set[int]:
            query = b"SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            return {pid for (pid,) in connection.execute(query)}

        writing.start()
        first = wait_until(waiting, "the batch waits for the replica")
        connection.execute(b"SELECT pg_terminate_backend(%s)", (min(first),))
        second = wait_until(lambda: waiting() - first, "another commit waits for the replica")
        assert store.last == 0
        assert second
        for pid in pair.replica.pids():
            os.kill(pid, signal.SIGCONT)
        writing.join(60)
    assert store.last == 2
    assert store.get(TABLE, b"k") == b"x"
    store.close()


def test_a_failover_to_a_replica_that_lacks_batches_is_noticed(pair: Pair) -> None:
    """The owner is told what is there and what it had; whoever claims the shard goes on with what is there."""
    stores = PostgresStores(Namespace.of(pair.url))
    stores.begin(1)
    store = stores.open(0, StoreOptions("disk"))
    store.apply({TABLE: {b"kept": b"x"}})
    wait_until(pair.replicated, "the replica has the batch")
    pair.replica.stop(signal.SIGKILL)
    for number in range(3):
        store.apply({TABLE: {b"lost %d" % number: b"x"}})
    pair.primary.stop(signal.SIGKILL)
    pair.replica.start()
    pair.replica.promote()
    with pytest.raises(StoreLost, match="the store has 1 batches, where this owner had 4"):
        store.apply({TABLE: {b"more": b"x"}})
    store.close()
    again = stores.open(0, StoreOptions("disk"))
    assert again.get(TABLE, b"kept") == b"x"
    assert again.get(TABLE, b"more") is None
    again.close()
