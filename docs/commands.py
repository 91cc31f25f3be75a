"""Describe all commands of the command line in Markdown, from the declarations that the program itself uses."""

from typing import Any

import typer

from spex_shards.cli import PROGRAM, app


def described() -> str:
    """Return one section for each command: its help, its arguments and its options."""
    group: Any = typer.main.get_command(app)
    context = group.context_class(group, info_name=PROGRAM)
    return "\n".join(_section(name, group.get_command(context, name)) for name in group.list_commands(context))


def _section(name: str, command: Any) -> str:
    context = command.context_class(command, info_name=f"{PROGRAM} {name}")
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"## {name}", "", command.help or "", "", "```console", f"$ {PROGRAM} {name} {usage}", "```", ""]
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:  # else it is not shown
            what, why = (" ".join(text.split()) for text in record)
            lines += [f"`{what}`", f": {why}", ""]
    return "\n".join(lines)
