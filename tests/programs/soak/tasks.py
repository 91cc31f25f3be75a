"""The tasks of a Celery worker; the broker is a Redis on a Unix socket."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import celery

import spex_shards as spex
from tests.support.helper_specs import Door

from .observer import DATA, observer

BROKER = "SOAK_BROKER"
app = celery.Celery("soak", broker=f"redis+socket://{os.environ.get(BROKER, '/nowhere')}")
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@app.task(autoretry_for=(spex.SpexError, OSError), max_retries=None, default_retry_delay=1)
def observe() -> None:
    """Make some observations."""
    observing = observer("task")
    for _ in range(10):
        observing.turn()


@app.task
def observe_once(folder: str, name: str) -> None:
    """Make an observation that belongs to this run of the task, and note its begin and its acknowledgement."""
    attempt = f"{name} {os.urandom(4).hex()}"
    _note(f"{folder}/{os.getpid()}.begun", attempt)
    if os.getpid() not in _clients:
        _clients[os.getpid()] = spex.connect(os.environ[DATA], call_timeout=30)
    _clients[os.getpid()].init_instance(Door, attempt)
    _note(f"{folder}/{os.getpid()}.done", attempt)


def _note(path: str, line: str) -> None:
    with Path(path).open("a") as file:
        print(line, file=file, flush=True)


_clients: dict[int, Any] = {}
