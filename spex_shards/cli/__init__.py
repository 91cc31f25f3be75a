"""The command line: ``spex-shards check``, ``diff``, ``replay`` and so on; each command has a module.

A command exits with 0 or 1 for a positive or negative answer, with 2 if it could not be carried out, and with 130 if it
was interrupted. Its result goes to stdout; progress bars, log records and errors go to stderr.
"""

from __future__ import annotations

import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Any, Final

from .interrupts import quiet_interrupts

PROGRAM = "spex-shards"
COMMANDS: Final = {
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
    "cluster": "cluster:cluster",
    "top": "top:watch_shards",
    "config": "config:show_options",
    "revive": "revive:revive_shards",
    "verify": "verify:verify_directory",
    "why": "why:why_step",
    "backup": "backup:backup_directory",
    "restore": "backup:restore_directory",
    "reshard": "reshard:reshard_directory",
    "move": "move:move_shards",
}
"""Each command's module and function, in the order of the help."""


def main() -> None:
    """Run the command line; never returns."""
    quiet_interrupts()  # before the imports below, which take most of a short run
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a character that stdout cannot show must not be an error
    import_module(".program", __name__).app(prog_name=PROGRAM)


def __getattr__(name: str) -> Any:
    if name == "app":
        return import_module(".program", __name__).app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
