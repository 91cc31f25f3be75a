"""The suspects of a shard in a file, so that the next supervisor knows them.

Only what a worker was executing when it died by itself, or was killed for hanging, gets there. A worker that dies with
its supervisor was killed by that: no evidence against what it was executing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..errors import StoreError
from ..records import seal, unseal
from ..suspects import Suspects

NAME: Final = "suspects"


def read_suspects(folder: Path) -> Suspects:
    """Return the suspects of the shard in `folder`; none where the file is missing or damaged."""
    try:
        return Suspects.of(unseal((folder / NAME).read_bytes(), "the suspects"))
    except (OSError, StoreError, ValueError):
        return Suspects()


def keep_suspects(folder: Path, suspects: Suspects) -> None:
    """Write the suspects down whole or not at all; where that fails, they are known until this process ends.

    They need not survive a power loss, and so nothing waits for a disk.
    """
    fresh = folder / f"{NAME}.new"
    with suppress(OSError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
            file.write(seal(suspects.plain()))
        fresh.replace(folder / NAME)
