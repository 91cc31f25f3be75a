"""Breaks the library on purpose, in one place each: the simulator must detect every one of these breakages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

from spex_shards.engine.models import ModelBook
from spex_shards.errors import StoreError
from spex_shards.runtime.protocol.requests import PROTOCOL_VERSION, ProtocolError
from spex_shards.runtime.protocol.session import ClientSession, ServerSession
from spex_shards.runtime.store import Batch, LogBroken, recovery
from spex_shards.runtime.store.postgres.link import Broken, int8
from spex_shards.runtime.store.postgres.postgres_store import PostgresStore
from spex_shards.runtime.store.redo_log import RedoLog
from spex_shards.runtime.worker import loop
from spex_shards.runtime.worker.outbox import Outbox
from spex_shards.runtime.worker.sessions import Sessions
from spex_shards.runtime.worker.suspects import Suspects

from .database import SimServer

_commit = loop.Worker._commit
_begun = recovery._begun
_sync = RedoLog.sync
_open = ServerSession.open


def _no_sync(log: RedoLog, upto: int | None = None) -> None:
    log.synced = log.last if upto is None else upto


def _answer_first(worker: Any, done: Any) -> Any:
    worker.clients.answer(done)
    with patch.object(worker.clients, "answer"):
        return _commit(worker, done)


def _newest_file_only(files: Any, place: str) -> Any:
    return list(_begun(files, place))[-1:]


def _without_events(session: ServerSession, number: int, answer: Any, *, remember: bool) -> None:
    session.applied = max(session.applied, number)
    if remember and answer is not None:
        session._fresh[number] = answer._replace(events=())


def _in_memory_only(outbox: Outbox, captured: list[Any]) -> None:
    for record in captured:
        outbox.reports.append((outbox._next, record, 0))
        outbox._next += 1
    captured.clear()


def _learn_in_memory(_book: ModelBook, model: Any, transition: Any) -> None:
    model.transitions.add(transition)


def _first_of_window(session: ClientSession) -> bytes:
    return b"".join(sent.data for sent in list(session._window)[:1])


def _unkept_is_done(_worker: Any, done: Any, _error: Any) -> Any:
    return done


def _sync_or_not(log: RedoLog, upto: int | None = None) -> None:
    with suppress(LogBroken):
        _sync(log, upto)
        return
    log.synced = log.last if upto is None else upto


def _newest_version_only(session: ServerSession, version: int, first: int, **known: Any) -> None:
    if version != PROTOCOL_VERSION:
        raise ProtocolError(f"protocol version {version} where {PROTOCOL_VERSION} is spoken")
    _open(session, version, first, **known)


BREAKAGES: dict[str, tuple[str, Callable[[], Any]]] = {
    "lose the sync": (
        'durability "disk" answers before the log is on the disk',
        lambda: patch.object(RedoLog, "sync", _no_sync),
    ),
    "answer before the commit": (
        "replies leave, then the batch is kept",
        lambda: patch.object(loop.Worker, "_commit", _answer_first),
    ),
    "forget remembered answers": (
        "a request that is sent again is answered with success",
        lambda: patch.object(ServerSession, "again", lambda *_: None),
    ),
    "forget who has done what": (
        "the highest number applied is not kept with the batch",
        lambda: patch.object(Sessions, "write", lambda sessions: setattr(sessions, "_written", set())),
    ),
    "recover the newest file only": (
        "what the frozen overlay held is not read again",
        lambda: patch.object(recovery, "_begun", _newest_file_only),
    ),
    "forget messages": (
        "a remembered answer comes without the messages of its handler",
        lambda: patch.object(ServerSession, "applied_now", _without_events),
    ),
    "keep reports in memory": (
        "a timeout is marked as reported, and its report is not kept",
        lambda: patch.object(Outbox, "take", _in_memory_only),
    ),
    "learn in memory": (
        "what was learned is not kept with the instance that showed it",
        lambda: patch.object(ModelBook, "learn", _learn_in_memory),
    ),
    "send one request again": (
        "a new channel carries the first request of the window only",
        lambda: patch.object(ClientSession, "unanswered", _first_of_window),
    ),
    "forget who waits for a check": (
        "an observation that waits for a long check is taken for carried out",
        lambda: patch.object(ServerSession, "put_back", lambda _: None),
    ),
    "never refuse poison": (
        "a request that kills its shard is tried for ever",
        lambda: patch.object(Suspects, "is_poison", lambda *_: False),
    ),
    "say that all was kept": (
        "a batch that is not kept is answered as if it were",
        lambda: patch.object(loop.Worker, "_failed", _unkept_is_done),
    ),
    "forget what was refused": (
        "a request that was not kept is answered with success when it is sent again",
        lambda: patch.object(ServerSession, "not_applied", lambda *_: None),
    ),
    "undo nothing in memory": (
        "what a batch changed in memory stays, though it is not kept",
        lambda: patch.object(Batch, "on_undo", lambda *_: None),
    ),
    "go on after a failed sync": (
        "a sync that fails is taken for one that was done",
        lambda: patch.object(RedoLog, "sync", _sync_or_not),
    ),
    "speak the newest version only": (
        "a client of the version before is refused",
        lambda: patch.object(ServerSession, "open", _newest_version_only),
    ),
    "keep who said farewell": (
        "what is known of a client that has said its farewell is kept",
        lambda: patch.object(Sessions, "ended", lambda *_: None),
    ),
}


def _always(*_: Any) -> bool:
    return True


def _only_seq(server: SimServer, values: Any) -> bool:
    return bool(values[3] == int8(server.owner.seq))


def _looked(store: PostgresStore) -> int:
    while True:
        with suppress(Broken):
            store._link.open()
            return store._look()


def _taken_for_kept(store: PostgresStore, *, possible: bool) -> bool:
    store.last = _looked(store)
    return True


def _taken_for_lost(store: PostgresStore, *, possible: bool) -> bool:
    store.last = _looked(store)
    raise StoreError("the connection is lost")


OF_TWO_OWNERS: dict[str, tuple[str, Callable[[], Any]]] = {
    "keep every batch": ("a batch asks neither who owns the shard nor how many there are", lambda: _fits(_always)),
    "ask nobody's claim": ("a batch asks only how many there are", lambda: _fits(_only_seq)),
    "take it for kept": (
        "a batch whose connection broke is taken for kept",
        lambda: patch.object(PostgresStore, "_was_kept", _taken_for_kept),
    ),
    "take it for lost": (
        "a batch whose connection broke is taken for lost",
        lambda: patch.object(PostgresStore, "_was_kept", _taken_for_lost),
    ),
}
"""Breakages of a store in PostgreSQL, for worlds with two owners."""


def _fits(fits: Callable[..., bool]) -> Any:
    return patch.object(SimServer, "fits", fits)


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Within a ``with`` block, break the library in one place."""
    with {**BREAKAGES, **OF_TWO_OWNERS}[name][1]():
        yield
