"""How often each step of a specification's instances was taken, counted in the histories of a data directory."""

from __future__ import annotations

from collections.abc import Iterator

from ..domain.frequency import Frequencies, frequencies_of
from ..domain.transition import Transition
from ..engine.catalogue import Catalogue
from ..engine.rows import Found, Instances
from ..runtime.store import Batch
from ..runtime.store.location import Where
from .offline import open_shards


def taken_in(where: Where, specification: str) -> Frequencies:
    """Return by how many instances of a specification each transition was taken.

    It walks all histories of all shards. What was pruned is not counted.

    Args:
        where: A data directory or namespace; no manager may run on it.
        specification: The name.

    Raises:
        DataDirLocked, DataDirError, StoreError: As `spex_shards.review.offline.learned_models`.
    """
    return frequencies_of(run for _, batch in open_shards(where) for _, run in runs_of(batch, specification))


def runs_of(batch: Batch, specification: str) -> Iterator[tuple[Found, set[Transition]]]:
    """Yield each instance of a specification in one shard, with the transitions that it made."""
    catalogue = Catalogue(batch)
    entry = catalogue.get(specification)
    if entry is None:
        return
    instances = Instances(batch, catalogue)
    for instance in instances.walk(entry.number, None):
        before: str | None = None
        run: set[Transition] = set()
        for _, action, target in instances.history(instance.row.number, 0, instance.row.seq + 1):
            run.add(Transition(before, action, target))
            before = target
        yield instance, run
