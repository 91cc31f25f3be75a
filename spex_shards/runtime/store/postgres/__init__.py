"""Stores of shards in a PostgreSQL database. Only `link` imports psycopg; `namespace` is read without it.

::

    PostgresStores ─ open ─▶ PostgresStore ─ statements ─▶ Link ─ libpq ─▶ schema of the namespace: place, owners,
                   ─ view ─▶ SnapshotStore ──────────────▶ Link             and one table for each table of the port

# Guarantees:
#
# * A batch is one statement, which begins with the condition that this store still owns the shard. So a batch is kept
#   as a whole, and only while nobody else has claimed the shard.
# * A store that does not know what the database holds raises `StoreLost`, and takes no batch any more.
# * No transaction stays open between two calls of a `PostgresStore`.
"""
