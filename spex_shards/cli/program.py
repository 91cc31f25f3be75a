"""The program: its commands, each of which is imported when it is requested, and the options of the program itself."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from .. import __version__
from . import COMMANDS, PROGRAM

_SETTINGS: Final = {"help_option_names": ["-h", "--help"]}


class _Command(TyperCommand):
    """One command. Its errors speak of the option that was typed, not of how typer checks it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


class _Commands(TyperGroup):
    """The commands. Only the requested one is imported: importing the others would take most of a short run."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: Any = dict.fromkeys(COMMANDS)  # their names, for "did you mean"; `get_command` has the commands

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the interface of the base class
        """Return the commands' names."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Return a command, or None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, function = COMMANDS[cmd_name].split(":")
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        carried_out = getattr(import_module(f".{module}", __package__), function)
        # What follows a command that is to be run belongs to that command, also without "--" before it.
        settings = {**_SETTINGS, "allow_interspersed_args": cmd_name != "learn"}
        alone.command(cmd_name, cls=_Command, context_settings=settings)(carried_out)
        return typer.main.get_command(alone)


# Plain text: a panel would break the lines of an error, and the log of a build shows no colours.
app = typer.Typer(
    name=PROGRAM,
    cls=_Commands,
    help="Models of what your program does, checked against what it must do.",
    context_settings=_SETTINGS,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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
