"""The formats of a report, for people, programs and build servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum

from .github import as_github
from .junit import as_junit
from .markdown import as_markdown
from .report import Case, Outcome, Report, failed
from .sarif import as_sarif

__all__ = ["Case", "Outcome", "Report", "ReportFormat", "failed", "lines_of", "written"]


class ReportFormat(StrEnum):
    """The formats of a report."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    JUNIT = "junit"
    SARIF = "sarif"
    MARKDOWN = "markdown"


def written(form: ReportFormat, report: Report) -> str:
    """Return the report in a format; as text, the report of a failed command is empty, because stderr has the error."""
    return _WRITERS[form](report)


def lines_of(report: Report) -> list[tuple[str, Outcome | None]]:
    """Return the lines of a report as text, each with the outcome that it tells of, or None."""
    lines: list[tuple[str, Outcome | None]] = []
    for case in report.cases:
        lines += [(case.summary, case.outcome)] if case.summary else []
        lines += [(f"  {more}", None) for more in case.details]
    if report.summary:
        by_weight = (Outcome.ERROR, Outcome.FAILED)
        lines.append((report.summary, next((one for one in by_weight if report.count(one)), Outcome.PASSED)))
    return lines


def _as_text(report: Report) -> str:
    return "\n".join(text for text, _ in lines_of(report))


def _as_json(report: Report) -> str:
    return json.dumps(report.plain)


_WRITERS: dict[ReportFormat, Callable[[Report], str]] = {
    ReportFormat.TEXT: _as_text,
    ReportFormat.JSON: _as_json,
    ReportFormat.GITHUB: as_github,
    ReportFormat.JUNIT: as_junit,
    ReportFormat.SARIF: as_sarif,
    ReportFormat.MARKDOWN: as_markdown,
}
