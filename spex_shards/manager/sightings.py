"""What the shards of a test run have seen since they were last asked, and how to delete what was created meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ..domain.transition import Transition
from ..errors import SpexError
from ..messages import operations as ops
from .base import InstanceManager


class Sighted(NamedTuple):
    """The answer of all shards.

    Attributes:
        steps: The steps that instances made: specification's name and transition.
        created: The instances that were created or mocked, by the canonical bytes of their identifiers.
    """

    steps: frozenset[tuple[str, Transition]]
    created: frozenset[bytes]


def take_sightings(manager: InstanceManager) -> Sighted:
    """Return what a manager's shards saw since the last call; all observations of this process are applied first.

    The manager must have been started with `notes_sightings`; if not, nothing was noted.

    Raises:
        SpexError: A shard cannot answer.
        ExceptionGroup: The errors of observations that could not be applied.
    """
    manager.flush()
    transport = manager._open
    answers = transport.call_shards(ops.SIGHTINGS, dict.fromkeys(range(transport.shard_count), ()))
    steps: set[tuple[str, Transition]] = set()
    created: set[bytes] = set()
    for answer in answers.values():
        if isinstance(answer, SpexError):
            raise answer
        seen, made = answer
        steps.update((name, Transition._make(step)) for name, step in seen)
        created.update(made)
    return Sighted(frozenset(steps), frozenset(created))


def delete_created(manager: InstanceManager, created: Iterable[bytes]) -> None:
    """Delete instances by the canonical bytes of their identifiers; those that are gone are no error.

    Raises:
        SpexError: A shard cannot answer.
    """
    transport = manager._open
    for key in created:
        transport.call(key, ops.DELETE, (key,))


def stored_specification(manager: InstanceManager, name: str) -> list[Any] | None:
    """Return a specification as data, as a shard knows it; None: no shard does.

    Raises:
        SpexError: A shard cannot answer.
    """
    transport = manager._open
    answers = transport.call_shards(ops.SPECIFICATION, dict.fromkeys(range(transport.shard_count), (name,)))
    return next((answer for answer in answers.values() if isinstance(answer, list)), None)
