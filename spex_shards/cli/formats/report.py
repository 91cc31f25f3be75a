"""The report of a command, independent of its format."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ...review import Finding


class Outcome(StrEnum):
    """The outcome of one thing that a command examined or made."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    """It could not be decided."""
    SKIPPED = "skipped"
    """There was nothing to decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that a command examined or made: a model, a pair of models, a file.

    Attributes:
        name: Its name; mostly a specification's name.
        outcome: Its outcome.
        summary: One line about it.
        details: More lines.
        findings: The findings about it.
        facts: Short facts by name, for properties and columns.
    """

    name: str
    outcome: Outcome
    summary: str
    details: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The report of a command.

    Attributes:
        command: The command's name.
        cases: The cases.
        summary: The last line.
        plain: The report as JSON.
        failure: Why the command could not be carried out; then all other attributes are empty.
    """

    command: str
    cases: tuple[Case, ...] = ()
    summary: str = ""
    plain: dict[str, Any] = field(default_factory=dict)
    failure: str | None = None

    @property
    def findings(self) -> list[Finding]:
        """The findings of all cases."""
        return [finding for case in self.cases for finding in case.findings]

    def count(self, outcome: Outcome) -> int:
        """Return the number of cases with that outcome."""
        return sum(case.outcome is outcome for case in self.cases)


def failed(command: str, line: str) -> Report:
    """Return the report of a command that could not be carried out."""
    return Report(command=command, failure=line, plain={"error": line})
