"""Reading the models of a data directory once, for all shards and all their restarts."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..domain.transition import Transition
from ..runtime.protocol.config import SupervisorConfig
from ..runtime.protocol.requests import MAX_REPLY_BYTES
from ..runtime.protocol.session import frame
from ..runtime.protocol.wire import receive_frame
from ..runtime.store.data_dir import DataDir
from ..runtime.supervisor.process import Forker, WorkerProcess
from . import ModelSource
from .boot import Stored, model_source, shard_paths, unite_stores

_FORK_WITHIN: Final = 3.0
_STEP: Final = 0.05


def read_models(forker: Forker, directory: DataDir, config: SupervisorConfig) -> ModelSource:
    """Read the model files, and what the stores of all shards hold.

    Raises:
        ImplModelError: Two model files for one specification.
    """
    paths = [path for path in shard_paths(directory, config.shards) if (path / "data.mdb").exists()]
    stored = _unite_elsewhere(forker, paths) if paths else Stored()
    return model_source(Path(config.impl_models_dir), stored, learning_mode=config.learning_mode)


def _unite_elsewhere(forker: Forker, paths: list[Path]) -> Stored:
    """Read the stores in processes of their own: an environment must not be open in a process that forks workers.

    A damaged page may have LMDB end the process that reads it: that store is left out, and its own shard says why.
    """
    try:
        return _united(forker, paths)
    except EOFError:
        stored = Stored()
    for path in paths:
        try:
            part = _united(forker, [path])
        except EOFError:
            continue
        for name, transitions in part.models.items():
            stored.models.setdefault(name, set()).update(transitions)
        stored.accepted |= part.accepted
    return stored


def _fork(forker: Forker, read: Callable[[socket.socket], int], theirs: socket.socket) -> WorkerProcess:
    """Fork a process that reads; where none is to be had just now, wait a moment.

    Raises:
        OSError: None is to be had.
    """
    deadline = time.monotonic() + _FORK_WITHIN
    with theirs:
        while True:
            try:
                return forker.fork(read, theirs.fileno())
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_STEP)


def _united(forker: Forker, paths: list[Path]) -> Stored:
    """Read some stores in one process.

    Raises:
        EOFError: It died.
    """

    def read(_control: socket.socket) -> int:
        stored = unite_stores(paths)
        models = [[name, [list(t) for t in transitions]] for name, transitions in stored.models.items()]
        accepted = [[name, list(t), digest] for name, t, digest in stored.accepted]
        theirs.sendall(frame([models, accepted]))
        return 0

    ours, theirs = socket.socketpair()
    helper = _fork(forker, read, theirs)
    try:
        models, accepted = receive_frame(ours, MAX_REPLY_BYTES)
    finally:
        ours.close()
        with suppress(ChildProcessError):
            os.waitpid(helper.pid, 0)
        helper.close()
    return Stored(
        {name: {Transition._make(t) for t in transitions} for name, transitions in models},
        {(name, Transition._make(t), digest) for name, t, digest in accepted},
    )
