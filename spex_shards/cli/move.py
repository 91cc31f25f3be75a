"""The command ``move``: takes the state of a data directory to a database, or back."""

from __future__ import annotations

from typing import Annotated

import typer

from ..audit import move
from ..runtime.store.location import shown
from .output import command
from .progress import Interruption, bar


def move_shards(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The data directory, or the URL of a namespace.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The other of the two; it must be new.")],
) -> None:
    """Move all shards of a data directory into a PostgreSQL database, or back into a directory.

    The URL is postgresql://user@host/database?namespace=NAME; give the password by PGPASSWORD or a password file.
    Everything is copied as it is, and compared. Nothing may run on the directory.

    It may be interrupted at any time, and continues when it is run again; until then neither of the two can be used.
    """
    interruption = Interruption()
    with command() as output, interruption.awaited():
        names = shown(source), shown(target)
        with bar("moving", 1, counts=False) as step:
            done = move(source, target, progress=step.of, interrupted=lambda: bool(interruption))
        shards = f"{done.shards} {'shard' if done.shards == 1 else 'shards'}"
        what = f"{done.rows} rows moved and compared" if done.rows else "moved already"
        output.write(f"{names[0]} → {names[1]}: {shards}, {what}")
