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
        declared: The declarations that are sent on every channel from the start: (name, arguments).
        undeclared: Gets the names that are declared; returns further declarations, which only this process can make.
        patient: Whether to start without a supervisor if there is none, and attach to the next one.
    """

    shards: int
    call_timeout: float
    max_unacknowledged: int
    max_frame_bytes: int
    declared: Sequence[tuple[str, tuple[Any, ...]]] = ()
    undeclared: Callable[[Collection[str]], Iterable[tuple[str, tuple[Any, ...]]]] = lambda _: ()
    patient: bool = False
