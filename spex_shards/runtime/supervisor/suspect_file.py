"""Keeps the suspects of a shard in a file, so that the next supervisor knows them.

A request becomes a suspect only if its worker died by itself or was killed for hanging. A worker that dies together
with its supervisor was killed by that, which is no evidence against the request that it was executing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...errors import DataDirError, StoreError
from ..protocol.records import seal, unseal
from ..system.private import open_file, read_file, replace_file
from ..worker.suspects import Suspects

NAME: Final = "suspects"


def read_suspects(folder: Path) -> Suspects:
    """Return the suspects of the shard in `folder`; none if the file is missing, damaged or another user's."""
    try:
        return Suspects.of(unseal(read_file(folder / NAME), "the suspects"))
    except (OSError, DataDirError, StoreError, ValueError):
        return Suspects()


def keep_suspects(folder: Path, suspects: Suspects) -> None:
    """Write the suspects to the file atomically; if that fails, they are known until this process ends.

    The file is not synced: it need not survive a power loss, and so the supervisor never waits for a disk.
    """
    fresh = folder / f"{NAME}.new"
    with suppress(OSError, DataDirError):
        with os.fdopen(open_file(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
            file.write(seal(suspects.plain()))
        replace_file(fresh, folder / NAME)
