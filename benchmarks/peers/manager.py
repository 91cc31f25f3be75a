"""The manager process of `multiprocess` with its lights in SQLite: such a process keeps nothing when it dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import package
from .sqlite import InSqlite


@contextmanager
def lights(folder: Path, durability: str) -> Iterator[Any]:
    """Open lights in a manager's process; the proxy that is given has the lights' methods."""
    base = package("multiprocess.managers").BaseManager
    kind = type("Kind", (base,), {})
    kind.register("lights", InSqlite)
    with kind() as manager:
        yield manager.lights(str(folder), durability)
