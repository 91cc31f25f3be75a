"""The command ``why``: which tests showed a step of a model."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..domain.difference import shown
from ..review.sidecar import read_frequencies, read_tests
from .output import Format, command
from .steps import ModelName, Step, StepNames, steps_named

UNKNOWN = 1


def why_step(
    model: ModelName,
    step: StepNames,
    form: Annotated[Format, typer.Option("--format", help="How to write the answer.")] = Format.TEXT,
) -> None:
    """Say why a model has a step: the tests that showed it first, and how often it was taken, as far as that is noted.

    The pytest plugin notes tests beside the model, in NAME.spex.json; up to three for each step. Exits with 0 if
    something is noted, with 1 if nothing is, and with 2 if no model has the step.
    """
    with command(form, "why") as output:
        found = [_told(one) for one in steps_named(model, step)]
        output.write("\n".join(text for text, _ in found), {"steps": [plain for _, plain in found]})
        raise typer.Exit(0 if any(plain["tests"] or plain["taken"] for _, plain in found) else UNKNOWN)


def _told(step: Step) -> tuple[str, dict[str, Any]]:
    name, transition = step.model.specification, step.transition
    tests, frequencies = read_tests(step.path).get(transition, ()), read_frequencies(step.path)
    taken = None if frequencies is None else frequencies.taken.get(transition)
    lines = [f"{name}: {shown(transition)}", *(f"  shown by {test}" for test in tests)]
    if frequencies is not None and taken is not None:
        lines.append(f"  taken by {taken} of {frequencies.instances} instances of an event log")
    if len(lines) == 1:
        lines.append("  it is not noted which test showed it: run the tests under the pytest plugin")
    plain = {"specification": name, "file": str(step.path), "step": list(transition), "tests": list(tests)}
    return "\n".join(lines), {**plain, "taken": taken}
