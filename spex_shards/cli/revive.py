"""The command ``revive``: restarts shards that were given up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import SpexError
from ..manager import AttachedInstanceManager, connect
from ..runtime.shard_info import ShardStatus
from .output import Format, Output, command
from .overrides import directory

STILL_FAILED = 1
_WITHIN = 60.0
"""Seconds that a shard gets to start: it may have a long log to read."""


def revive_shards(
    data_dir: Annotated[
        Path, typer.Argument(metavar="DIR", parser=directory, help="The data directory; its shards must be running.")
    ],
    index: Annotated[
        int | None, typer.Argument(metavar="INDEX", help="The shard's. Default: all that were given up.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How to write what was done.")] = Format.TEXT,
) -> None:
    """Restart shards that died too often and were given up (FAILED), once the cause is removed.

    Attaches to the running supervisor, as clients do. Exits with 0 when none of the shards is FAILED now, with 1 when
    one could not be started, and with 2 when it cannot be done: no process serves the directory, or it has no such
    shard.
    """
    with command(form) as output, connect(data_dir, call_timeout=_WITHIN) as manager:
        shards = manager.shards()
        if index is not None and not 0 <= index < len(shards):
            raise ValueError(f"INDEX must be a shard's, 0 to {len(shards) - 1}, got: {index}")
        asked = [shard for shard in shards if index in (None, shard.index)]
        given_up = [shard.index for shard in asked if shard.status is ShardStatus.FAILED]
        errors = {shard: error for shard in given_up if (error := _revived(manager, shard)) is not None}
        _write(
            output, given_up, errors, "no shard is FAILED" if index is None else f"shard {index} is {asked[0].status}"
        )
        raise typer.Exit(STILL_FAILED if errors else 0)


def _revived(manager: AttachedInstanceManager, shard: int) -> str | None:
    """Revive a shard; return why it could not be started, or None."""
    try:
        manager.revive(shard)
    except SpexError as error:
        return str(error)
    return None


def _write(output: Output, given_up: list[int], errors: dict[int, str], nothing: str) -> None:
    lines = [
        f"shard {shard}: could not be started: {errors[shard]}" if shard in errors else f"shard {shard}: started"
        for shard in given_up
    ]
    plain = {
        "revived": [shard for shard in given_up if shard not in errors],
        "failed": [{"shard": shard, "error": error} for shard, error in errors.items()],
    }
    output.write("\n".join(lines or [nothing]), plain)
