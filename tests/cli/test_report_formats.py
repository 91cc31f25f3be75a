"""The formats of reports, checked with the readers that they are made for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import junitparser
import pytest

from spex_shards.cli.formats import Case, Outcome, Report, ReportFormat, failed, written
from spex_shards.review import Finding, Level, Place, Rule, write_sidecar
from tests.cli.test_cli import GOOD, Done, project, run, write_model
from tests.support.places import DATA

__all__ = ["project", "run"]  # fixtures

SCHEMA = json.loads((DATA / "sarif-2.1.0.schema.json").read_text())
VALIDATOR = jsonschema.Draft4Validator(SCHEMA)
FORMATS = [form.value for form in ReportFormat]


@pytest.fixture
def mixed(project: Path, run: Callable[..., Done]) -> Callable[[str], Done]:
    """Return a function that checks one model of each kind, in a format."""
    write_model(project / "models", "shop.Order", *GOOD)
    write_model(project / "models", "shop.Eager", *GOOD)
    write_model(project / "models", "shop.Strict", *GOOD)
    (project / "models" / "shop.Refund.spex").write_text("Specification: shop.Refund\nnonsense\n")
    return lambda form: run("check", "models", "--specification", "shop:Order", "--format", form)


@pytest.mark.parametrize("form", FORMATS)
def test_exit_codes_are_the_same_in_each_format(run: Callable[..., Done], project: Path, form: str) -> None:
    """They are 0, 1 and 2."""
    check = ("check", "models", "--specification", "shop:Order", "--format", form)
    (project / "models").mkdir()
    assert run(*check).code == 2
    write_model(project / "models", "shop.Order", *GOOD)
    assert run(*check).code == 0
    write_model(project / "models", "shop.Strict", *GOOD)
    assert run(*check).code == 1
    write_model(project / "models", "elsewhere.Gone", *GOOD)
    assert run(*check).code == 2


def test_github_annotations_have_file_and_line_of_the_specifications_transition(mixed: Callable[[str], Done]) -> None:
    """A missing transition has its own line; a deviation that of the transition before it."""
    lines = mixed("github").out.splitlines()
    found = [re.match(r"::(\w+) file=([^,]*),line=(\d+),title=spex-shards%3A ([\w-]+)::(.*)", line) for line in lines]
    listed = [match.groups()[:4] for match in found if match]
    source = Path("shop.py").read_text().splitlines()
    eager = next(n for n, line in enumerate(source, 1) if "*Order.transitions" in line)
    assert ("error", "shop.py", str(eager), "incomplete") in listed
    strict = next(n for n, line in enumerate(source, 1) if line.endswith('("paid", "ship", "end")]'))
    assert ("error", "shop.py", str(strict), "violation") in listed
    assert ("error", "models/shop.Refund.spex", "2", "malformed-model") in listed
    assert ("warning", "uncovered-transition") in [(level, rule) for level, _, _, rule in listed]


def test_github_escapes_what_would_end_a_command() -> None:
    """A line break in a name starts no second annotation, and a comma no second property."""
    finding = Finding(Rule.VIOLATION, Level.ERROR, "x", "100 %\n::error::no", Place("a,b:c.py", 3))
    report = Report(command="check", cases=(Case(name="x", outcome=Outcome.FAILED, summary="s", findings=(finding,)),))
    first, *rest = written(ReportFormat.GITHUB, report).splitlines()
    assert first == ("::error file=a%2Cb%3Ac.py,line=3,title=spex-shards%3A violation::100 %25%0A::error::no")
    assert rest == []


def test_sarif_is_valid_and_has_the_places(mixed: Callable[[str], Done]) -> None:
    """It is valid by the schema of SARIF 2.1.0."""
    plain = json.loads(mixed("sarif").out)
    VALIDATOR.validate(plain)
    results = plain["runs"][0]["results"]
    assert {result["ruleId"] for result in results} >= {"incomplete", "violation", "malformed-model"}
    rules = [rule["id"] for rule in plain["runs"][0]["tool"]["driver"]["rules"]]
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in results)
    violation = next(result for result in results if result["ruleId"] == "violation")
    place = violation["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "shop.py"
    assert place["region"]["startLine"] > 1


def test_sarif_of_a_failure_and_of_a_strange_path_is_valid_too() -> None:
    """The path becomes a URI."""
    plain = json.loads(written(ReportFormat.SARIF, failed("check", "nothing is there")))
    VALIDATOR.validate(plain)
    assert plain["runs"][0]["invocations"][0]["executionSuccessful"] is False
    finding = Finding(Rule.NO_MODEL, Level.WARNING, "x", "text", Place("/a b/ü.py", 1))
    report = Report(command="check", cases=(Case(name="x", outcome=Outcome.SKIPPED, summary="s", findings=(finding,)),))
    plain = json.loads(written(ReportFormat.SARIF, report))
    VALIDATOR.validate(plain)
    assert "file:///a%20b/%C3%BC.py" in json.dumps(plain)


def test_the_schema_refuses_what_is_no_sarif() -> None:
    """This shows that the tests above can fail."""
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({"version": "2.1.0", "runs": [{"tool": {}}]})


def junit(text: str) -> Any:
    """Return what junitparser reads."""
    return junitparser.JUnitXml.fromstring(text.encode())


def test_junit_is_read_by_a_reader(mixed: Callable[[str], Done]) -> None:
    """Each model is a test case; a specification without a model is a skipped one."""
    (suite,) = junit(mixed("junit").out)
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (4, 3, 0, 0)
    cases = {case.name: case for case in suite}
    assert cases["shop.Order"].is_passed
    assert isinstance(cases["shop.Strict"].result[0], junitparser.Failure)
    assert cases["shop.Strict"].result[0].type == "violation"
    assert "cancel]-> c was seen and is not specified" in cases["shop.Strict"].result[0].message
    assert "Correct the implementation" in cases["shop.Strict"].result[0].text


def test_junit_survives_what_xml_cannot_hold() -> None:
    """Control characters and lone surrogates are written as escapes."""
    text = "a\x00b\ud800<&>"
    report = Report(command="check", cases=(Case(name=text, outcome=Outcome.ERROR, summary=text, facts={"f": text}),))
    (suite,) = junit(written(ReportFormat.JUNIT, report))
    (case,) = suite
    assert case.name == "a\\u0000b\\ud800<&>"
    (suite,) = junit(written(ReportFormat.JUNIT, failed("check", "it is gone")))
    assert (suite.errors, next(iter(suite)).result[0].message) == (1, "it is gone")


def test_markdown_has_a_row_for_each_model_and_lets_no_name_break_it(mixed: Callable[[str], Done]) -> None:
    """A fence in a detail does not end its block either."""
    lines = mixed("markdown").out.splitlines()
    assert "| ❌ | shop.Strict | violation | 100 % |" in lines
    assert "| ✅ | shop.Order | equivalent | 100 % |" in lines
    report = Report(
        command="check", cases=(Case(name="a|b\n*c*", outcome=Outcome.PASSED, summary="s", details=("```", "x")),)
    )
    text = written(ReportFormat.MARKDOWN, report)
    assert r"| ✅ | a\|b \*c\* |" in text
    assert "````text\ns\n```\nx\n````" in text


def test_a_changed_specification_and_a_lacking_model_are_reported_and_fail_only_when_strict(
    run: Callable[..., Done], project: Path
) -> None:
    """The report lists the transitions added and removed."""
    path = write_model(project / "models", "shop.Order", *GOOD)
    import spex_shards as spex

    old = spex.Specification.define("shop.Order", [("new", "pay", "paid"), ("paid", "lose", "end")])
    write_sidecar(path, old.declaration)
    check = ("check", "models", "--specification", "shop:Order")
    done = run(*check)
    assert done.code == 0
    assert "  the specification changed since the model was learned: 2 transitions added, 1 removed" in done.out
    assert "  - paid --[lose]-> end" in done.out
    assert "shop.Refund: no model" in done.out
    assert run(*check, "--strict").code == 1
    model = run(*check, "--format", "json").plain["models"][0]
    assert model["specification_changed"]["removed"] == [["paid", "lose", "end"]]
    assert (
        run("check", path, "--specification", "shop:Order", "--format", "json").plain["specifications_without_model"]
        == []
    )


def test_a_malformed_sidecar_is_a_warning(run: Callable[..., Done], project: Path) -> None:
    """The verdict does not change."""
    path = write_model(project / "models", "shop.Order", *GOOD)
    path.with_name("shop.Order.spex.json").write_text("{}")
    done = run("check", path, "--specification", "shop:Order")
    assert done.code == 0
    assert "models/shop.Order.spex.json: it must be an object of format 1" in done.out


def test_what_has_no_place_in_a_source_is_reported_at_the_models_file(run: Callable[..., Done], project: Path) -> None:
    """A specification made from data has no source line, and code scanning refuses results without a place."""
    (project / "made.py").write_text(
        "import spex_shards as spex\nS = spex.Specification.define('made', [('a', 'b', 'c')])\n"
    )
    write_model(project / "models", "made", ("a", "x", "y"))
    plain = json.loads(run("check", "models", "--specification", "made:S", "--format", "sarif").out)
    VALIDATOR.validate(plain)
    places = [result["locations"][0]["physicalLocation"] for result in plain["runs"][0]["results"]]
    assert {place["artifactLocation"]["uri"] for place in places} == {"models/made.spex"}


def test_a_model_without_formula_has_none_in_json(run: Callable[..., Done], project: Path) -> None:
    """A model without an initialisation has no distinguishing formula."""
    import spex_shards as spex

    (project / "models").mkdir()
    (project / "models" / "x.spex").write_text(spex.ImplModel(specification="shop.Order").serialise())
    model = run("check", "models", "--specification", "shop:Order", "--format", "json").plain["models"][0]
    assert (model["verdict"], model["explanation"]["formula"]) == ("incomplete", None)
    assert model["coverage"]["percent"] == 0.0
