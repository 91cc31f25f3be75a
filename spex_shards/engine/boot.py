"""The one place where a store, models and specifications become an engine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..domain.impl_model import ImplModel
from ..domain.transition import Transition
from ..errors import SpexError
from ..formats.model_files import read_models
from ..messages.specifications import StoredSpecification
from ..runtime.store import Batch
from ..runtime.store.checkpoint import ForkedCheckpoint
from ..runtime.store.data_dir import DataDir
from ..runtime.store.files import OsFiles
from ..runtime.store.lmdb_store import LmdbStore
from ..runtime.store.logged_store import LoggedStore
from ..runtime.store.view import StoreView
from . import Engine, EngineOptions, ModelSource, stored_acceptances, stored_models


@dataclass(frozen=True, slots=True)
class BootOptions:
    """What starting an engine takes.

    Attributes:
        durability: ``"process"`` or ``"disk"``.
        engine: The engine's own options.
        specifications: Specifications to refresh before anything else happens.
        helper_keeps: Descriptors that the helper process of checkpoints keeps; None: checkpoints are written by the
            process that the engine is in.
        waits_for_room: Whether a batch waits while the store takes nothing more; else it is refused with `StoreFull`.
    """

    durability: str
    engine: EngineOptions
    specifications: Sequence[StoredSpecification] = ()
    helper_keeps: Sequence[int] | None = None
    waits_for_room: bool = True


@dataclass(slots=True)
class Stored:
    """What the stores of all shards hold together: models united, and accepted deviations."""

    models: dict[str, set[Transition]] = field(default_factory=dict)
    accepted: set[tuple[str, Transition, bytes]] = field(default_factory=set)


def open_engine(path: Path, source: ModelSource, options: BootOptions, now: int) -> Engine:
    """Open a shard's store and return its engine, ready for requests.

    Raises:
        DataDirError: The environment or its log cannot be opened.
        StoreError: A row that must be read at the start is damaged.
    """
    store = open_store(path, options)
    try:
        return engine_of(store, source, options, now)
    except BaseException:
        store.close()
        raise


def engine_of(store: LoggedStore, source: ModelSource, options: BootOptions, now: int) -> Engine:
    """Return an engine over a store that is open.

    Raises:
        StoreError: A row that must be read at the start is damaged.
    """
    engine = Engine(store, source, options.engine, now)
    for specification in options.specifications:
        engine.register(specification, None)
    engine.commit()
    return engine


def open_store(path: Path, options: BootOptions) -> LoggedStore:
    """Open a shard's store.

    Raises:
        DataDirError: The environment or its log cannot be opened.
    """
    base = LmdbStore(path, sync=True)
    try:
        helper = None if options.helper_keeps is None else ForkedCheckpoint(base, options.helper_keeps)
        return LoggedStore(
            base,
            OsFiles(path),
            sync_each=options.durability == "disk",
            checkpointer=helper,
            on_wait=options.engine.watch.bump,
            waits_for_room=options.waits_for_room,
        )
    except BaseException:
        base.close()
        raise


def open_view(path: Path) -> StoreView:
    """Open a shard's store and its log for reading, as they are; also where nothing can be written.

    Raises:
        DataDirError: They cannot be opened.
    """
    base = LmdbStore(path, sync=True, reading=path.exists() and not os.access(path, os.W_OK))
    try:
        return StoreView(base, OsFiles(path))
    except BaseException:
        base.close()
        raise


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
    store = open_view(path)
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
