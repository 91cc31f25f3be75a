"""The one place where a store, models and specifications become an engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .data_dir import DataDir
from .domain.impl_model import ImplModel
from .domain.lts import Transition
from .engine import Engine, EngineOptions, ModelSource, stored_acceptances, stored_models
from .errors import SpexError
from .model_files import read_models
from .records import StoredSpecification
from .store import Batch
from .store.lmdb_store import LmdbStore


@dataclass(frozen=True, slots=True)
class BootOptions:
    """What starting an engine takes.

    Attributes:
        durability: ``"process"`` or ``"disk"``.
        engine: The engine's own options.
        specifications: Specifications to refresh before anything else happens.
    """

    durability: str
    engine: EngineOptions
    specifications: Sequence[StoredSpecification] = ()


@dataclass(slots=True)
class Stored:
    """What the stores of all shards hold together: models united, and accepted deviations."""

    models: dict[str, set[Transition]] = field(default_factory=dict)
    accepted: set[tuple[str, Transition, bytes]] = field(default_factory=set)


def open_engine(path: Path, source: ModelSource, options: BootOptions, now: int) -> Engine:
    """Open a shard's store and return its engine, ready for requests.

    Raises:
        DataDirError: The environment cannot be opened.
        StoreError: A row that must be read at the start is damaged.
    """
    store = LmdbStore(path, sync=options.durability == "disk")
    try:
        engine = Engine(store, source, options.engine, now)
        for specification in options.specifications:
            engine.register(specification, None)
        engine.commit()
    except BaseException:
        store.close()
        raise
    return engine


def unite_stores(paths: Iterable[Path]) -> Stored:
    """Read what the stores at `paths` learned and accepted; stores that are not there yet hold nothing.

    One that cannot be read is left out: its own shard says why when it starts.
    """
    stored = Stored()
    for path in paths:
        if not (path / "data.mdb").exists():
            continue
        try:
            _add(stored, path)
        except SpexError:
            continue
    return stored


def _add(stored: Stored, path: Path) -> None:
    store = LmdbStore(path, sync=False)
    try:
        batch = Batch(store)
        models, accepted = stored_models(batch), stored_acceptances(batch)
    finally:
        store.close()
    for name, model in models.items():
        stored.models.setdefault(name, set()).update(model.transitions)
    stored.accepted.update(accepted)


def model_source(impl_models_dir: Path, stored: Stored, *, learning_mode: bool) -> ModelSource:
    """Read the model files once, and put them together with what is stored.

    Raises:
        ImplModelError: Two files for one specification, or the folder cannot be read.
    """
    files, malformed = read_models(impl_models_dir)
    return ModelSource(
        files=files,
        malformed=malformed,
        stored={
            name: ImplModel(specification=name, transitions=frozenset(transitions), learning_mode=True)
            for name, transitions in stored.models.items()
        },
        accepted=tuple(stored.accepted),
        learning_mode=learning_mode,
    )


def shard_paths(directory: DataDir, shards: int) -> list[Path]:
    """Return the environments' places of a directory for `shards` shards."""
    return [directory.shard(index) for index in range(shards)]
