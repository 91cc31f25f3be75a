"""The audit of one shard, in the process that it is called in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import DataDirError, StoreError
from ..runtime.store.opening import open_view
from ..runtime.store.view import StoreView
from . import pages
from .findings import Finding
from .instance_rules import audit_indexes, audit_instances
from .other_rules import (
    audit_clients,
    audit_counters,
    audit_deviations,
    audit_jobs,
    audit_models,
    audit_rows,
    audit_specifications,
)
from .reading import READABLE, Reading

OPENS = "its store and its log can be opened"
RULES = (
    audit_specifications,
    audit_jobs,
    audit_instances,
    audit_indexes,
    audit_models,
    audit_deviations,
    audit_clients,
    audit_rows,
    audit_counters,
)
"""In this order: later ones ask for what earlier ones have learned."""


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
        total = _rows(view)
        step(pages.TABLE, 0, total)  # first: what LMDB reads in a damaged tree may end this process
        pages.audit_pages(path, lambda page, rule, value: tell(Finding(shard, pages.TABLE, page, rule, value)))
        reading = Reading(view, shard, homes, tell, lambda table, rows: step(table, rows, total))
        for rule in RULES:
            try:
                rule(reading)
            except StoreError as error:
                tell(Finding(shard, "store", "", READABLE, str(error)))
                view.release()
    finally:
        view.close()


def _rows(view: StoreView) -> int:
    try:
        return view.rows()
    except StoreError:  # each table says so itself when it is read
        return 0
