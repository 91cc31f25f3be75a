"""Reads histories out of the tables of a namespace, and notes each batch in a ledger beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from spex_shards.engine.rows import instance_row, key_of
from spex_shards.runtime.protocol import records
from spex_shards.runtime.protocol.codec import canonical
from spex_shards.runtime.store.keys import u64

from .history import Batch, Entry, Stored

LEDGER: Final = """
CREATE SCHEMA IF NOT EXISTS histories;
CREATE TABLE histories.ledger (at bigserial, shard int, epoch bigint, seq bigint, transaction bigint, backend int,
    claims boolean, PRIMARY KEY (shard, at));
CREATE FUNCTION histories.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO histories.ledger (shard, epoch, seq, transaction, backend, claims) VALUES (NEW.shard, NEW.epoch,
        NEW.seq, pg_current_xact_id()::xid::text::bigint, pg_backend_pid(), NEW.epoch <> OLD.epoch);
    RETURN NULL;
END $$;
CREATE TRIGGER note AFTER UPDATE ON "{namespace}".owners FOR EACH ROW EXECUTE FUNCTION histories.note();
"""
"""The trigger runs in each batch's transaction, while the owner's row is locked: so it sees the batches in order."""


class Rows:
    """The rows of a namespace.

    Args:
        namespace: The schema.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._newest: dict[int, Batch] = {}

    def keep_ledger(self, url: str) -> None:
        """Begin to note each batch."""
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(LEDGER.format(namespace=self._namespace).encode())

    def read(self, url: str, instances: Sequence[str]) -> Stored:
        """Return what is stored of some instances, and the batches since the last call; all of one moment."""
        import psycopg

        with psycopg.connect(url) as connection:
            connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            found = Stored({}, {}, [])
            for instance in instances:
                self._read_one(connection, instance, found)
            found.batches.extend(self._batches(connection))
        return found

    def _read_one(self, connection: Any, instance: str, found: Stored) -> None:
        rows = connection.execute(
            f'SELECT shard, value FROM "{self._namespace}".t_instances WHERE key = %s AND shard IN'
            f' (SELECT shard FROM "{self._namespace}".owners)'.encode(),
            (key_of(canonical(instance)),),
        ).fetchall()
        assert len(rows) <= 1, f"{instance} is on {len(rows)} shards"
        for shard, value in rows:
            number = u64(instance_row(value).number)
            entries = connection.execute(
                f'SELECT key, value, xmin::text::bigint FROM "{self._namespace}".t_history'
                " WHERE shard = %s AND key >= %s AND key < %s ORDER BY key".encode(),
                (shard, number, number + b"\xff" * 9),
            )
            found.shards[instance] = shard
            found.entries[instance] = [
                Entry(int.from_bytes(key[8:], "big"), records.unseal(row, "an entry")[2], transaction)
                for key, row, transaction in entries
            ]

    def _batches(self, connection: Any) -> list[Batch]:
        """Return the batches since the last call; each shard's last one is repeated, as what the next one follows."""
        batches: list[Batch] = []
        for (shard,) in connection.execute(f'SELECT shard FROM "{self._namespace}".owners'.encode()).fetchall():
            before = self._newest.get(shard)
            rows = connection.execute(
                b"SELECT shard, at, epoch, seq, transaction, backend, claims FROM histories.ledger"
                b" WHERE shard = %s AND at > %s ORDER BY at",
                (shard, before.at if before else 0),
            )
            found = [Batch(*row) for row in rows]
            batches += ([before] if before else []) + found
            if found:
                self._newest[shard] = found[-1]
        return batches
