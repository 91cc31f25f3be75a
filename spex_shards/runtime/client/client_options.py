"""The options of a client."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """The options of a client.

    Attributes:
        shards: The number of shards.
        call_timeout: Seconds that a call waits for its answer.
        max_unacknowledged: How many requests per shard may be sent by `post` and not answered yet.
        max_frame_bytes: Most bytes of a request.
        spin: Seconds that a call looks for its answer before it sleeps.
        declared: The declarations that are sent on every channel from the start: (name, arguments).
        undeclared: Gets the names that are declared; returns further declarations, which only this process can make.
        idle: Whether no channel is opened before a call needs it.
        patient: Whether to start without a supervisor if there is none, and attach to the next one.
    """

    shards: int
    call_timeout: float
    max_unacknowledged: int
    max_frame_bytes: int
    spin: float
    declared: Sequence[tuple[str, tuple[Any, ...]]] = ()
    undeclared: Callable[[Collection[str]], Iterable[tuple[str, tuple[Any, ...]]]] = lambda _: ()
    patient: bool = False
    idle: bool = False
