"""The implementation models of a shard: their transitions, the deviations accepted beside them, and judging new ones.

# Guarantees:
#
# * A verdict depends on the model, the specification and the set of accepted deviations, and on nothing else. The
#   digest `Model.judged` names all three. A stored verdict is used again only if its row has the same digest, so no
#   verdict outlives what it was found with.
# * Accepted deviations count only for the model and specification that they were accepted with (`Model.digest`). When
#   either changes, none counts, because the handler might not accept them any more.
"""

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
    """The models that a shard starts with; read once, for all shards and all their restarts.

    Attributes:
        files: The models read from files, by specification.
        malformed: The errors of model files that could not be read, by specification.
        stored: For each specification, the union of the models in the stores of all shards.
        accepted: The deviations accepted on any shard: specification, transition, and digest of the model and
            specification that they were judged with.
        learning_mode: Whether every model learns, and missing models are created without calling a handler.
    """

    files: Mapping[str, ImplModel] = field(default_factory=dict)
    malformed: Mapping[str, DeserialisationFailed] = field(default_factory=dict)
    stored: Mapping[str, ImplModel] = field(default_factory=dict)
    accepted: Iterable[tuple[str, Transition, bytes]] = ()
    learning_mode: bool = False


@dataclass(slots=True)
class Model:
    """One model.

    Attributes:
        name: The specification's name.
        transitions: Its transitions.
        learning: Whether it is in learning mode.
        number: Identifies it in the keys of rows; 0: nothing of it is stored yet.
        size: How many learned transitions are stored.
        digest: The digest of the model and its specification; None: it must be computed before the next judgement.
        accepted: The accepted deviations.
        checker: Judges deviations, and remembers verdicts; None: no deviation was judged yet.
        together: The transitions of the model and the accepted deviations.
        judged: The digest of everything that a verdict depends on.
        accepted_sum: The part of `judged` that stands for the accepted deviations.
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
    """A deviation as it is stored.

    Attributes:
        specification: The specification's name.
        transition: The transition.
        verdict: The verdict's value.
        accepted: Whether it counts in later judgements.
        times: How often it was observed.
        first: When it was first observed, in microseconds since the epoch.
        last: When it was last observed.
        digest: The digest of the model and specification that it was judged with.
        judged: The same with the accepted deviations; empty in rows of versions that did not store it.
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
    """Return the deviation that a row holds.

    Raises:
        StoreError: The row is damaged.
    """
    return DeviationRow(*records.unseal(row, "a deviation")[: len(DeviationRow._fields)])


class _Seen(NamedTuple):
    number: int
    row: DeviationRow


class ModelBook:
    """All models and deviations of one shard. All are in memory; the store has the learned transitions and deviations.

    Args:
        batch: The shard's batch.
        source: The models to start with.

    Attributes:
        checks: The verdicts of large checks.

    Raises:
        StoreError: A row is damaged.
    """

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
        """Return the model of a specification, or None; in learning mode a missing one is created.

        Raises:
            DeserialisationFailed: The model's file is malformed.
        """
        model = self._models.get(name)
        if model is not None and name not in self._source.malformed:
            return model
        if name in self._source.malformed:
            error = self._source.malformed[name]
            raise DeserialisationFailed(str(error), **error.context)
        return self.create(name) if model is None and self._source.learning_mode else model

    def create(self, name: str) -> Model:
        """Create an empty model in learning mode, in the batch, and return it."""
        model = Model(name, set(), learning=True)
        self._batch.put_in(self._models, name, model)
        self._store_header(model)
        return model

    def learn(self, model: Model, transition: Transition) -> None:
        """Add a transition to a learning model, in the batch."""
        if transition in model.transitions:
            return
        if not model.number:
            self._store_header(model)
        self._batch.restores(model, "size")
        self._batch.add_to(model.transitions, transition)
        model.size += 1
        self._batch.put("models", u32(model.number) + u64(model.size), records.seal(list(transition)))

    def judge(self, model: Model, entry: Entry, transition: Transition) -> Verdict:
        """Return the verdict on the model together with the accepted deviations and this one.

        The verdict is remembered until the specification, the model or the accepted set changes.

        Raises:
            Deferred: The check is large, and must be made as deferred work first.
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
        """Return the verdict on the model with its accepted deviations, or None if it is not known."""
        return None if model.checker is None else model.checker.known(model.together)

    def record(self, model: Model, transition: Transition, verdict: Verdict, now: int, *, passed: bool) -> None:
        """Count a deviation, in the batch. It is accepted if the model stays equivalent and the handler passed it.

        Args:
            model: The model.
            transition: The deviation.
            verdict: The verdict on it.
            now: The time.
            passed: Whether the handler accepted it.
        """
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
        """Count a step that the specification does not allow at its instance's position, in the batch."""
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
        """Return the counted deviations of one specification or of all (None).

        Args:
            name: The specification's name.
            entry_of: Finds a specification by its name.
        """
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
        # Compute again what depends on the model and the specification, unless both are unchanged.
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
        """Forget cached verdicts and accepted deviations of a model: its specification has changed."""
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
    """Return the models in a shard's store, by specification.

    Raises:
        StoreError: A row is damaged.
    """
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
    """Return the accepted deviations in a shard's store: specification, transition, and digest as in `ModelSource`.

    Raises:
        StoreError: A row is damaged.
    """
    rows = (deviation_row(row) for _, row in batch.range("deviations", b""))
    return [(row.specification, Transition._make(row.transition), row.digest) for row in rows if row.accepted]


def _model_digest(model: Model) -> bytes:
    ordered = sorted([t.source is not None, t.source or "", t.action, t.target] for t in model.transitions)
    return xxhash.xxh3_128_digest(codec.pack(ordered))


def _judged(digest: bytes, accepted_sum: int) -> bytes:
    return xxhash.xxh3_128_digest(digest + (accepted_sum % (1 << 128)).to_bytes(16, "big"))


def _number_of(transition: Transition) -> int:
    # These numbers are added up for a set: a sum does not depend on the set's order, which differs from run to run.
    return int.from_bytes(_digest_of(transition), "big")


def _digest_of(transition: Transition) -> bytes:
    return xxhash.xxh3_128_digest(codec.pack(list(transition)))


def _holds(row: DeviationRow, digest: bytes) -> bool:
    return row.accepted and row.digest == digest
