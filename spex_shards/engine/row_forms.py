"""The forms of instances' rows: as values in memory, and as bytes in the store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from ..checking.runs import Position
from ..domain.run_property import Phase
from ..errors import StoreError
from ..runtime.protocol import records

INSTANCE_VERSION: Final = 1
WITH_RUN: Final = 2
"""The version of a row with the position of the instance's run. Rows without one have the form of earlier versions."""


class RunRow(NamedTuple):
    """The run of an instance.

    Attributes:
        digest: The digest of the specification and properties that it is a run of.
        position: Where it is in the specification.
        phases: Where it is in each property.
    """

    digest: bytes
    position: Position
    phases: tuple[Phase, ...] = ()


class InstanceRow(NamedTuple):
    """The small row that each transition of an instance rewrites; its history and meta are in other rows.

    Times are microseconds since the epoch.

    Attributes:
        version: The form of the row.
        specification: The number of its specification.
        number: Identifies the instance's history; never used for another instance.
        seq: The number of entries in its history.
        last: The time of the newest entry.
        deadline: When its transition timeout is due, as in the index of deadlines; None: it has none.
        prune: When it may be pruned, as in the index of prunable instances; None: it has no such time.
        reported: Whether the timeout of the newest entry was reported.
        state: Its current state.
        identifier: The canonical bytes of its identifier, if the key is only a digest of them.
        run: The position of its run; None: runs are not judged.
    """

    version: int
    specification: int
    number: int
    seq: int
    last: int
    deadline: int | None
    prune: int | None
    reported: bool
    state: str | None
    identifier: bytes | None
    run: RunRow | None = None


new_row: Final[Callable[[tuple[Any, ...]], InstanceRow]] = partial(tuple.__new__, InstanceRow)
"""Return a row of its eleven parts, in order.

To call the class runs a function in Python that does nothing but this; with `Found`, that was 3 % of a worker's time.
"""


def instance_row(row: bytes) -> InstanceRow:
    """Return the instance that a row holds.

    Raises:
        StoreError: The row is damaged.
    """
    values = records.unseal(row, "an instance")
    if type(values) is not list or (len(values), values[0]) not in ((10, INSTANCE_VERSION), (11, WITH_RUN)):
        raise StoreError("a damaged row: an instance of an unknown form", row="an instance")
    return InstanceRow(*values) if len(values) == 10 else _with_run(values)


def _with_run(values: list[Any]) -> InstanceRow:
    try:
        digest, position, *phases = values[10]
        run = RunRow(
            digest,
            position if type(position) is int else tuple(position),
            tuple((is_open, count) for is_open, count in (phases[0] if phases else ())),
        )
    except (TypeError, ValueError):
        raise StoreError("a damaged row: a run of an unknown form", row="an instance") from None
    values[0], values[10] = INSTANCE_VERSION, run
    return InstanceRow(*values)


def row_bytes(row: InstanceRow) -> bytes:
    """Return the stored form of an instance's row."""
    return records.seal_flat(values_of(row))


def values_of(row: InstanceRow) -> tuple[Any, ...]:
    """Return the plain values that the stored form of an instance's row consists of."""
    run = row[10]
    return row[:10] if run is None else (WITH_RUN, *row[1:10], run if run.phases else run[:2])
