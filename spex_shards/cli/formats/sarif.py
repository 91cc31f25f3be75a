"""SARIF 2.1.0 (OASIS) for code scanning: each finding is a result with a rule and a place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ... import __version__
from ...review import Finding, Rule
from ...review.findings import DESCRIPTIONS
from .report import Report

VERSION = "2.1.0"
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def as_sarif(report: Report) -> str:
    """Return the report as SARIF."""
    invocation: dict[str, Any] = {"executionSuccessful": report.failure is None}
    if report.failure is not None:
        notification = {"level": "error", "message": {"text": report.failure}}
        invocation["toolExecutionNotifications"] = [notification]
    run = {
        "tool": {"driver": {"name": "spex-shards", "version": __version__, "rules": [_rule(rule) for rule in Rule]}},
        "invocations": [invocation],
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding) for finding in report.findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": VERSION, "runs": [run]}, indent=1)


def _rule(rule: Rule) -> dict[str, Any]:
    text = {"text": DESCRIPTIONS[rule]}
    return {"id": rule.value, "shortDescription": text, "fullDescription": text, "help": text}


def _result(finding: Finding) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule.value,
        "ruleIndex": list(Rule).index(finding.rule),
        "level": finding.level.value,
        "message": {"text": finding.text},
        "properties": {"specification": finding.specification},
    }
    if finding.place is not None:
        place = {"artifactLocation": {"uri": _uri(finding.place.file)}, "region": {"startLine": finding.place.line}}
        result["locations"] = [{"physicalLocation": place}]
    return result


def _uri(file: str) -> str:
    path = Path(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
