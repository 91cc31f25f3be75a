"""The HTML report of a model that was asked for a relation: the cause in words and drawn, and the run to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.render.html import report
from spex_shards.render.view import View, headline, marks_of, view_of
from tests.cli.test_cli import Done, project, run, write_model
from tests.render.test_html_report import HOSTILE, browser, shown_in, tagged

__all__ = ["browser", "project", "run"]  # fixtures

pytestmark = pytest.mark.usefixtures("specifications_as_before")

TAU = spex.INTERNAL
ORDER = [("new", "pay", "paid"), ("paid", "ship", "sent"), ("paid", "cancel", "gone")]
CHOICE = [("new", "pay", "a"), ("new", "pay", "b"), ("a", "ship", "x"), ("b", "cancel", "x")]
MACHINE = [("idle", "coin", "paid"), ("paid", TAU, "ready"), ("ready", "tea", "idle"), ("idle", "kick", "mad")]


def asked(relation: str, specified: list[tuple[str, str, str]], *seen: tuple[str, str, str], **options: object) -> View:
    """Return the view of a model by a relation."""
    cls = spex.Specification.define("html.Asked", specified, **options)  # type: ignore[arg-type]
    start = [(None, spex.INITIALISATION, specified[0][0])]
    model = spex.ImplModel(specification="html.Asked", transitions=[*start, *seen])  # type: ignore[arg-type]
    return view_of(model, cls, spex.check(model, cls, relation=relation))


def told(view: View) -> list[str]:
    """Return the texts of the steps after the first."""
    return [step["text"] for step in view.steps[1:]]


def lit(view: View, at: int) -> list[str]:
    """Return side and action of the transitions that a step lights."""
    named = {one.number: f"{side} {one.transition.action}" for side, shown in view.sides.items() for one in shown}
    return sorted(named[number] for number in view.steps[at]["light"])


def kinds(view: View, side: str) -> dict[str, str]:
    """Return how each action of a side is drawn."""
    return {one.transition.action: one.kind for one in view.sides[side] if one.transition.source is not None}


@pytest.mark.parametrize("relation", ["trace_inclusion", "simulation", "ready_simulation"])
def test_a_step_that_is_not_allowed_is_red_and_comes_first(relation: str) -> None:
    """Then the run to it, with the states that the specification may be in; what it need not do is not marked."""
    view = asked(relation, ORDER, ORDER[0], ("paid", "refund", "lost"))
    assert view.steps[0]["text"].startswith("After new --pay--> paid your implementation can do refund")
    assert view.steps[0]["states"] == [["impl", "paid"], ["spec", "paid"]]
    assert lit(view, 0) == ["impl refund", "spec cancel", "spec ship"]
    assert told(view) == [
        "Both start: the specification in new, the implementation in new.",
        "The implementation does new --[pay]-> paid; the specification can follow, to paid.",
        "The implementation does paid --[refund]-> lost; the specification does not allow that.",
    ]
    assert kinds(view, "impl") == {"pay": "shown", "refund": "extra"}
    assert set(kinds(view, "spec").values()) == {"plain"}
    assert headline(view) == f"{relation}: violation: something was seen that is not allowed"
    assert list(marks_of(view.model, view.specification, view.result).values()) == ["extra"]


def test_a_choice_shows_all_states_that_the_specification_may_be_in() -> None:
    """Nothing is red, because each step is allowed."""
    view = asked("simulation", CHOICE, ("new", "pay", "paid"), ("paid", "ship", "x"), ("paid", "cancel", "x"))
    assert view.steps[0]["states"] == [["impl", "paid"], ["spec", "a"], ["spec", "b"]]
    assert told(view)[1].endswith("the specification can follow, to a or b.")
    assert told(view)[2].endswith("can follow only if it is in b, and not if it is in a: it had to choose before.")
    assert set(kinds(view, "impl").values()) == {"shown"}


@pytest.mark.parametrize(
    ("relation", "seen", "last", "missing"),
    [
        ("completed_simulation", ORDER[:1], "There the implementation was seen to do nothing more", {"ship", "cancel"}),
        ("ready_simulation", ORDER[:2], "There the implementation was seen to do ship", {"cancel"}),
    ],
)
def test_where_the_model_stops_what_it_lacks_there_is_dashed(
    relation: str, seen: list[tuple[str, str, str]], last: str, missing: set[str]
) -> None:
    """Nothing else is: elsewhere the model may do less."""
    view = asked(relation, [*ORDER, ("new", "leave", "left")], *seen, ("new", "leave", "left"))
    assert told(view)[-1] == f"{last}; the specification allows cancel or ship."
    assert {action for action, kind in kinds(view, "spec").items() if kind == "missing"} == missing
    assert f"{len(missing)} not seen where the model stops (dashed)" in report([view], "Review")
    assert headline(view).startswith(f"{relation}: incomplete: the model stops")


def test_a_model_that_waits_is_followed_through_silent_steps_and_waits() -> None:
    """For ioco, waiting is a step of the report too."""
    view = asked("ioco", MACHINE, ("idle", "coin", "paid"), inputs=["coin", "kick"])
    assert told(view)[-1] == "The implementation waits for an input; the specification does not allow that."
    assert lit(view, 0) == ["impl coin", "spec tea"]
    told_first = [("idle", "x", "a"), ("a", TAU, "b"), ("a", TAU, "c"), ("b", "in", "d"), ("c", "out", "d")]
    seen = [("idle", "x", "p"), ("p", TAU, "q"), ("p", "in", "r"), ("r", "out", "z"), ("q", "in", "s")]
    waited = asked("ioco", told_first, *seen, inputs=["x", "in"])
    assert waited.result is not None
    assert waited.result.verdict == "violation"
    assert any("does p --[in]-> r" in text for text in told(waited))
    assert told(waited)[-1].endswith("the specification does not allow that.")


def test_silent_steps_and_waits_in_the_middle_keep_their_places() -> None:
    """A wait rules out the states of the specification that cannot wait."""
    specified = [
        ("s", "in", "a"),
        ("s", "in", "b"),
        ("a", "x", "c"),
        ("b", "go", "d"),
        ("d", "x", "c"),
        ("a", "go", "e"),
    ]
    seen = [("s", "in", "p"), ("p", TAU, "q"), ("q", "go", "r")]
    view = asked("ioco", specified, *seen, inputs=["in", "go"])
    assert told(view)[1].endswith("can follow, to a or b.")
    assert "a silent step; the specification need not move" in told(view)[2]
    assert told(view)[-1] == "The implementation waits for an input; the specification does not allow that."


def test_several_starts_and_a_relation_that_holds_are_shown_too() -> None:
    """Without steps where nothing is to be explained; names stay text."""
    view = asked("simulation", ORDER, (None, spex.INITIALISATION, "other"))  # type: ignore[arg-type]
    assert view.steps[0]["text"].startswith("The model has 2 different initialisations")
    assert [one.kind for one in view.sides["impl"]] == ["extra", "extra"]
    holds = asked("simulation", ORDER, *ORDER[:2])
    assert holds.steps == []
    assert '<p class="verdict holds">simulation: holds: the relation holds</p>' in report([holds], "Review")
    assert HOSTILE not in report([asked("simulation", ORDER, ("new", HOSTILE, HOSTILE))], "Review")


def test_render_asks_for_a_relation(run: Callable[..., Done], project: Path) -> None:
    """As a report and as a drawing; not together with names that must agree."""
    write_model(project / "models", "shop.Strict", ("start", "pay", "p"), ("p", "cancel", "c"))
    given = ("--specification", "shop:Strict", "--relation", "trace_inclusion")
    assert run("render", "models", "r.html", *given).code == 0
    page = Path("r.html").read_text()
    assert "trace_inclusion: violation" in page
    assert "your implementation can do cancel" in page
    assert 'color="#b3201b"' in run("render", "models/shop.Strict.spex", "-", "--to", "dot", *given).out
    wrong = run("render", "models", "s.html", *given, "--names-must-agree")
    assert wrong.err == "error: --names-must-agree belongs to an equivalence, and --relation is given\n"


@pytest.mark.long
@tagged
def test_the_report_opens_with_the_cause_at_1400_by_900(browser: Any, tmp_path: Path) -> None:
    """Sentence, steps and drawings are in view, the step that is not allowed is red, and stepping follows the run."""
    browser.set_window_size(1400, 900)
    try:
        shown_in(
            browser, tmp_path, report([asked("simulation", ORDER, ORDER[0], ("paid", "refund", "lost"))], "Review")
        )
        assert browser.get_log("browser") == []
        bottoms = browser.execute_script(
            "return ['.verdict', '.steps', '.side[data-side=spec]', '.side[data-side=impl]']"
            ".map(query => document.querySelector(query).getBoundingClientRect().bottom)"
        )
        assert max(bottoms) <= browser.execute_script("return window.innerHeight")
        assert browser.find_element("css selector", ".edge.extra.lit").get_attribute("data-source") == "paid"
        states = (
            "return [...document.querySelectorAll('.state.lit')]"
            ".map(s => s.closest('.side').dataset.side + ':' + s.dataset.state)"
        )
        assert browser.execute_script(states) == ["spec:paid", "impl:paid"]
        body = browser.find_element("tag name", "body")
        body.send_keys("n")
        assert browser.execute_script(states) == ["spec:new", "impl:new"]
        for _ in range(2):
            body.send_keys("n")
        assert browser.execute_script(states) == ["impl:lost"]
    finally:
        browser.set_window_size(1300, 950)
