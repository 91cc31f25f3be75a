"""Histories of concurrent clients under faults, checked against what the store holds, in the manner of Jepsen.

::

    plan (seed) ─▶ Run ─ inject, heal ─▶ Deployment ─ connect ─▶ managers ◀─ Clients ─▶ writes and reads
                    │                        └─ stored ─▶ rows, and the ledger of batches            │
                    └────────────────────────────▶ verdict ◀─────────────────────────────────────────┘

A deployment is anything that managers can be connected to, and whose state is in a namespace in PostgreSQL. `verdict`
is pure: histories and rows in, violations out.
"""
