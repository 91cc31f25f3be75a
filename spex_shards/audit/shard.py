"""The audit of one shard, in the process that it is called in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..boot import open_view
from ..errors import DataDirError
from .findings import Finding
from .instance_rules import audit_indexes, audit_instances
from .other_rules import (
    audit_clients,
    audit_counters,
    audit_deviations,
    audit_jobs,
    audit_models,
    audit_specifications,
)
from .reading import Reading

OPENS = "its store and its log can be opened"


def audit_shard(
    path: Path,
    shard: int,
    homes: Callable[[bytes], frozenset[int]],
    tell: Callable[[Finding], None],
    step: Callable[[str, int, int], None],
) -> None:
    """Hold every row of a shard's store and log against every other.

    Args:
        path: Its folder.
        shard: Its index.
        homes: The shards that an instance of these canonical bytes may lie on.
        tell: Takes each finding.
        step: Takes the table that is read, how many rows were read, and how many there are, about.
    """
    try:
        view = open_view(path)
    except DataDirError as error:
        tell(Finding(shard, "store", "", OPENS, str(error)))
        return
    try:
        total = view.rows()
        reading = Reading(view, shard, homes, tell, lambda table, rows: step(table, rows, total))
        audit_specifications(reading)
        audit_jobs(reading)
        audit_instances(reading)
        audit_indexes(reading)
        audit_models(reading)
        audit_deviations(reading)
        audit_clients(reading)
        audit_counters(reading)
    finally:
        view.close()
