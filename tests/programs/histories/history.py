"""What is recorded of a run: what clients did, and what the store holds at the end. All times are of one clock."""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import Final, NamedTuple

START: Final = "start"
"""The label of each instance's first entry, which belongs to no write of a client."""


class Outcome(Enum):
    """What a client knows of a write."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    """An error said that it was not, and will not be, applied."""
    UNKNOWN = "unknown"
    """It may have been applied, or may yet be."""


class Write(NamedTuple):
    """One transition that a client asked for.

    Attributes:
        client: The client.
        session: The client's manager, numbered: each has an order of its own.
        instance: The instance.
        label: Names this write, and no other.
        invoked: When it was asked for.
        completed: When it was acknowledged or refused; infinity: never.
        outcome: What the client knows of it.
    """

    client: str
    session: int
    instance: str
    label: str
    invoked: float
    completed: float = inf
    outcome: Outcome = Outcome.UNKNOWN


class Read(NamedTuple):
    """One read that was answered.

    Attributes:
        client: The client.
        instance: The instance.
        labels: The newest labels of its history, oldest first; empty: there was no such instance.
        invoked: When it was asked for.
        completed: When it was answered.
    """

    client: str
    instance: str
    labels: tuple[str, ...]
    invoked: float
    completed: float


class Entry(NamedTuple):
    """One entry of an instance's history, as a row of the store.

    Attributes:
        seq: Its sequence, from 1.
        label: The label of the write that made it.
        transaction: The transaction that wrote the row last; 0: not known.
    """

    seq: int
    label: str
    transaction: int = 0


class Batch(NamedTuple):
    """One batch of a shard, or one claim of it, as the ledger in the database noted it.

    Attributes:
        shard: The shard.
        at: Its place among all batches and claims of the shard.
        epoch: The shard's epoch after it.
        seq: How many batches the shard had after it.
        transaction: The transaction that committed it.
        backend: The connection that it came over.
        claims: Whether it is a claim.
    """

    shard: int
    at: int
    epoch: int
    seq: int
    transaction: int
    backend: int
    claims: bool = False


class Stored(NamedTuple):
    """What the store holds.

    Attributes:
        entries: Instance → its history; an instance that is not there has no item.
        shards: Instance → its shard.
        batches: The batches of all shards since the last look, in the order of each shard.
    """

    entries: dict[str, list[Entry]]
    shards: dict[str, int]
    batches: list[Batch]


class Violation(NamedTuple):
    """A promise that was not kept.

    Attributes:
        rule: The name of the rule.
        where: The instance or shard.
        text: What contradicts what.
    """

    rule: str
    where: str
    text: str
