"""Reading the models of a data directory once, for all shards and all their restarts."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from ..boot import Stored, model_source, shard_paths, unite_stores
from ..data_dir import DataDir
from ..domain.lts import Transition
from ..engine import ModelSource
from ..errors import ShardError
from ..protocol import MAX_REPLY_BYTES
from ..session import frame
from ..wire import FrameReader
from .config import SupervisorConfig
from .process import Forker


def read_models(forker: Forker, directory: DataDir, config: SupervisorConfig) -> ModelSource:
    """Read the model files, and what the stores of all shards hold.

    Raises:
        ImplModelError: Two model files for one specification.
        ShardError: The process that reads the stores died.
    """
    paths = [path for path in shard_paths(directory, config.shards) if (path / "data.mdb").exists()]
    stored = _unite_elsewhere(forker, paths) if paths else Stored()
    return model_source(Path(config.impl_models_dir), stored, learning_mode=config.learning_mode)


def _unite_elsewhere(forker: Forker, paths: list[Path]) -> Stored:
    # In a process of its own: an environment must not be open in a process that forks workers.
    def read(_control: socket.socket) -> int:
        stored = unite_stores(paths)
        models = [[name, [list(t) for t in transitions]] for name, transitions in stored.models.items()]
        accepted = [[name, list(t), digest] for name, t, digest in stored.accepted]
        theirs.sendall(frame([models, accepted]))
        return 0

    ours, theirs = socket.socketpair()
    helper = forker.fork(read, theirs.fileno())
    theirs.close()
    try:
        models, accepted = _receive_list(ours)
    except EOFError:
        raise ShardError("the stores could not be read: the process that reads them died") from None
    finally:
        ours.close()
        os.waitpid(helper.pid, 0)
        helper.close()
    return Stored(
        {name: {Transition._make(t) for t in transitions} for name, transitions in models},
        {(name, Transition._make(t), digest) for name, t, digest in accepted},
    )


def _receive_list(connection: socket.socket) -> list[Any]:
    reader = FrameReader(MAX_REPLY_BYTES)
    while True:
        data = connection.recv(65536)
        if not data:
            raise EOFError
        for plain in reader.feed(data):
            return list(plain)
