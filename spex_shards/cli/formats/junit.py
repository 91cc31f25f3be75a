"""JUnit XML, which build servers read: one suite, with a test case for each case of the report."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from .report import Case, Outcome, Report

# The characters that XML 1.0 cannot hold, not even as a character reference.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAGS = {Outcome.FAILED: "failure", Outcome.ERROR: "error", Outcome.SKIPPED: "skipped"}


def as_junit(report: Report) -> str:
    """Return the report as JUnit XML."""
    cases = report.cases
    if report.failure is not None:
        cases = (Case(name=report.command, outcome=Outcome.ERROR, summary=report.failure),)
    counts = {
        "tests": len(cases),
        "failures": sum(case.outcome is Outcome.FAILED for case in cases),
        "errors": sum(case.outcome is Outcome.ERROR for case in cases),
        "skipped": sum(case.outcome is Outcome.SKIPPED for case in cases),
    }
    numbers = {name: str(count) for name, count in counts.items()}
    root = ET.Element("testsuites", {"name": "spex-shards", **numbers})
    suite = ET.SubElement(root, "testsuite", {"name": f"spex-shards {report.command}", **numbers})
    for case in cases:
        _add(suite, case, report.command)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode")


def _add(suite: ET.Element, case: Case, command: str) -> None:
    attributes = {"classname": f"spex-shards.{command}", "name": _sound(case.name)}
    place = next((finding.place for finding in case.findings if finding.place is not None), None)
    if place is not None:
        attributes |= {"file": _sound(place.file), "line": str(place.line)}
    element = ET.SubElement(suite, "testcase", attributes)
    if case.facts:
        properties = ET.SubElement(element, "properties")
        for name, value in case.facts.items():
            ET.SubElement(properties, "property", {"name": name, "value": _sound(value)})
    lines = _sound("\n".join([case.summary, *case.details]))
    if case.outcome in _TAGS:
        kind = case.findings[0].rule.value if case.findings else case.outcome.value
        outcome = {"message": _sound(case.summary)} | ({} if case.outcome is Outcome.SKIPPED else {"type": kind})
        ET.SubElement(element, _TAGS[case.outcome], outcome).text = lines
    else:
        ET.SubElement(element, "system-out").text = lines


def _sound(text: str) -> str:
    return _FORBIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
