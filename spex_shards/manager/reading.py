"""What a manager reads, merged over shards and completed: instances, models, deviations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import Enum
from typing import Any

from ..checking.conformance import Verdict
from ..domain.impl_model import ImplModel
from ..domain.instance import Deviation, Instance
from ..domain.specification import Specification, registered
from ..domain.transition import Transition
from ..engine.handlers import handler_running
from ..errors import InstanceNotFound, ManagerClosed, StoreError
from ..messages.specifications import StoredSpecification
from ..messages.values import instance_of
from ..runtime.protocol import records
from ..runtime.protocol.codec import identifier_of
from ..runtime.protocol.requests import Kind
from .arguments import canonical, limit_of, specification_of

AT_ONCE = 8192
"""So many older entries of a history are asked for at a time."""


class Life(Enum):
    """Where a manager is."""

    NEW = "not started yet"
    STARTING = "just being started"
    STARTED = "started"
    CLOSING = "just being closed"
    CLOSED = "closed"
    FORKED = "of the process that forked this one"


class Readings(ABC):
    """The reading half of an instance manager."""

    _life: Life

    def get_instance(self, identifier: Any, history_limit: int | None = None) -> Instance:
        """Return an instance, with the newest `history_limit` entries of its history (None: all), oldest first.

        Raises:
            InstanceNotFound: There is none; no handler is asked.
        """
        limit = limit_of(history_limit)
        key = canonical(identifier)
        while True:
            instance = self._complete(key, self._read(key, Kind.GET, (key, limit)), limit)
            if instance is not None:
                return instance

    def all_instances(
        self, specification: type[Specification] | None = None, history_limit: int | None = None
    ) -> list[Instance]:
        """Return all instances, or those of one specification; an empty list when there are none.

        Raises:
            SpexError: A shard cannot answer; never a partial answer.
        """
        limit = limit_of(history_limit)
        name = None if specification is None else specification_of(specification).name
        found: list[list[Instance]] = [[] for _ in range(self._shard_count())]
        behind: dict[int, bytes | None] = dict.fromkeys(range(self._shard_count()))
        while behind:
            pages = self._read_shards(Kind.PAGE, {shard: (name, after, limit) for shard, after in behind.items()})
            for shard, (items, after) in pages.items():
                found[shard] += self._instances(items, limit)
                behind[shard] = after
            behind = {shard: after for shard, after in behind.items() if after is not None}
        return [instance for part in found for instance in part]

    def iter_instances(
        self, specification: type[Specification] | None = None, history_limit: int | None = None
    ) -> Iterator[Instance]:
        """Iterate over instances with bounded memory; one that is there all the time appears exactly once.

        Raises:
            SpexError: A shard cannot answer.
        """
        limit = limit_of(history_limit)
        name = None if specification is None else specification_of(specification).name
        self._check()
        return self._pages(name, limit)

    def all_impl_models(self) -> list[ImplModel]:
        """Return the implementation models, merged over shards: transitions united, learning if any learns."""
        united: dict[str, tuple[set[Transition], bool]] = {}
        for models in self._read_all(Kind.MODELS, ()):
            for name, transitions, learning in models:
                have, learns = united.get(name, (set(), False))
                have.update(Transition._make(t) for t in transitions)
                united[name] = (have, learns or learning)
        return [
            ImplModel(specification=name, transitions=frozenset(transitions), learning_mode=learning)
            for name, (transitions, learning) in sorted(united.items())
        ]

    def export_impl_models(self) -> list[tuple[str, str]]:
        """Return the implementation models as files: (file name, text)."""
        return [(f"{model.specification}.spex", model.serialise()) for model in self.all_impl_models()]

    def deviations(self, specification: type[Specification] | None = None) -> list[Deviation]:
        """Return the deviations seen, merged over shards, of one specification or all."""
        name = None if specification is None else specification_of(specification).name
        merged: dict[tuple[str, Transition], Deviation] = {}
        for rows in self._read_all(Kind.DEVIATIONS, (name,)):
            for row in rows:
                found = _deviation(row)
                key = (found.specification, found.transition)
                merged[key] = _together(merged[key], found) if key in merged else found
        return [merged[key] for key in sorted(merged, key=repr)]

    # ------------------------------------------------------------------ inside

    @abstractmethod
    def _read(self, key: bytes, kind: Kind, arguments: tuple[Any, ...]) -> Any: ...

    @abstractmethod
    def _read_all(self, kind: Kind, arguments: tuple[Any, ...]) -> list[Any]: ...

    @abstractmethod
    def _read_shards(self, kind: Kind, arguments: dict[int, tuple[Any, ...]]) -> dict[int, Any]: ...

    @abstractmethod
    def _shard_count(self) -> int: ...

    def _check(self) -> None:
        # In this order: what a handler sees of its own manager, in a shard, is a closed one.
        if handler_running():
            raise RuntimeError("a handler must not call a manager: it runs inside the shard")
        if self._life is not Life.STARTED:
            raise ManagerClosed(f"the manager is {self._life.value}")

    def _pages(self, name: str | None, limit: int) -> Iterator[Instance]:
        for shard in range(self._shard_count()):
            after = None
            while True:
                items, after = self._read_shards(Kind.PAGE, {shard: (name, after, limit)})[shard]
                yield from self._instances(items, limit)
                if after is None:
                    break

    def _instances(self, items: list[Any], limit: int) -> Iterator[Instance]:
        for item in items:
            key = item[2][1]
            instance = self._complete(key, item, limit) or self._again(key, limit)
            if instance is not None:
                yield instance

    def _again(self, key: bytes, limit: int) -> Instance | None:
        try:
            return self.get_instance(identifier_of(key), None if limit >= 1 << 61 else limit)
        except InstanceNotFound:
            return None

    def _complete(self, key: bytes, item: Any, limit: int) -> Instance | None:
        """Make an instance of what a shard returned, fetching older entries; None: it became another meanwhile."""
        number, seq, plain = item
        history = plain[4]
        first = seq - len(history) + 1
        wanted = max(1, seq - limit + 1)
        parts = [history]
        while first > wanted:
            start = max(wanted, first - AT_ONCE)
            older = self._read(key, Kind.HISTORY, (key, number, start, first))
            if older is None:
                return None
            if len(older) != first - start:
                raise StoreError("a damaged history: entries are missing", row="history")
            parts.append(older)
            first = start
        plain[4] = [entry for part in reversed(parts) for entry in part]
        name = plain[0]
        return instance_of(plain, None if registered(name) else self._stored_declaration(name, key))

    def _stored_declaration(self, name: str, key: bytes) -> Any:
        plain = self._read(key, Kind.SPECIFICATION, (name,))
        return None if plain is None else StoredSpecification.of(plain).declaration


def _deviation(row: Any) -> Deviation:
    name, transition, verdict, accepted, count, first, last = row
    return Deviation(
        name,
        Transition._make(transition),
        Verdict(verdict),
        accepted,
        count,
        records.decode_value(first),
        records.decode_value(last),
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
