"""Rows that a batch of requests is going to read are read together, from a store that is far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from spex_shards.engine import Engine, EngineOptions, ModelSource
from spex_shards.engine.rows import key_of
from spex_shards.engine.service import SpexService
from spex_shards.messages import operations as ops
from spex_shards.messages.specifications import describe
from spex_shards.runtime.declared import declared
from spex_shards.runtime.hosting import Hosted
from spex_shards.runtime.protocol.codec import canonical, encode
from spex_shards.runtime.store import Batch, MemoryStore
from tests.support.contract_specs import Order
from tests.support.runtime_services import Counter


class FarStore(MemoryStore):
    """A store that counts round trips, and keeps what was read together for the batch."""

    far = True

    def __init__(self) -> None:
        super().__init__()
        self.trips: list[int] = []
        self._kept: dict[tuple[str, bytes], bytes | None] = {}

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return a value; one round trip, unless it was fetched."""
        if (table, key) in self._kept:
            return self._kept[table, key]
        self.trips.append(1)
        return super().get(table, key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """Return values, in one round trip."""
        self.trips.append(len(keys))
        found = {key: self.tables[table].get(key) for key in keys}
        self._kept.update({(table, key): value for key, value in found.items()})
        return found


@pytest.fixture
def store() -> FarStore:
    """Return a store in which twenty instances are."""
    store = FarStore()
    engine = engine_on(store)
    for number in range(20):
        engine.init_instance(Order.name, canonical(number), None, None, 1)
    engine.batch.commit()
    store.trips.clear()
    return store


def engine_on(store: FarStore) -> Engine:
    """Return an engine that has no instance in memory."""
    engine = Engine(Batch(store), ModelSource({}, learning_mode=True), EngineOptions(), 1)
    stored, shipped = describe(Order)
    engine.register(stored, shipped)
    return engine


def test_a_batch_reads_the_rows_of_its_instances_in_one_round_trip(store: FarStore) -> None:
    """Of single requests and of many in one; each row once, and those that are in memory not at all."""
    engine = engine_on(store)
    service = SpexService(engine)
    names = [canonical(number) for number in range(20)]
    requests: list[tuple[Any, list[Any]]] = [(ops.TRANSITION, [name, "pay", "paid"]) for name in names[:10] * 2]
    requests.append((ops.MANY, [[[ops.TRANSITION.code, name, "pay", "paid"] for name in names[10:]]]))
    requests.append((ops.INIT, [Order.name, canonical("new"), None, None]))
    store.trips.clear()
    engine.batch.fetch(service.foresee(requests))
    assert store.trips == [21]
    for name in names:
        engine.transition(name, "pay", "paid", 2)
    assert store.trips == [21]
    assert service.foresee(requests) == {"instances": [key_of(canonical("new"))]}


def test_malformed_requests_are_left_to_their_own_checks(store: FarStore) -> None:
    """Whatever the arguments are, nothing is raised here."""
    service = SpexService(engine_on(store))
    malformed: list[list[Any]] = [[], [None], [5], [[]], [[None, [], [3], ["x", b""], [3, 5], [99, b"x"], 7]], [{}]]
    for operation in (ops.TRANSITION, ops.INIT, ops.MANY, ops.GET, ops.PAGE):
        assert service.foresee([(operation, arguments) for arguments in malformed]) == {"instances": []}


def test_a_service_of_an_application_foresees_the_rows_under_its_keys() -> None:
    """In its first table; what is malformed is left out."""
    store = FarStore()
    batch = Batch(store)
    hosted = Hosted(declared(Counter), batch)
    add = declared(Counter).operation("add", keyed=True).wire
    count = declared(Counter).operation("count", keyed=False).wire
    requests: list[tuple[Any, list[Any]]] = [(add, [encode([key, 1])]) for key in ("a", "b", "a")]
    requests += [(add, [b"\xc1"]), (add, []), (add, [5]), (count, [encode([])])]
    batch.fetch(hosted.foresee(requests))
    assert store.trips == [2]
    assert hosted._service.rows.get("a") is None
    assert store.trips == [2]
