"""What a shard has seen since it was last asked: the steps of instances, and which instances were created.

A test run asks after each test, and so knows which test showed a step. Sightings are in memory only: a shard that is
restarted has forgotten them, but no learned transition.
"""

from __future__ import annotations

from ..domain.transition import Transition
from ..runtime.store import Batch


class Sightings:
    """The steps and new instances of one shard since the last `take`; a rollback undoes them with the batch.

    Args:
        batch: The shard's batch.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._steps: set[tuple[str, Transition]] = set()
        self._created: set[bytes] = set()

    def step(self, specification: str, transition: Transition) -> None:
        """Note a step of an instance."""
        entry = specification, transition
        if entry not in self._steps:
            self._batch.add_to(self._steps, entry)

    def created(self, identifier: bytes) -> None:
        """Note a new instance, by the canonical bytes of its identifier."""
        if identifier not in self._created:
            self._batch.add_to(self._created, identifier)

    def take(self) -> tuple[list[tuple[str, Transition]], list[bytes]]:
        """Return the steps and the new instances since the last call, and forget them."""
        self._batch.restores(self, "_steps", "_created")
        steps, created = sorted(self._steps, key=repr), sorted(self._created)
        self._steps, self._created = set(), set()
        return steps, created
