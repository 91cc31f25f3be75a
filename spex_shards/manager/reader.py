"""Reads instances, models and deviations from all shards, and waits for the answers in the calling thread."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, TypeVar

from ..domain.impl_model import ImplModel
from ..domain.instance import Deviation, Instance
from ..domain.specification import Specification
from ..errors import SpexError
from ..runtime.transport import Transport
from . import readings
from .readings import OfKey, Reading

_Result = TypeVar("_Result")


class Reader:
    """Reads through a transport; see `readings` for each of its methods.

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
        return self._read(readings.instance(key, limit))

    def instances(self, name: str | None, limit: int) -> list[Instance]:
        """Return all instances, or those of one specification; all shards are asked at the same time."""
        return self._read(readings.instances(self._transport.shard_count, name, limit))

    def pages(self, name: str | None, limit: int) -> Iterator[Instance]:
        """Iterate over instances with bounded memory.

        An instance that exists during the whole iteration appears exactly once.
        """
        for shard in range(self._transport.shard_count):
            after = None
            while True:
                items, after = self._read(readings.page(shard, name, after, limit))
                for item in items:
                    found = self._read(readings.whole(item, limit))
                    if found is not None:
                        yield found
                if after is None:
                    break

    def models(self) -> list[ImplModel]:
        """Return the models of all shards, merged."""
        return self._read(readings.models(self._transport.shard_count))

    def deviations(self, name: str | None) -> list[Deviation]:
        """Return the deviations of all shards, merged."""
        return self._read(readings.deviations(self._transport.shard_count, name))

    def specification(self, name: str) -> type[Specification] | None:
        """Return the specification of that name: this process's, or else the one that a shard has stored."""
        return self._read(readings.specification(self._transport.shard_count, name))

    def delete(self, predicate: Any) -> int:
        """Delete the instances for which a predicate holds, given as the shards get it; return their number."""
        return self._read(readings.deleted(self._transport.shard_count, predicate))

    def _read(self, reading: Reading[_Result]) -> _Result:
        transport = self._transport
        step = partial(reading.send, None)
        while True:
            try:
                asked = step()
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            try:
                if isinstance(asked, OfKey):
                    answer = transport.call(asked.key, asked.operation, asked.arguments)
                else:
                    answer = transport.call_shards(asked.operation, asked.arguments)
            except SpexError as error:
                step = partial(reading.throw, error)
            else:
                step = partial(reading.send, answer)
