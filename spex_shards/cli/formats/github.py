"""Workflow commands of GitHub Actions: each finding becomes an annotation at its file and line.

The syntax is ``::error file=…,line=…,title=…::message``. In a message ``%``, CR and LF are percent-encoded; in a
property ``:`` and ``,`` are too.
"""

from __future__ import annotations

from ...review import Finding
from .report import Report


def as_github(report: Report) -> str:
    """Return the report as workflow commands."""
    if report.failure is not None:
        return f"::error title={_property(f'spex-shards {report.command}')}::{_message(report.failure)}"
    return "\n".join([*map(_annotation, report.findings), report.summary])


def _annotation(finding: Finding) -> str:
    properties = {"title": f"spex-shards: {finding.rule}"}
    if finding.place is not None:
        properties = {"file": finding.place.file, "line": str(finding.place.line), **properties}
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{finding.level} {listed}::{_message(finding.text)}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
