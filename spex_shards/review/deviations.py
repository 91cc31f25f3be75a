"""The deviations in a data directory: how often each was counted, and which instances made it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from ..domain.instance import to_datetime
from ..domain.transition import Transition
from ..engine.models import DeviationRow, deviation_row
from ..engine.rows import Found, identifier_bytes
from ..errors import show
from ..runtime.protocol import codec
from ..runtime.store import Batch
from ..runtime.store.location import Where
from .offline import open_shards
from .taken import runs_of

MOST_NAMED: Final = 5
"""How many instances are named for each transition; the others are only counted."""


@dataclass(slots=True)
class Deviating:
    """A transition that instances made, and that the model or the specification does not have.

    Attributes:
        transition: The transition.
        verdict: The newest verdict of a manager; None if no manager judged it.
        accepted: Whether a handler accepted it.
        count: How often it was judged.
        first_seen, last_seen: When it was judged, as aware datetimes in UTC.
        instances: The identifiers of some instances that made it, as text.
        made_by: How many instances made it.
    """

    transition: Transition
    verdict: str | None = None
    accepted: bool = False
    count: int = 0
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    instances: list[str] = field(default_factory=list)
    made_by: int = 0


def deviations_in(where: Where, specification: str, extra: Iterable[Transition]) -> list[Deviating]:
    """Return the deviations of a specification's instances, the most frequent first.

    Args:
        where: A data directory or namespace, with any number of shards; no manager may run on it.
        specification: The specification's name.
        extra: Transitions to look for in addition to those that were counted as deviations.

    Raises:
        DataDirLocked, DataDirError, StoreError: As `spex_shards.review.offline.learned_models`.
    """
    found = {transition: Deviating(transition) for transition in extra}
    for _, batch in open_shards(where):
        for _, row in batch.range("deviations", b""):
            _count(found, specification, deviation_row(row))
    for _, batch in open_shards(where):
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
