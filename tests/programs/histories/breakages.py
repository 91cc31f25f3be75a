"""Breaks the shards on purpose, in one place each: the checker must find every one of these breakages.

The supervisor of a broken owner is told to create its host by a function of this module, which breaks the library
first; the workers are forked off the supervisor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from spex_shards.engine.hosting import prepare
from spex_shards.runtime.protocol.session import ServerSession
from spex_shards.runtime.store.postgres.link import Broken
from spex_shards.runtime.store.postgres.postgres_store import PostgresStore

_statement = PostgresStore._statement
_rows = ServerSession.rows


def _without_fence(store: PostgresStore, changes: Any) -> Any:
    asks = " AND epoch = $2::bigint AND claim = $3::bytea AND seq = $4::bigint"
    fenced, values = _statement(store, changes)
    assert asks in fenced
    return fenced.replace(asks, " AND ($2::bigint, $3::bytea, $4::bigint) IS NOT NULL"), values


def _taken_for_kept(store: PostgresStore, *, possible: bool) -> bool:
    while True:
        try:
            store._link.open()
            store.last = store._look()
            return True
        except Broken:
            continue


def _nothing_applied(session: ServerSession) -> Any:
    (_, events, gone), answers, dropped = _rows(session)
    return (0, events, gone), answers, dropped


def _break_fence() -> None:
    PostgresStore._statement = _without_fence  # type: ignore[method-assign]


def _break_reads() -> None:
    PostgresStore.release = lambda store: store._fetched.clear()  # type: ignore[method-assign]


def _break_look() -> None:
    PostgresStore._was_kept = _taken_for_kept  # type: ignore[method-assign]


def _break_numbers() -> None:
    ServerSession.rows = _nothing_applied  # type: ignore[method-assign]


BREAKAGES: Final[dict[str, tuple[str, Callable[[], None]]]] = {
    "no-fence": ("a batch asks neither who owns the shard nor how many batches there are", _break_fence),
    "no-confirmation": ("what was read is answered without asking whether the shard is still owned", _break_reads),
    "no-look": ("a batch whose connection broke is taken for kept, whatever the number of batches", _break_look),
    "no-numbers": ("what was applied of a client is not kept with the batch, so what is sent again is applied again",
                   _break_numbers),
}  # fmt: skip


def host_of(breakage: str) -> str:
    """Return the name of the function that breaks the library, and creates the host then."""
    return f"{__name__}:{breakage.replace('-', '_')}"


def _broken(break_it: Callable[[], None]) -> Callable[..., Any]:
    def broken(*arguments: Any) -> Any:
        break_it()
        return prepare(*arguments)

    return broken


no_fence, no_confirmation, no_look, no_numbers = (_broken(break_it) for _, break_it in BREAKAGES.values())
