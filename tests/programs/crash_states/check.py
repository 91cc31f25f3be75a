"""Opens an image as a worker does after a crash, and compares it with the reference."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from spex_shards.audit.shard import audit_shard
from spex_shards.errors import SpexError
from spex_shards.runtime.store.files import OsFiles
from spex_shards.runtime.store.lmdb_store import LmdbStore
from spex_shards.runtime.store.logged_store import LoggedStore
from spex_shards.runtime.store.opening import open_view

from .load import digest

_WITHIN = 60


def check(folder: Path, known: dict[bytes, int], must: int, may: int) -> tuple[str, str]:
    """Return the state of an image ("whole" if nothing is wrong), and a few words about it.

    Args:
        folder: The shard's folder.
        known: The digest of the store after each number of batches.
        must: How many batches must be there.
        may: How many batches may be there at most.
    """
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(_WITHIN)
            os.close(ours)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os.write(theirs, json.dumps(_opened(folder, known)).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status or not said:
        return "killed who opened it", f"status {status}"
    error, findings, batches, again = json.loads(said)
    if error:
        return "refused", error
    if findings:
        return "findings", findings[0]
    if batches is None:
        return "half applied", "it is none of the states that there were"
    if not must <= batches <= may:
        return "lost", f"{batches} batches, where {must} to {may} must be there"
    return ("whole", "") if again else ("changed by opening", "")


def _opened(folder: Path, known: dict[bytes, int]) -> list[Any]:
    findings: list[str] = []
    try:
        view = open_view(folder)
        found = digest(view)
        view.close()
        shard = SimpleNamespace(shard=lambda _: folder)
        place: Any = SimpleNamespace(directory=shard, stores=SimpleNamespace(view=lambda _: open_view(folder)))
        audit_shard(place, 0, lambda _: frozenset([0]), lambda one: findings.append(str(one)), lambda *_: None)
        store = LoggedStore(LmdbStore(folder, sync=False), OsFiles(folder), sync_each=False)
        same = digest(store) == found
        store.apply({"jobs": {b"new": b"x"}})
        store.close()
        again = open_view(folder)
        same = same and again.get("jobs", b"new") == b"x"
        again.close()
    except SpexError as error:
        return [str(error), findings[:3], None, False]
    return ["", findings[:3], known.get(found), same]
