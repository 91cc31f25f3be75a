"""What a manager reads from its shards, as generators that yield requests and are sent the answers.

So a blocking manager and one of asyncio read by the same code: only who waits for the answers differs.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from ..checking.conformance import Verdict
from ..checking.union import united
from ..domain.declaration import Declaration
from ..domain.impl_model import ImplModel
from ..domain.instance import Deviation, Instance
from ..domain.specification import Specification, from_declaration, registered
from ..domain.transition import Transition
from ..errors import InstanceNotFound, PredicateError, SpexError, StoreError
from ..messages import operations as ops
from ..messages.specifications import StoredSpecification
from ..messages.values import Item, PlainDeviation, PlainModel, instance_of
from ..runtime.protocol.operations import Operation
from ..runtime.protocol.records import decode_value

AT_ONCE: Final = 8192
"""How many older entries of a history one request asks for."""


class OfKey(NamedTuple):
    """Asks the shard of a key; the answer is its plain answer, or an error is thrown in."""

    operation: Operation
    key: bytes
    arguments: tuple[Any, ...]


class OfShards(NamedTuple):
    """Asks several shards at the same time; the answer is shard → plain answer or `SpexError`."""

    operation: Operation
    arguments: Mapping[int, tuple[Any, ...]]


_Result = TypeVar("_Result")
Reading = Generator[OfKey | OfShards, Any, _Result]


def instance(key: bytes, limit: int) -> Reading[Instance]:
    """Read the instance with these canonical bytes, and its newest `limit` history entries.

    Raises:
        InstanceNotFound: There is no such instance.
    """
    while True:
        item = Item.of((yield OfKey(ops.GET, key, (key, limit))))
        found = yield from _complete(key, item, limit)
        if found is not None:
            return found


def page(shard: int, name: str | None, after: bytes | None, limit: int) -> Reading[tuple[list[Any], bytes | None]]:
    """Read some items of a shard, as `whole` takes them, and after which key there are more (None: there are none)."""
    outcomes = yield from _of_shards(ops.PAGE, {shard: (name, after, limit)})
    items, behind = outcomes[shard]
    return items, behind


def whole(plain: Any, limit: int) -> Reading[Instance | None]:
    """Read the rest of the history of an item of a page; None: the instance was deleted meanwhile."""
    item = Item.of(plain)
    key = item.instance.identifier
    found = yield from _complete(key, item, limit)
    if found is not None:
        return found
    try:
        return (yield from instance(key, limit))
    except InstanceNotFound:
        return None


def instances(shards: int, name: str | None, limit: int) -> Reading[list[Instance]]:
    """Read all instances, or those of one specification; all shards are asked at the same time."""
    parts: list[list[Instance]] = [[] for _ in range(shards)]
    behind: dict[int, bytes | None] = dict.fromkeys(range(shards))
    while behind:
        pages = yield from _of_shards(ops.PAGE, {shard: (name, after, limit) for shard, after in behind.items()})
        for shard, (items, after) in pages.items():
            for item in items:
                found = yield from whole(item, limit)
                if found is not None:
                    parts[shard].append(found)
            behind[shard] = after
        behind = {shard: after for shard, after in behind.items() if after is not None}
    return [found for part in parts for found in part]


def models(shards: int) -> Reading[list[ImplModel]]:
    """Read the models of all shards, merged."""
    found = yield from _of_all(shards, ops.MODELS)
    return united(PlainModel._make(model) for of_shard in found for model in of_shard)


def deviations(shards: int, name: str | None) -> Reading[list[Deviation]]:
    """Read the deviations of all shards, merged."""
    merged: dict[tuple[str, Transition], Deviation] = {}
    for rows in (yield from _of_all(shards, ops.DEVIATIONS, name)):
        for row in rows:
            found = _deviation(row)
            key = (found.specification, found.transition)
            merged[key] = _together(merged[key], found) if key in merged else found
    return [merged[key] for key in sorted(merged, key=repr)]


def specification(shards: int, name: str) -> Reading[type[Specification] | None]:
    """Read the specification of that name: this process's, or else the one that a shard has stored."""
    known = registered(name)
    if known is not None:
        return known
    for plain in (yield from _of_all(shards, ops.SPECIFICATION, name)):
        if plain is not None:
            return from_declaration(StoredSpecification.of(plain).declaration)
    return None


def deleted(shards: int, predicate: Any) -> Reading[int]:
    """Delete the instances for which a predicate holds, given as the shards get it; return their number.

    Raises:
        PredicateError: It raised; ``context["deleted"]`` is the number deleted on the other shards.
    """
    answers = yield OfShards(ops.DELETE_WHERE, dict.fromkeys(range(shards), (predicate,)))
    outcomes = answers.values()
    count = sum(outcome for outcome in outcomes if isinstance(outcome, int))
    for outcome in outcomes:
        if isinstance(outcome, SpexError):
            if isinstance(outcome, PredicateError) or count:
                outcome.context["deleted"] = count
            raise outcome
    return count


# ---------------------------------------------------------------------- inside


def _of_shards(operation: Operation, arguments: dict[int, tuple[Any, ...]]) -> Reading[dict[int, Any]]:
    outcomes: dict[int, Any] = yield OfShards(operation, arguments)
    for outcome in outcomes.values():
        if isinstance(outcome, SpexError):
            raise outcome
    return outcomes


def _of_all(shards: int, operation: Operation, *arguments: Any) -> Reading[list[Any]]:
    outcomes = yield from _of_shards(operation, dict.fromkeys(range(shards), arguments))
    return list(outcomes.values())


def _complete(key: bytes, item: Item, limit: int) -> Reading[Instance | None]:
    """Read the older history entries of a shard's answer.

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
        older = yield OfKey(ops.HISTORY, key, (key, number, start, first))
        if older is None:
            return None
        if len(older) != first - start:
            raise StoreError("a damaged history: entries are missing", row="history")
        parts.append(older)
        first = start
    complete = plain._replace(history=[entry for part in reversed(parts) for entry in part])
    name = plain.specification
    declaration = None
    if not registered(name):
        declaration = yield from _stored_declaration(name, key)
    return instance_of(complete, declaration)


def _stored_declaration(name: str, key: bytes) -> Reading[Declaration | None]:
    plain = yield OfKey(ops.SPECIFICATION, key, (name,))
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
