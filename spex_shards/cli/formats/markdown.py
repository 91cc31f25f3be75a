"""Markdown with tables, for the summary of a build or a comment on a change."""

from __future__ import annotations

import re

from ...review import Finding
from .report import Outcome, Report

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~&])")
_SIGNS = {Outcome.PASSED: "✅", Outcome.FAILED: "❌", Outcome.ERROR: "⚠️", Outcome.SKIPPED: "⏭️"}


def as_markdown(report: Report) -> str:
    """Return the report as Markdown."""
    title = f"## spex-shards {report.command}"
    if report.failure is not None:
        return f"{title}\n\n**error:** {_escaped(report.failure)}"
    columns = list(dict.fromkeys(name for case in report.cases for name in case.facts))
    lines = [title, "", _row(["", "", *columns]), _row(["---"] * (2 + len(columns)))]
    for case in report.cases:
        facts = [_escaped(case.facts.get(name, "")) for name in columns]
        lines.append(_row([_SIGNS[case.outcome], _escaped(case.name), *facts]))
    for case in report.cases:
        if case.details:
            lines += ["", f"### {_escaped(case.name)}", "", _block([case.summary, *case.details])]
    if report.findings:
        lines += ["", "### Where", "", *map(_item, report.findings)]
    return "\n".join([*lines, "", _escaped(report.summary)])


def _item(finding: Finding) -> str:
    text = _escaped(finding.text.partition("\n")[0])
    place = "" if finding.place is None else f" ({_escaped(str(finding.place))})"
    return f"- {finding.level}: {text}{place}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _block(lines: list[str]) -> str:
    text = "\n".join(lines)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
