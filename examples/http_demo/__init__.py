"""Processes talk HTTP/1.1 over loopback sockets, with h11 on both sides, and everything h11 reports is observed.

::

    client processes ──HTTP/1.1──▶ server processes      each end of a connection is an instance
            └──────── observe ────────┘
                         ▼
                  shards  ◀── SIGKILL ── the parent, again and again

At the end the histories in the shards are compared with what each process counted for itself, and the model that
was learned with the specification.
"""
