"""The deviations of instances that a data directory holds: what was counted, and which instances did it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from ..domain.instance import to_datetime
from ..domain.transition import Transition
from ..engine.models import DeviationRow, deviation_row
from ..engine.rows import Found, identifier_bytes
from ..errors import show
from ..runtime.protocol import codec
from ..runtime.store import Batch
from .offline import open_shards
from .taken import runs_of

MOST_NAMED: Final = 5
"""So many instances are named for each transition; the others are counted."""


@dataclass(slots=True)
class Deviating:
    """A transition that instances made and that is none of the model's, or of the specification's.

    Attributes:
        transition: It.
        verdict: The newest verdict of a manager, None where none judged it.
        accepted: Whether a handler accepted it.
        count: How often it was judged.
        first_seen, last_seen: When, aware and UTC.
        instances: The identifiers of some instances that made it, as text.
        made_by: The number of all of them.
    """

    transition: Transition
    verdict: str | None = None
    accepted: bool = False
    count: int = 0
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    instances: list[str] = field(default_factory=list)
    made_by: int = 0


def deviations_in(path: Path, specification: str, extra: Iterable[Transition]) -> list[Deviating]:
    """Return the deviations of a specification's instances, the most frequent first.

    Args:
        path: A data directory, of any number of shards; no manager may run on it.
        specification: The name.
        extra: Transitions to look for besides those that were counted as deviations.

    Raises:
        DataDirLocked, DataDirError, StoreError: As `spex_shards.review.offline.learned_models`.
    """
    found = {transition: Deviating(transition) for transition in extra}
    for _, batch in open_shards(path):
        for _, row in batch.range("deviations", b""):
            _count(found, specification, deviation_row(row))
    for _, batch in open_shards(path):
        _name_instances(found, specification, batch)
    seen = [one for one in found.values() if one.count or one.made_by]
    return sorted(seen, key=lambda one: (-one.made_by, -one.count, one.transition.action, one.transition.target))


def _count(found: dict[Transition, Deviating], specification: str, row: DeviationRow) -> None:
    if row.specification != specification:
        return
    transition = Transition._make(row.transition)
    one = found.setdefault(transition, Deviating(transition))
    times = [time for time in (one.first_seen, one.last_seen) if time is not None]
    newest = one.last_seen is None or to_datetime(row.last) >= one.last_seen
    one.verdict = row.verdict if newest else one.verdict
    one.accepted = one.accepted or row.accepted
    one.count += row.times
    one.first_seen = min([*times, to_datetime(row.first)])
    one.last_seen = max([*times, to_datetime(row.last)])


def _name_instances(found: dict[Transition, Deviating], specification: str, batch: Batch) -> None:
    if not found:
        return
    for instance, made in runs_of(batch, specification):
        for transition in made & found.keys():
            one = found[transition]
            one.made_by += 1
            if len(one.instances) < MOST_NAMED:
                one.instances.append(_shown(instance))


def _shown(instance: Found) -> str:
    return show(codec.identifier_of(identifier_bytes(instance)))
