"""Processes talk HTTP/1.1 over loopback sockets, with h11 on both sides, and each event of h11 is observed.

::

    client processes ──HTTP/1.1──▶ server processes      each end of a connection is an instance
            └──────── observe ────────┘
                         ▼
                  shards  ◀── SIGKILL ── the parent, again and again

At the end, the histories in the shards are compared with what each process counted itself, and the learned model with
the specification.
"""
