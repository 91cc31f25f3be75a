"""Who claims shards in a namespace."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who claims shards.

    Attributes:
        term: The term that its manager has begun in the namespace; when a later one is begun, it can claim no more.
        cluster: The identity of the namespace, 16 bytes.
        name: A name for people.
        resumes: As in `StoreOptions`.
        looks_every: Seconds between two looks whether a shard that is not used is still owned; infinity: there are
            none, and whoever uses the shard next notices.
    """

    term: int
    cluster: bytes
    name: str
    resumes: int = 0
    looks_every: float = inf
