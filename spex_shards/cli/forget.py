"""The command ``forget``: removes one step from a model file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..domain.difference import shown
from ..formats.model_files import locked, replace_file
from ..formats.notebook import counted
from ..review.sidecar import read_tests, sidecar_of, without_step
from .output import Format, command
from .steps import ModelName, Step, StepNames, steps_named


def forget_step(
    model: ModelName,
    step: StepNames,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    form: Annotated[Format, typer.Option("--format", help="How to write what was done.")] = Format.TEXT,
) -> None:
    """Remove a step from a model file, and what is noted about it beside the file.

    Learning only adds, so this is how a step goes that the program makes no more. A test that still shows it teaches it
    again. Exits with 0, or with 2 when it cannot be done; then nothing has changed.
    """
    with command(form, "forget") as output:
        found = steps_named(model, step)
        if len(found) > 1:
            names = ", ".join(one.model.specification for one in found)
            output.fail(f"{len(found)} models have the step: {names}; name one of their files")
        with locked(found[0].path.parent):
            one = steps_named(str(found[0].path), step)[0]  # another process may have changed it meanwhile
            tests = read_tests(one.path).get(one.transition, ())
            files = _forgotten(one, dry_run=dry_run)
        left = len(one.model.transitions) - 1
        plain = {
            "specification": one.model.specification, "step": list(one.transition), "left": left,
            "files": [str(file) for file in files], "tests": list(tests), "dry_run": dry_run,
        }  # fmt: skip
        output.write("\n".join(_lines(one, tests, files, left, dry_run=dry_run)), plain)


def _forgotten(step: Step, *, dry_run: bool) -> list[Path]:
    """Remove the step from model and sidecar; return the files that changed, or would."""
    model = replace(step.model, transitions=step.model.transitions - {step.transition})
    note = without_step(step.path, step.transition)
    changes = [(step.path, model.serialise().encode())]
    changes += [] if note is None else [(sidecar_of(step.path), note)]
    if not dry_run:
        for path, content in reversed(changes):  # the model last: until then the command can be repeated
            replace_file(path, content)
    return [path for path, _ in changes]


def _lines(step: Step, tests: tuple[str, ...], files: list[Path], left: int, *, dry_run: bool) -> list[str]:
    done = "would be forgotten" if dry_run else "forgotten"
    lines = [f"{step.model.specification}: {shown(step.transition)} {done}; {counted(left, 'transition')} left"]
    lines.append(f"  {'would change' if dry_run else 'changed'}: {', '.join(map(str, files))}")
    lines += ["  a test that shows it teaches it again; these did:"] if tests else []
    return [*lines, *(f"    {test}" for test in tests)]
