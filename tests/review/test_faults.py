"""A corpus of small faults: the first sentence of every output names the cause, whatever else is not seen yet."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import spex_shards as spex
from spex_shards.checking.conformance import Verdict
from spex_shards.cli.check import report_of
from spex_shards.cli.formats import ReportFormat, written
from spex_shards.domain.transition import INITIALISATION
from spex_shards.render.html import report
from spex_shards.render.view import view_of
from spex_shards.review import Reviewed, review
from tests.support.places import DATA

FILES = sorted((DATA / "faults").glob("*.json"))


class Fault(NamedTuple):
    """One model with a fault."""

    name: str
    kind: str
    specification: type[spex.Specification]
    model: spex.ImplModel
    names: list[str]


def faults(*, incomplete: bool) -> list[Fault]:
    """Return the corpus, with everything else seen or not."""
    return [
        made(domain, number, fault, incomplete=incomplete)
        for domain in (json.loads(path.read_text()) for path in FILES)
        for number, fault in enumerate(domain["faults"])
    ]


def made(domain: dict[str, Any], number: int, fault: dict[str, Any], *, incomplete: bool) -> Fault:
    """Make the model of a fault."""
    specified = domain["specification"]
    name = f"{domain['domain']}.{'Incomplete' if incomplete else 'Whole'}{number}"
    gone = [*fault.get("remove", []), *(fault["unseen"] if incomplete else [])]
    assert all(step in specified for step in gone)
    steps = [*(step for step in specified if step not in gone), *fault.get("add", [])]
    states, actions = fault.get("rename_states", {}), fault.get("rename_actions", {})
    start = specified[0][0]
    transitions = [spex.Transition(states.get(s, s), actions.get(a, a), states.get(t, t)) for s, a, t in steps]
    begin = spex.Transition(None, INITIALISATION, states.get(start, start))
    model = spex.ImplModel(specification=name, transitions=frozenset([begin, *transitions]))
    return Fault(name, fault["fault"], spex.Specification.define(name, specified), model, fault["names"])


@pytest.fixture(params=[False, True], ids=["all-else-seen", "incomplete-in-addition"])
def corpus(request: pytest.FixtureRequest) -> list[Fault]:
    """All faults."""
    return faults(incomplete=request.param)


@pytest.fixture
def reviewed(corpus: list[Fault], tmp_path: Path) -> list[Reviewed]:
    """Their models, judged."""
    for fault in corpus:
        (tmp_path / f"{fault.name}.spex").write_text(fault.model.serialise())
    return sorted(review(tmp_path), key=lambda one: [fault.name for fault in corpus].index(one.specification))


def named(sentences: list[str], corpus: list[Fault]) -> list[tuple[str, str, str]]:
    """Return the faults whose sentence does not name the cause."""
    assert len(sentences) == len(corpus)
    return [
        (fault.name, fault.kind, sentence)
        for fault, sentence in zip(corpus, sentences, strict=True)
        if not all(word in sentence for word in fault.names)
    ]


def test_the_corpus_has_sixty_faults_of_five_kinds_in_twelve_domains():
    """At least; and none of them is taken for right."""
    found = faults(incomplete=False)
    assert len(FILES) >= 12
    assert len({fault.kind for fault in found}) >= 5
    assert len(found) >= 60
    assert all(spex.check(fault.model).verdict is not Verdict.EQUIVALENT for fault in found)


def test_the_explanation_names_the_cause_first(corpus):
    """Sixty of sixty, and the transition to blame is one of the cause's."""
    explanations = [spex.check(fault.model).explanation for fault in corpus]
    assert named([one.sentence for one in explanations], corpus) == []
    assert all(one.step is None or one.step in one.cause for one in explanations)


def first_sentences(form: ReportFormat, text: str) -> list[str]:
    """Return the first sentence that each model has in an output."""
    match form:
        case ReportFormat.TEXT:
            return [line for line in text.splitlines()[:-1] if not line.startswith(" ")]
        case ReportFormat.JSON:
            return [model["explanation"]["sentence"] for model in json.loads(text)["models"]]
        case ReportFormat.GITHUB:
            return [
                line.partition("%0A")[0].partition("::error ")[2].partition("::")[2]
                for line in text.splitlines()
                if line.startswith("::error")
            ]
        case ReportFormat.JUNIT:
            return [failure.attrib["message"] for failure in ET.fromstring(text).iter("failure")]
        case ReportFormat.SARIF:
            results = json.loads(text)["runs"][0]["results"]
            return [one["message"]["text"].splitlines()[0] for one in results if one["level"] == "error"]
        case ReportFormat.MARKDOWN:
            return re.findall(r"^```text\n(.*)$", text, re.MULTILINE)
    raise AssertionError(form)


@pytest.mark.parametrize("form", ReportFormat)
def test_every_format_of_check_names_the_cause_first(form, corpus, reviewed):
    """Text, JSON, GitHub, JUnit, SARIF and Markdown."""
    text = written(form, report_of(reviewed, []))
    assert named(first_sentences(form, text), corpus) == []
    if form is ReportFormat.MARKDOWN:
        where = [line.replace("\\", "") for line in text.splitlines() if line.startswith("- error: ")]
        assert named(where, corpus) == []


def test_the_report_names_the_cause_in_its_headline_and_in_its_first_step(corpus):
    """Both for each model; the cause is lit up in the drawing of the model."""
    views = [view_of(fault.model, fault.specification, spex.check(fault.model)) for fault in corpus]
    page = report(views, "faults")
    headlines = [unescape(found) for found in re.findall(r'<p class="verdict \w+">(.*?)<small>', page)]
    assert named(headlines, corpus) == []
    firsts = [
        unescape(re.sub(r"</?strong>", "", steps).partition("<br>")[0])
        for steps in re.findall(r'<ol [^>]*><li><button class="step" type="button">(.*?)</button>', page, re.DOTALL)
    ]
    assert named(firsts, corpus) == []
    for view in views:
        lit = view.steps[0]["light"]
        assert {one.number for side in view.sides.values() for one in side}.issuperset(lit)
        assert lit


def test_a_deviation_is_explained_by_the_same_sentence(corpus, tmp_path):
    """The model is taught all but the last step of the cause; an instance makes that one."""
    models, steps = tmp_path / "models", {}
    models.mkdir()
    for fault in corpus:
        cause = spex.check(fault.model).explanation.cause
        if cause:
            steps[fault.name] = cause[-1]
            kept = fault.model.transitions - {cause[-1]}
            text = spex.ImplModel(specification=fault.name, transitions=kept).serialise()
            (models / f"{fault.name}.spex").write_text(text)
    deviating = [fault for fault in corpus if fault.name in steps]
    assert len(deviating) > 40
    sentences = []
    with spex.SimpleInstanceManager(data_dir=tmp_path / "data", impl_models_dir=models) as manager:
        for fault in deviating:
            source, action, target = steps[fault.name]
            manager.mock_instance(fault.specification, fault.name, source)
            error = manager.try_transition(fault.name, action, target)
            assert isinstance(error, spex.DeviationNotEquivalent)
            assert "With this step the model is a violation" in str(error) or "already without this step" in str(error)
            sentences.append(spex.explain(error, manager).sentence)
    assert named(sentences, deviating) == []
