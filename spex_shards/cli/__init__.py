"""The command line: ``spex-shards check``, ``diff``, ``replay`` and so on; a module for each command.

Every command exits with 0 or 1 as its answer is yes or no, with 2 when it could not be done, and with 130 when it was
interrupted. A result goes to stdout; bars, log records and errors go to stderr.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from .. import __version__
from .backup import backup_directory, restore_directory
from .check import check_models
from .convert import convert_model
from .diff import diff_models
from .export import export_models
from .merge import merge_models
from .minimise import minimise_model
from .render import render_models
from .replay import replay_log
from .reshard import reshard_directory
from .revive import revive_shards
from .serve import serve
from .verify import verify_directory

PROGRAM = "spex-shards"

# Plain text: a panel would break the lines of an error, and a log of a build has no colours.
app = typer.Typer(
    name=PROGRAM,
    help="Models of what your program does, checked against what it must do.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("check")(check_models)
app.command("convert")(convert_model)
app.command("diff")(diff_models)
app.command("export")(export_models)
app.command("merge")(merge_models)
app.command("minimise")(minimise_model)
app.command("render")(render_models)
app.command("replay")(replay_log)
app.command("serve")(serve)
app.command("revive")(revive_shards)
app.command("verify")(verify_directory)
app.command("backup")(backup_directory)
app.command("restore")(restore_directory)
app.command("reshard")(reshard_directory)


def main() -> None:
    """Run the command line; never returns."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name must not fail for want of a letter
    app(prog_name=PROGRAM)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass
