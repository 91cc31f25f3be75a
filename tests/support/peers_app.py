"""A WSGI application: each request makes two observations, one of them about a shared instance.

`PEERS_DATA_DIR` names the data directory. `GET /NAME` makes the instance ("request", NAME), and moves the shared
instance that NAME belongs to. Every worker process of the server has a client of its own: a client that was opened
before the server forked becomes another client in each child.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import spex_shards as spex
from tests.support.helper_specs import Door

SHARED = 5
_clients: list[Any] = []


def client() -> Any:
    """Return this process's manager, which attaches at the first call."""
    if not _clients:
        _clients.append(spex.connect(os.environ["PEERS_DATA_DIR"], call_timeout=30))
    return _clients[0]


def shared_instance(name: str) -> tuple[str, int]:
    """Return the identifier of the shared instance that a request moves."""
    return ("shared", sum(name.encode()) % SHARED)


def observe(name: str) -> None:
    """Make the observations of a request with that name."""
    client().init_instance(Door, ("request", name))
    client().transition(shared_instance(name), "open", name)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer one request: 200 when both observations are acknowledged."""
    name = environ["PATH_INFO"].removeprefix("/")
    if name:
        observe(name)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


if os.environ.get("PEERS_CONNECT_FIRST"):
    client().get_instance(("shared", 0))  # with --preload: the channels are open when the server forks its workers
