"""The section of pytest's terminal summary: the verdicts, what changed, and why the session fails."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import pytest

from ..domain.difference import shown
from ..domain.transition import Transition
from .concluding import Conclusion
from .settings import Mode

if TYPE_CHECKING:
    from ..cli.formats import Case

MOST_LINES: Final = 10
"""So many transitions of a kind are listed for each model."""
_COLOURS: Final = {"equivalent": "green", "holds": "green", "incomplete": "yellow", "violation": "red"}


def tell(terminal: pytest.TerminalReporter, result: Conclusion) -> None:
    """Write the summary of a run to the terminal, in colour where pytest uses colour."""
    if result.report is None and not result.failures and not result.left_out:
        return
    terminal.ensure_newline()
    terminal.section(f"spex_shards: {result.mode.value}", "=", bold=True)
    cases = () if result.report is None else result.report.cases
    for case in cases:
        _tell_case(terminal, case)
        _tell_steps(terminal, case.name, result)
    for name in sorted(result.left_out.keys() - {case.name for case in cases}):
        terminal.write_line(f"{name}: no model")
        _tell_steps(terminal, name, result)
    if result.report is not None and result.report.summary:
        terminal.write_line(result.report.summary)
    _tell_rest(terminal, result)


def _tell_case(terminal: pytest.TerminalReporter, case: Case) -> None:
    name, colon, rest = case.summary.partition(": ")
    verdict = str(case.facts.get("verdict", ""))
    colour = _COLOURS.get(verdict, "yellow")
    terminal.write(f"{name}{colon}", bold=True)
    terminal.write_line(rest, **{colour: True})
    for line in case.details:
        terminal.write_line(f"  {line}")


def _tell_steps(terminal: pytest.TerminalReporter, name: str, result: Conclusion) -> None:
    added = result.added.get(name, ())
    known = tuple(step for step in result.causes.get(name, ()) if step not in added)
    new = "learned" if result.mode is Mode.UPDATE else "not in the model file yet"
    kinds: Iterable[tuple[str, tuple[Transition, ...], str, str]] = (
        ("!", known, "a cause of the verdict", "red"),
        ("+", added, new, "green" if result.mode is Mode.UPDATE else "yellow"),
        ("!", result.left_out.get(name, ()), "only failed tests showed it, so it is left out", "red"),
        ("-", result.gone.get(name, ()), "this run did not show it; spex-shards forget removes it", "yellow"),
    )
    for sign, steps, text, colour in kinds:
        for step in steps[:MOST_LINES]:
            terminal.write(f"  {sign} {shown(step)}", **{colour: True})
            terminal.write_line(f"  ({text})")
            if sign != "-":
                for test in result.tests.get(name, {}).get(step, ()):
                    terminal.write_line(f"      shown by {test}")
        if len(steps) > MOST_LINES:
            terminal.write_line(f"  {sign} and {len(steps) - MOST_LINES} more")


def _tell_rest(terminal: pytest.TerminalReporter, result: Conclusion) -> None:
    if result.partial:
        more = " Nothing was removed." if result.mode is Mode.UPDATE else ""
        terminal.write_line(f"This run was partial: {'; '.join(result.partial)}.{more}")
    if result.mode is Mode.UPDATE and result.added:
        count = len(result.added)
        terminal.write_line(
            f"{count} {'model' if count == 1 else 'models'} changed in {result.folder}; commit the folder."
        )
    elif result.added and not result.failures:
        terminal.write_line("To add what is new to the model files: pytest --spex=update.")
    for note in result.notes:
        terminal.write_line(note)
    for failure in result.failures:
        terminal.write_line(f"spex: {failure}", red=True, bold=True)
