"""The implementation models of a shard: what they know, what was accepted beside them, and judging what is new."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import xxhash

from ..checking.checker import ConformanceChecker
from ..checking.conformance import Verdict
from ..domain.impl_model import ImplModel
from ..domain.instance import Deviation, to_datetime
from ..domain.transition import Transition
from ..errors import DeserialisationFailed
from ..runtime.protocol import codec, records
from ..runtime.store import Batch
from ..runtime.store.keys import u32, u64
from .catalogue import Entry
from .checks import Checks

_HEADER: Final = u64(0)


@dataclass(frozen=True, slots=True)
class ModelSource:
    """What a shard is given at its start, read once for all shards and all their restarts.

    Attributes:
        files: Models read from files, by specification.
        malformed: Specifications whose file could not be read, with the error.
        stored: Models united over the stores of all shards.
        accepted: Deviations accepted on any shard: (specification, transition, digest of what they were judged with).
        learning_mode: Whether every model learns, and missing ones are made unasked.
    """

    files: Mapping[str, ImplModel] = field(default_factory=dict)
    malformed: Mapping[str, DeserialisationFailed] = field(default_factory=dict)
    stored: Mapping[str, ImplModel] = field(default_factory=dict)
    accepted: Iterable[tuple[str, Transition, bytes]] = ()
    learning_mode: bool = False


@dataclass(slots=True)
class Model:
    """One model.

    `number` and `size` say where its learned transitions are stored; number 0: nowhere yet. `digest` is of what it is
    judged by (None: to be looked at anew), `together` the model with the accepted deviations, `judged` the digest of
    all that a judgement depends on, `accepted_sum` its part of the accepted ones.
    """

    name: str
    transitions: set[Transition]
    learning: bool
    number: int = 0
    size: int = 0
    digest: bytes | None = None
    accepted: set[Transition] = field(default_factory=set)
    checker: ConformanceChecker | None = None
    together: frozenset[Transition] = frozenset()
    judged: bytes = b""
    accepted_sum: int = 0


class DeviationRow(NamedTuple):
    """A deviation as it is stored: the digests are of what it was judged with, the second one of all of that.

    A row of before there was the second has none.
    """

    specification: str
    transition: list[Any]
    verdict: str
    accepted: bool
    times: int
    first: int
    last: int
    digest: bytes
    judged: bytes = b""


def deviation_row(row: bytes) -> DeviationRow:
    """Read a deviation's row.

    Raises:
        StoreError: It is damaged.
    """
    return DeviationRow(*records.unseal(row, "a deviation")[: len(DeviationRow._fields)])


class _Seen(NamedTuple):
    number: int
    row: DeviationRow


class ModelBook:
    """All models and deviations of one shard, over a batch; in memory whole, on disk what was learned."""

    def __init__(self, batch: Batch, source: ModelSource) -> None:
        self._batch = batch
        self._source = source
        self._models: dict[str, Model] = {}
        self._seen: dict[tuple[str, Transition], _Seen] = {}
        self._next_deviation = 1
        self.checks = Checks()
        for key, row in batch.range("deviations", b""):
            self._load_deviation(key, row)
        own = stored_models(batch)
        for name in {*source.files, *source.stored, *own}:
            self._models[name] = self._unite(name, own.get(name))

    def get(self, name: str) -> Model | None:
        """Return the model of a specification, or None.

        Raises:
            DeserialisationFailed: Its file is malformed.
        """
        model = self._models.get(name)
        if model is not None and name not in self._source.malformed:
            return model
        if name in self._source.malformed:
            error = self._source.malformed[name]
            raise DeserialisationFailed(str(error), **error.context)
        return self.create(name) if model is None and self._source.learning_mode else model

    def create(self, name: str) -> Model:
        """Make an empty model in learning mode; kept with the batch."""
        model = Model(name, set(), learning=True)
        self._batch.put_in(self._models, name, model)
        self._store_header(model)
        return model

    def learn(self, model: Model, transition: Transition) -> None:
        """Add a transition to a learning model; kept with the batch."""
        if transition in model.transitions:
            return
        if not model.number:
            self._store_header(model)
        self._batch.restores(model, "size")
        self._batch.add_to(model.transitions, transition)
        model.size += 1
        self._batch.put("models", u32(model.number) + u64(model.size), records.seal(list(transition)))

    def judge(self, model: Model, entry: Entry, transition: Transition) -> Verdict:
        """Return what the model, the accepted deviations and this one together are to the specification.

        The answer is remembered until the specification, the model or the accepted set changes.
        """
        self._refresh(model, entry)
        seen = self._seen.get((model.name, transition))
        if seen is not None and seen.row.judged == model.judged:
            return Verdict(seen.row.verdict)
        lts = entry.declaration.lts
        size = len(model.together) + (0 if lts is None else len(lts.transitions))
        key = model.judged + _digest_of(transition)
        return self.checks.verdict(
            key,
            size,
            soon=lambda: self._checker(model, entry).judge_soon(model.together, transition),
            work=lambda: self._checker(model, entry).judge(model.together, transition),
        )

    @staticmethod
    def _checker(model: Model, entry: Entry) -> ConformanceChecker:
        if model.checker is None:
            model.checker = ConformanceChecker(entry.declaration.lts, entry.declaration.equivalence)
        return model.checker

    @staticmethod
    def standing(model: Model) -> Verdict | None:
        """Return what the model was judged to be without a new transition, None if that was not asked for here."""
        return None if model.checker is None else model.checker.known(model.together)

    def record(self, model: Model, transition: Transition, verdict: Verdict, now: int, *, passed: bool) -> None:
        """Count a deviation; one that stays equivalent and was passed by the handler counts in later judgements."""
        accepts = passed and verdict is Verdict.EQUIVALENT
        key = (model.name, transition)
        seen = self._seen.get(key)
        digest = model.digest or b""
        row = DeviationRow(model.name, list(transition), verdict.value, accepts, 1, now, now, digest, model.judged)
        if seen is None:
            new = _Seen(self._next_deviation, row)
            self._next_deviation += 1
        else:
            old = seen.row
            row = row._replace(
                accepted=accepts or (old.accepted and old.digest == digest), times=old.times + 1,
                first=old.first or now, last=max(now, old.last),
            )  # fmt: skip
            new = seen._replace(row=row)
        self._remember(key, new)
        if accepts and transition not in model.accepted:
            self._accept(model, transition)

    def count_run(self, name: str, transition: Transition, now: int) -> None:
        """Count a step that the specification does not allow where it was taken."""
        seen = self._seen.get((name, transition))
        if seen is None:
            row = DeviationRow(name, list(transition), Verdict.VIOLATION.value, False, 1, now, now, b"")
            self._batch.restores(self, "_next_deviation")
            new = _Seen(self._next_deviation, row)
            self._next_deviation += 1
        else:
            old = seen.row
            row = old._replace(times=old.times + 1, first=old.first or now, last=max(now, old.last))
            new = seen._replace(row=row)
        self._remember((name, transition), new)

    def models(self) -> list[ImplModel]:
        """Return all models as values."""
        return [
            ImplModel(specification=m.name, transitions=frozenset(m.transitions), learning_mode=m.learning)
            for m in self._models.values()
        ]

    def deviations(self, name: str | None, entry_of: Callable[[str], Entry | None]) -> list[Deviation]:
        """Return what was counted, of one specification or all."""
        for model in self._models.values():
            entry = entry_of(model.name)
            if entry is not None:
                self._refresh(model, entry)
        return [
            Deviation(
                specification=specification,
                transition=transition,
                verdict=Verdict(seen.row.verdict),
                accepted=transition in self._models[specification].accepted
                if specification in self._models
                else seen.row.accepted,
                count=seen.row.times,
                first_seen=to_datetime(seen.row.first),
                last_seen=to_datetime(seen.row.last),
            )
            for (specification, transition), seen in self._seen.items()
            if name is None or name == specification
        ]

    def _refresh(self, model: Model, entry: Entry) -> None:
        # What was accepted holds for one model and one specification; with another of either it ends.
        if model.digest is not None:
            return
        digest = model.digest = xxhash.xxh3_128_digest(_model_digest(model) + entry.lts_digest)
        model.checker = None
        own = {t for (name, t), seen in self._seen.items() if name == model.name and _holds(seen.row, digest)}
        united = {t for name, t, judged in self._source.accepted if name == model.name and judged == digest}
        model.accepted = own | united
        model.together = frozenset(model.transitions | model.accepted)
        model.accepted_sum = sum(map(_number_of, model.accepted))
        model.judged = _judged(digest, model.accepted_sum)

    def specification_changed(self, name: str) -> None:
        """Have the next judgement start anew, since what the model is judged by is another now."""
        model = self._models.get(name)
        if model is not None:
            model.digest = None

    def _accept(self, model: Model, transition: Transition) -> None:
        self._batch.restores(model, "together", "accepted_sum", "judged")
        self._batch.add_to(model.accepted, transition)
        before, model.together = model.together, model.together | {transition}
        if model.checker is not None:
            model.checker.grow(before, transition, model.together)
        model.accepted_sum += _number_of(transition)
        model.judged = _judged(model.digest or b"", model.accepted_sum)

    def _remember(self, key: tuple[str, Transition], seen: _Seen) -> None:
        self._batch.put_in(self._seen, key, seen)
        self._batch.put("deviations", u64(seen.number), records.seal(seen.row))

    def _load_deviation(self, key: bytes, row: bytes) -> None:
        number = int.from_bytes(key, "big")
        self._next_deviation = max(self._next_deviation, number + 1)
        read = deviation_row(row)
        self._seen[read.specification, Transition._make(read.transition)] = _Seen(number, read)

    def _unite(self, name: str, own: Model | None) -> Model:
        file, stored = self._source.files.get(name), self._source.stored.get(name)
        learning = self._source.learning_mode
        if file is not None and not file.learning_mode and not learning:
            return Model(name, set(file.transitions), learning=False)
        parts = [part.transitions for part in (file, stored, own) if part is not None]
        model = Model(name, set().union(*parts), learning=True)
        if own is not None:
            model.number, model.size = own.number, own.size
        return model

    def _store_header(self, model: Model) -> None:
        last = next(iter(self._batch.range("models", b"", reverse=True)), None)
        self._batch.restores(model, "number", "size")
        model.number = 1 if last is None else int.from_bytes(last[0][:4], "big") + 1
        model.size = 0
        self._batch.put("models", u32(model.number) + _HEADER, records.seal([model.name]))


def stored_models(batch: Batch) -> dict[str, Model]:
    """Return the models that a shard's store holds."""
    found: dict[str, Model] = {}
    model: Any = None
    for key, row in batch.range("models", b""):
        values = records.unseal(row, "a model")
        if key[4:] == _HEADER:
            model = found[values[0]] = Model(values[0], set(), learning=True, number=int.from_bytes(key[:4], "big"))
        else:
            model.transitions.add(Transition._make(values))
            model.size = int.from_bytes(key[4:], "big")
    return found


def stored_acceptances(batch: Batch) -> list[tuple[str, Transition, bytes]]:
    """Return the accepted deviations that a shard's store holds, each with the digest of what it was judged with."""
    rows = (deviation_row(row) for _, row in batch.range("deviations", b""))
    return [(row.specification, Transition._make(row.transition), row.digest) for row in rows if row.accepted]


def _model_digest(model: Model) -> bytes:
    ordered = sorted([t.source is not None, t.source or "", t.action, t.target] for t in model.transitions)
    return xxhash.xxh3_128_digest(codec.pack(ordered))


def _judged(digest: bytes, accepted_sum: int) -> bytes:
    return xxhash.xxh3_128_digest(digest + (accepted_sum % (1 << 128)).to_bytes(16, "big"))


def _number_of(transition: Transition) -> int:
    # The sum of these does not depend on the order, in which sets differ from run to run.
    return int.from_bytes(_digest_of(transition), "big")


def _digest_of(transition: Transition) -> bytes:
    return xxhash.xxh3_128_digest(codec.pack(list(transition)))


def _holds(row: DeviationRow, digest: bytes) -> bool:
    return row.accepted and row.digest == digest
