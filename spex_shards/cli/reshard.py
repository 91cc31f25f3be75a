"""The command ``reshard``: changes the number of shards of a data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..audit import reshard
from ..formats.notebook import counted
from ..manager.settings import options_from
from .output import command
from .overrides import directory
from .progress import Interruption, bar
from .services import ServiceName, service_named


def reshard_directory(
    data_dir: Annotated[
        Path, typer.Argument(metavar="DIR", parser=directory, help="The data directory; nothing may run on it.")
    ],
    to: Annotated[int, typer.Option("--to", metavar="M", help="The number of shards that it is to have.")],
    service: ServiceName = None,
) -> None:
    """Change the number of shards, moving only the instances that must move.

    The directory of a service of your own needs --service, whose routing_key says where rows belong.

    It may be interrupted at any time, and continues when it is run again; until then nothing else opens the directory.
    """
    interruption = Interruption()
    with command() as output, interruption.awaited():
        options_from({"distribution_factor": to}, {"distribution_factor": "--to"})  # names what was typed
        cls = service_named(service)
        with bar("resharding", 1, counts=False) as step:
            done = reshard(data_dir, to, service=cls, progress=step.of, interrupted=lambda: bool(interruption))
        shards = f"{done.after} {'shard' if done.after == 1 else 'shards'}"
        if done.before == done.after:
            output.write(f"{data_dir} has {shards} already")
        else:
            moved = counted(done.moved, "row" if cls else "instance")
            output.write(f"{data_dir}: {done.before} → {shards}, {moved} moved")
