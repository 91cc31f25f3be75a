"""The command line: ``spex-shards check``, ``diff``, ``replay`` and so on; each command has a module.

A command exits with 0 or 1 for a positive or negative answer, with 2 if it could not be carried out, and with 130 if it
was interrupted. Its result goes to stdout; progress bars, log records and errors go to stderr.
"""

from __future__ import annotations

import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from .. import __version__

PROGRAM = "spex-shards"
_COMMANDS: Final = {
    "init": "init:init_specification",
    "learn": "learn:learn_models",
    "check": "check:check_models",
    "conform": "conform:conform_log",
    "convert": "convert:convert_model",
    "diff": "diff:diff_models",
    "export": "export:export_models",
    "forget": "forget:forget_step",
    "merge": "merge:merge_models",
    "minimise": "minimise:minimise_model",
    "render": "render:render_models",
    "replay": "replay:replay_log",
    "suggest": "suggest:suggest_tests",
    "serve": "serve:serve",
    "revive": "revive:revive_shards",
    "verify": "verify:verify_directory",
    "why": "why:why_step",
    "backup": "backup:backup_directory",
    "restore": "backup:restore_directory",
    "reshard": "reshard:reshard_directory",
}
"""Each command's module and function, in the order of the help."""


class _Commands(TyperGroup):
    """The commands. Only the requested one is imported: importing the others would take most of a short run."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the interface of the base class
        """Return the commands' names."""
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Return a command, or None if there is none of that name."""
        if cmd_name not in _COMMANDS:
            return None
        module, function = _COMMANDS[cmd_name].split(":")
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        alone.command(cmd_name)(getattr(import_module(f".{module}", __name__), function))
        return typer.main.get_command(alone)


# Plain text: a panel would break the lines of an error, and the log of a build shows no colours.
app = typer.Typer(
    name=PROGRAM,
    cls=_Commands,
    help="Models of what your program does, checked against what it must do.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line; never returns."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a character that stdout cannot show must not be an error
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
