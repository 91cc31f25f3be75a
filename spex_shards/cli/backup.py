"""``backup`` and ``restore``: whole copies of a data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..audit import backup, restore
from .output import command
from .progress import bar


def backup_directory(
    data_dir: Annotated[Path, typer.Argument(metavar="DIR", help="The data directory; shards may be running on it.")],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="Where the backup is to be: a new directory.")],
) -> None:
    """Copy a data directory while it is used.

    Everything that was acknowledged before the call is in the copy. It appears at DEST when it is whole, and not at
    all when this is interrupted.
    """
    with command() as output:
        with bar("copying", 1, counts=False) as step:
            newest = backup(data_dir, destination, progress=step.of)
        output.write(f"{destination}: {len(newest)} {'shard' if len(newest) == 1 else 'shards'} copied")


def restore_directory(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="The backup; it stays as it is.")],
    data_dir: Annotated[Path, typer.Argument(metavar="DIR", help="Where the data directory is to be: a new one.")],
) -> None:
    """Make a data directory of a backup."""
    with command() as output:
        with bar("copying", 1, counts=False) as step:
            restore(source, data_dir, progress=step.of)
        output.write(f"{data_dir}: restored from {source}")
