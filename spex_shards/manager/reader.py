"""Reads instances, models and deviations from all shards, and merges them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ..checking.conformance import Verdict
from ..checking.union import united
from ..domain.declaration import Declaration
from ..domain.impl_model import ImplModel
from ..domain.instance import Deviation, Instance
from ..domain.specification import Specification, from_declaration, registered
from ..domain.transition import Transition
from ..errors import InstanceNotFound, SpexError, StoreError
from ..messages import operations as ops
from ..messages.specifications import StoredSpecification
from ..messages.values import Item, PlainDeviation, PlainModel, instance_of
from ..runtime.protocol.operations import Operation
from ..runtime.protocol.records import decode_value
from ..runtime.transport import Transport

AT_ONCE: Final = 8192
"""How many older entries of a history one request asks for."""


class Reader:
    """Reads through a transport.

    Args:
        transport: The transport to the shards.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def instance(self, key: bytes, limit: int) -> Instance:
        """Return the instance with these canonical bytes, and its newest `limit` history entries.

        Raises:
            InstanceNotFound: There is no such instance.
        """
        while True:
            instance = self._complete(key, Item.of(self._transport.call(key, ops.GET, (key, limit))), limit)
            if instance is not None:
                return instance

    def instances(self, name: str | None, limit: int) -> list[Instance]:
        """Return all instances, or those of one specification; all shards are asked at the same time."""
        shards = range(self._transport.shard_count)
        found: list[list[Instance]] = [[] for _ in shards]
        behind: dict[int, bytes | None] = dict.fromkeys(shards)
        while behind:
            pages = self._of_shards(ops.PAGE, {shard: (name, after, limit) for shard, after in behind.items()})
            for shard, (items, after) in pages.items():
                found[shard] += self._of_items(items, limit)
                behind[shard] = after
            behind = {shard: after for shard, after in behind.items() if after is not None}
        return [instance for part in found for instance in part]

    def pages(self, name: str | None, limit: int) -> Iterator[Instance]:
        """Iterate over instances with bounded memory.

        An instance that exists during the whole iteration appears exactly once.
        """
        for shard in range(self._transport.shard_count):
            after = None
            while True:
                items, after = self._of_shards(ops.PAGE, {shard: (name, after, limit)})[shard]
                yield from self._of_items(items, limit)
                if after is None:
                    break

    def models(self) -> list[ImplModel]:
        """Return the models of all shards, merged."""
        return united(PlainModel._make(model) for models in self._of_all(ops.MODELS) for model in models)

    def deviations(self, name: str | None) -> list[Deviation]:
        """Return the deviations of all shards, merged."""
        merged: dict[tuple[str, Transition], Deviation] = {}
        for rows in self._of_all(ops.DEVIATIONS, name):
            for row in rows:
                found = _deviation(row)
                key = (found.specification, found.transition)
                merged[key] = _together(merged[key], found) if key in merged else found
        return [merged[key] for key in sorted(merged, key=repr)]

    def specification(self, name: str) -> type[Specification] | None:
        """Return the specification of that name: this process's, or else the one that a shard has stored."""
        known = registered(name)
        if known is not None:
            return known
        for plain in self._of_all(ops.SPECIFICATION, name):
            if plain is not None:
                return from_declaration(StoredSpecification.of(plain).declaration)
        return None

    # ------------------------------------------------------------------ inside

    def _of_shards(self, operation: Operation, arguments: dict[int, tuple[Any, ...]]) -> dict[int, Any]:
        outcomes = self._transport.call_shards(operation, arguments)
        for outcome in outcomes.values():
            if isinstance(outcome, SpexError):
                raise outcome
        return outcomes

    def _of_all(self, operation: Operation, *arguments: Any) -> list[Any]:
        everywhere = dict.fromkeys(range(self._transport.shard_count), arguments)
        return list(self._of_shards(operation, everywhere).values())

    def _of_items(self, items: list[Any], limit: int) -> Iterator[Instance]:
        for item in map(Item.of, items):
            key = item.instance.identifier
            instance = self._complete(key, item, limit) or self._again(key, limit)
            if instance is not None:
                yield instance

    def _again(self, key: bytes, limit: int) -> Instance | None:
        try:
            return self.instance(key, limit)
        except InstanceNotFound:
            return None

    def _complete(self, key: bytes, item: Item, limit: int) -> Instance | None:
        """Return the instance of a shard's answer, fetching older history entries.

        Returns:
            The instance, or None if it was deleted or replaced meanwhile, so that it must be read again.
        """
        number, seq, plain = item
        history = plain.history
        first = seq - len(history) + 1
        wanted = max(1, seq - limit + 1)
        parts = [history]
        while first > wanted:
            start = max(wanted, first - AT_ONCE)
            older = self._transport.call(key, ops.HISTORY, (key, number, start, first))
            if older is None:
                return None
            if len(older) != first - start:
                raise StoreError("a damaged history: entries are missing", row="history")
            parts.append(older)
            first = start
        whole = plain._replace(history=[entry for part in reversed(parts) for entry in part])
        name = plain.specification
        return instance_of(whole, None if registered(name) else self._stored_declaration(name, key))

    def _stored_declaration(self, name: str, key: bytes) -> Declaration | None:
        plain = self._transport.call(key, ops.SPECIFICATION, (name,))
        return None if plain is None else StoredSpecification.of(plain).declaration


def _deviation(row: Any) -> Deviation:
    plain = PlainDeviation._make(row)
    return Deviation(
        plain.specification,
        Transition._make(plain.transition),
        Verdict(plain.verdict),
        plain.accepted,
        plain.times,
        decode_value(plain.first_seen),
        decode_value(plain.last_seen),
    )


def _together(one: Deviation, other: Deviation) -> Deviation:
    newest = one if one.last_seen >= other.last_seen else other
    return Deviation(
        one.specification,
        one.transition,
        newest.verdict,
        one.accepted or other.accepted,
        one.count + other.count,
        min(one.first_seen, other.first_seen),
        max(one.last_seen, other.last_seen),
    )
