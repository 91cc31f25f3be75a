"""Keeps the suspects of a shard in its store, where the store is a database: the next machine must know them, too."""

from __future__ import annotations

from typing import Final

from ...errors import StoreError
from ..protocol import records
from ..shard import Shard
from .suspects import Suspects
from .watch import PageWatch

SUSPECTS: Final = b"suspects"
"""In the table `layout`: the plain form of the suspects."""
_MOST: Final = 200
"""The most suspects that are kept: they must fit into one message to the supervisor."""


def exchange(shard: Shard, watch: PageWatch) -> Suspects | None:
    """Add the suspects that the store has to those of this worker's supervisor, and keep what the store lacks.

    Args:
        shard: The shard, which is not served yet.
        watch: Has the suspects that the supervisor knows.

    Returns:
        All of them, if the supervisor lacks some; else None.

    Raises:
        StoreError: They could not be written.
    """
    batch = shard.batch
    kept = suspects_in(batch.get("layout", SUSPECTS))
    is_news, newest = watch.merge(kept), watch.suspects.newest(_MOST)
    if kept.merge(newest):
        batch.put("layout", SUSPECTS, records.seal(newest.plain()))
        batch.commit()
    return newest if is_news else None


def suspects_in(row: bytes | None) -> Suspects:
    """Return the suspects of a row; none if there is no row, or if it is damaged."""
    try:
        return Suspects() if row is None else Suspects.of(records.unseal(row, "the suspects"))
    except (StoreError, ValueError):
        return Suspects()
