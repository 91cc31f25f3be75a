"""The commands ``backup`` and ``restore``: complete copies of a data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..audit import backup, restore
from ..audit.copies import MODELS
from .output import command
from .overrides import chosen_from, directory
from .progress import bar


def backup_directory(
    data_dir: Annotated[
        Path, typer.Argument(metavar="DIR", parser=directory, help="The data directory; shards may be running on it.")
    ],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="Where the backup is to be: a new directory.")],
    models_dir: Annotated[
        Path | None, typer.Option(help="Whose model files are copied too. Default: the option impl_models_dir.")
    ] = None,
) -> None:
    """Copy a data directory while it is used.

    The copy has everything that was acknowledged before the call, and the model files. It appears at DEST when it is
    complete; an interrupted backup leaves nothing there.
    """
    with command() as output:
        models = Path(chosen_from(impl_models_dir=models_dir)["impl_models_dir"])
        if models_dir is not None and not models.is_dir():
            raise FileNotFoundError(2, "there is no such directory of models", str(models))
        with bar("copying", 1, counts=False) as step:
            newest = backup(data_dir, destination, models_dir=models, progress=step.of)
        found = f", with the models of {models}" if (destination / MODELS).is_dir() else ""
        output.write(f"{destination}: {len(newest)} {'shard' if len(newest) == 1 else 'shards'} copied{found}")


def restore_directory(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="The backup; it stays as it is.")],
    data_dir: Annotated[Path, typer.Argument(metavar="DIR", help="Where the data directory is to be: a new one.")],
    models_dir: Annotated[
        Path | None,
        typer.Option(help="Where the model files are to be: a new directory. Default: the folder models of DIR."),
    ] = None,
) -> None:
    """Make a data directory from a backup."""
    with command() as output:
        with bar("copying", 1, counts=False) as step:
            models = restore(source, data_dir, models_dir=models_dir, progress=step.of)
        found = "" if models is None else f", its models are in {models}"
        output.write(f"{data_dir}: restored from {source}{found}")
