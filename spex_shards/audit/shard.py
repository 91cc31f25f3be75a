"""The audit of one shard, run in the calling process."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import DataDirError, StoreError
from ..runtime.store import Store
from ..runtime.store.location import Location
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
"""The rules in the order in which they must run: later rules use facts that earlier ones have collected."""


def audit_shard(
    place: Location,
    shard: int,
    homes: Callable[[bytes], frozenset[int]],
    tell: Callable[[Finding], None],
    step: Callable[[str, int, int], None],
    routed_by: Callable[[bytes], bytes] | None = None,
) -> None:
    """Check every row of a shard's store and log against the others.

    Args:
        place: Where its store is.
        shard: Its index.
        homes: Returns the shards that an instance, or a row of a service, with these canonical bytes may lie on.
        tell: Called with each finding.
        step: Called with the current table, the number of rows read, and the approximate total.
        routed_by: Returns the canonical bytes that a row of a service is routed by; None if that is not known.
    """
    try:
        view = place.stores.view(shard)
    except DataDirError as error:
        tell(Finding(shard, "store", "", OPENS, str(error)))
        return
    try:
        total = _rows(view)
        step(pages.TABLE, 0, total)  # the pages come first: reading a damaged tree through LMDB may crash this process
        if place.directory is not None:
            pages.audit_pages(
                place.directory.shard(shard),
                lambda page, rule, value: tell(Finding(shard, pages.TABLE, page, rule, value)),
            )
        reading = Reading(view, shard, homes, tell, lambda table, rows: step(table, rows, total), routed_by)
        for rule in RULES:
            try:
                rule(reading)
            except StoreError as error:
                tell(Finding(shard, "store", "", READABLE, str(error)))
                view.release()
    finally:
        view.close()


def _rows(view: Store) -> int:
    try:
        return view.rows()
    except StoreError:  # the damage is reported when the table is read
        return 0
