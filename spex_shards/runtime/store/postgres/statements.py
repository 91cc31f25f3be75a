"""The SQL of a namespace: its tables, and the statements on them.

::

    place      one row: what the namespace is, and whose term it is
    owners     for each shard: who owns it (epoch, claim), and how many batches it has (seq)
    t_TABLE    the rows of one table of the port, of all shards

`seq` grows by one with each batch, whatever is claimed. `epoch` grows with each claim. `claim` is random: a server that
lost a claim, as a replica may that was promoted, could give an epoch out twice, but never a claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from ..port import TABLES

VERSION: Final = 1
_REWRITTEN: Final = frozenset({"instances", "clients", "layout", "jobs", "rows", "deviations", "outbox"})
"""Tables whose rows are rewritten in place: room in each page keeps their indexes unchanged."""
_QUEUES: Final = frozenset({"deadlines", "parked", "prunable", "outbox", "answers", "garbage"})
"""Tables that are emptied at one end: what was deleted must be vacuumed soon."""


def schema(namespace: str) -> list[str]:
    """Return the statements that create a namespace's schema and tables."""
    made = [
        f'CREATE SCHEMA IF NOT EXISTS "{namespace}"',
        f"""CREATE TABLE "{namespace}".place (version int NOT NULL, cluster uuid NOT NULL, shards int NOT NULL,
            hash text NOT NULL, term bigint NOT NULL, holder text NOT NULL, state text NOT NULL, other text NOT NULL,
            one boolean PRIMARY KEY DEFAULT true CHECK (one))""",
        f"""CREATE TABLE "{namespace}".owners (shard int PRIMARY KEY, epoch bigint NOT NULL, claim bytea NOT NULL,
            seq bigint NOT NULL, term bigint NOT NULL, owner text NOT NULL, since timestamptz)
            WITH (fillfactor = 10)""",
    ]
    for table in TABLES:
        options = [f"fillfactor = {70 if table in _REWRITTEN else 100}"]
        if table in _QUEUES:
            options += ["autovacuum_vacuum_scale_factor = 0.02", "autovacuum_vacuum_threshold = 1000"]
        made.append(
            f"""CREATE TABLE "{namespace}".t_{table} (shard int, key bytea, value bytea NOT NULL,
                PRIMARY KEY (shard, key)) WITH ({", ".join(options)})"""
        )
    return made


class Statements:
    """The statements that a store executes in a namespace.

    Args:
        namespace: The name of its schema, which was checked.
    """

    def __init__(self, namespace: str) -> None:
        self._in = f'"{namespace}"'
        # A claim is synced even if batches are not: a server that lost it would refuse its owner.
        setting = "'synchronous_commit'"
        synced = f"set_config({setting}, COALESCE(NULLIF(current_setting({setting}), 'off'), 'on'), true)"
        self.claim = (
            f"UPDATE {self._in}.owners SET epoch = epoch + 1, claim = $3::bytea, term = $2::bigint, owner = $4::text,"
            f" since = now() WHERE shard = $1::int AND term <= $2"
            f" AND ($6::bigint = 0 OR epoch <= greatest($6, 0) OR owner = $4::text)"
            f" AND EXISTS (SELECT FROM {self._in}.place WHERE term = $2 AND cluster = $5::uuid)"
            f" RETURNING epoch, seq, {synced}"
        )
        self.look = f"SELECT epoch, claim, seq, owner FROM {self._in}.owners WHERE shard = $1::int FOR UPDATE"
        self.confirm = (
            f"SELECT FROM {self._in}.owners WHERE shard = $1::int AND epoch = $2::bigint AND claim = $3::bytea"
        )
        self.size = (
            "SELECT COALESCE(sum(pg_total_relation_size(c.oid)), 0)::bigint, COALESCE(sum(c.reltuples), 0)::bigint,"
            f" (SELECT shards FROM {self._in}.place) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            f" WHERE n.nspname = {_literal(namespace)} AND c.relkind = 'r' AND c.relname LIKE 't\\_%'"
        )
        self.get = lru_cache(None)(self._get)
        self.get_many = lru_cache(None)(self._get_many)
        self.page = lru_cache(None)(self._page)
        self.batch = lru_cache(1000)(self._batch)

    def _get(self, table: str) -> str:
        return f"SELECT value FROM {self._in}.t_{table} WHERE shard = $1::int AND key = $2::bytea"

    def _get_many(self, table: str) -> str:
        # A subquery for each key: whatever the server knows of the table, it can only look the keys up in the index.
        return (
            f"SELECT wanted.key, found.value FROM unnest($2::bytea[]) AS wanted(key), LATERAL (SELECT t.value"
            f" FROM {self._in}.t_{table} t WHERE t.shard = $1::int AND t.key = wanted.key OFFSET 0) AS found"
        )

    def _page(self, table: str, bounded: bool, reverse: bool, later: bool) -> str:
        """Return the statement for a page: $2 the start, $3 the stop where `bounded`, and the last parameter its size.

        Args:
            table: The table.
            bounded: Whether there is a stop.
            reverse: Whether the order is reversed.
            later: Whether it begins behind the start, as after an earlier page; in reverse, the stop is exclusive.
        """
        after, order = ">" if later else ">=", "DESC" if reverse else "ASC"
        stop = " AND key < $3::bytea" if bounded else ""
        return (
            f"SELECT key, value FROM {self._in}.t_{table} WHERE shard = $1::int AND key {after} $2::bytea{stop}"
            f" ORDER BY shard {order}, key {order} LIMIT ${4 if bounded else 3}::int"
        )

    def _batch(self, puts: Sequence[str], deletes: Sequence[str]) -> str:
        """Return the one statement of a batch that puts rows into some tables, and deletes rows from others.

        Its parameters are shard, epoch, claim, seq; keys and values for each of `puts`; keys for each of `deletes`.
        """
        fence = (
            f"WITH f AS (UPDATE {self._in}.owners SET seq = seq + 1 WHERE shard = $1::int AND epoch = $2::bigint"
            " AND claim = $3::bytea AND seq = $4::bigint RETURNING 1)"
        )
        parts = [fence]
        at = 5
        for table in puts:
            parts.append(
                f"p_{table} AS (INSERT INTO {self._in}.t_{table} SELECT $1::int, u.key, u.value FROM f,"
                f" unnest(${at}::bytea[], ${at + 1}::bytea[]) AS u(key, value)"
                " ON CONFLICT (shard, key) DO UPDATE SET value = excluded.value)"
            )
            at += 2
        for table in deletes:
            # As for `get_many`: a plan that joins the table, made while nothing is known of it, may read all of it.
            parts.append(
                f"d_{table} AS (DELETE FROM {self._in}.t_{table} WHERE ctid = ANY(ARRAY(SELECT found.place FROM f,"
                f" unnest(${at}::bytea[]) AS u(key), LATERAL (SELECT t.ctid AS place FROM {self._in}.t_{table} t"
                " WHERE t.shard = $1::int AND t.key = u.key OFFSET 0) AS found)))"
            )
            at += 1
        return f"{', '.join(parts)} SELECT FROM f"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
