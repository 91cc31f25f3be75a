"""Conformance of event logs: variants, where they part, fitness and precision, by hand and against simple counts."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.checking.alignment import NoCompleteRun
from spex_shards.checking.precision import Precision, precision
from spex_shards.checking.runs import RunChecker
from spex_shards.event_log import Attributes, EarlyEnd, EventLog, LogError, conform, read_log
from tests.support.places import SHARED


class Order(spex.Specification):
    """Pay first; then one of two ends."""

    name = "tests.conform.Order"
    transitions = [("new", "pay", "paid"), ("paid", "ship", "end"), ("paid", "cancel", "end")]


class Cycle(spex.Specification):
    """Never ends."""

    name = "tests.conform.Cycle"
    transitions = [("idle", "coin", "paid"), ("paid", "coffee", "idle")]


def log_of(**cases: str) -> EventLog:
    """Return a log: the name of each case, and its actions in one text."""
    events = [(number, action, action) for number, text in enumerate(cases.values()) for action in text.split()]
    return EventLog(list(cases), events)


LOG = log_of(a="pay ship", b="pay refund", c="pay ship", d="ship", e="pay", f="pay refund ship")


def test_cases_are_grouped_by_their_actions_the_most_frequent_first() -> None:
    """Variants of equal frequency are in the order of the log."""
    found = conform(LOG, Order)
    assert [(" ".join(variant.actions), variant.cases) for variant in found.variants] == [
        ("pay ship", ("a", "c")),
        ("pay refund", ("b",)),
        ("ship", ("d",)),
        ("pay", ("e",)),
        ("pay refund ship", ("f",)),
    ]
    assert [variant.allowed for variant in found.variants] == [True, False, False, True, False]
    assert (found.cases, found.allowed, found.conforms) == (6, 3, False)


def test_the_events_of_cases_may_be_mixed() -> None:
    """The log has one order of time; each case has its part of it."""
    log = EventLog(["a", "b"], [(1, "pay", ""), (0, "pay", ""), (0, "ship", ""), (1, "cancel", "")])
    assert [variant.actions for variant in conform(log, Order).variants] == [("pay", "ship"), ("pay", "cancel")]


def test_cases_that_part_in_one_place_by_one_action_are_told_together() -> None:
    """With what was allowed there, and the first case of the most frequent variant."""
    [refund, early] = conform(LOG, Order).partings
    assert (refund.possible, refund.action, refund.cases, refund.variants) == (("paid",), "refund", 2, 2)
    assert (refund.example, refund.at) == ("b", 1)
    assert refund.allowed == (spex.Transition("paid", "ship", "end"), spex.Transition("paid", "cancel", "end"))
    assert (early.possible, early.action, early.example, early.at) == (("new",), "ship", "d", 0)


def test_alignments_and_fitness_are_those_counted_by_hand() -> None:
    """`pay refund` has one edit of two, `ship` one of one, `pay refund ship` one of three; 11 events, 3 edits."""
    found = conform(LOG, Order)
    assert [str(variant.alignment) for variant in found.variants] == [
        "pay, ship", "pay, -refund", "+pay, ship", "pay", "pay, -refund, ship",
    ]  # fmt: skip
    assert [variant.fitness for variant in found.variants] == [1, 1 / 2, 0, 1, pytest.approx(2 / 3)]
    assert found.trace_fitness == pytest.approx((1 + 1 + 1 / 2 + 0 + 1 + 2 / 3) / 6)
    assert found.log_fitness == pytest.approx(1 - 3 / 11)


def test_precision_is_counted_along_the_aligned_runs() -> None:
    """All six pay, one action allowed; four ship after that, where cancel is allowed too and nobody takes it."""
    assert conform(LOG, Order).precision == Precision(6 + 4 * 2, 4)
    assert conform(log_of(a="pay ship", b="pay cancel"), Order).precision.ratio == 1


def test_complete_cases_must_reach_a_terminal_state() -> None:
    """A case that stops after pay ends too early; a shortest run has two actions, which count in fitness."""
    found = conform(LOG, Order, complete=True)
    assert (found.allowed, found.shortest_run) == (2, 2)
    [stopped] = [variant for variant in found.variants if variant.actions == ("pay",)]
    assert isinstance(stopped.parting, EarlyEnd)
    assert str(stopped.parting) == (
        "it ends too early: in paid, the specification allows ship (to end) and cancel (to end)"
    )
    assert str(stopped.alignment) == "pay, +ship"
    assert stopped.fitness == pytest.approx(1 - 1 / 3)
    assert [(group.action, group.cases) for group in found.partings] == [("refund", 2), ("ship", 1), (None, 1)]
    assert found.log_fitness == pytest.approx(1 - (2 + 1 + 1 + 1) / (11 + 6 * 2))


def test_a_specification_without_an_end_cannot_be_completed() -> None:
    """It is refused by name; without `complete` its cases are allowed."""
    log = log_of(a="coin coffee coin")
    assert conform(log, Cycle).conforms
    with pytest.raises(NoCompleteRun, match=r"cases of tests\.conform\.Cycle cannot be complete: no terminal state"):
        conform(log, Cycle, complete=True)


def test_actions_are_hidden_and_renamed_in_log_and_specification() -> None:
    """What is hidden is no step of a variant, and so variants fall together."""
    log = log_of(a="pay log deliver", b="log pay ship", c="log log")
    found = conform(log, Order, hide=["log"], rename={"deliver": "ship"})
    assert [(variant.actions, variant.cases) for variant in found.variants] == [
        (("pay", "ship"), ("a", "b")),
        ((), ("c",)),
    ]
    assert found.conforms
    assert conform(log_of(a="ship"), Order, hide=["pay"]).conforms


def test_a_log_without_cases_or_events_fits() -> None:
    """There is nothing that could be wrong, and all shares are whole."""
    for log in (EventLog([], []), EventLog(["a"], [])):
        found = conform(log, Order)
        assert (found.conforms, found.trace_fitness, found.log_fitness, found.precision.ratio) == (True, 1, 1, 1)


def test_the_result_can_be_written_as_json() -> None:
    """Everything is in it, and the counts agree."""
    plain = json.loads(json.dumps(conform(LOG, Order).plain()))
    assert (plain["cases"], plain["allowed"], plain["precision"]) == (6, 3, pytest.approx(10 / 14))
    assert plain["variants"][1] == {
        "actions": ["pay", "refund"],
        "cases": ["b"],
        "allowed": False,
        "parting": {
            "at": 1,
            "action": "refund",
            "possible": ["paid"],
            "allowed": [["paid", "ship", "end"], ["paid", "cancel", "end"]],
        },
        "cost": 1,
        "fitness": 0.5,
        "alignment": [["same", "pay", "paid"], ["surplus", "refund", "paid"]],
    }
    assert plain["partings"][0]["example"] == "b"


def test_progress_is_told_with_the_total() -> None:
    """After each variant."""
    told: list[tuple[int, int]] = []
    conform(LOG, Order, progress=lambda done, total: told.append((done, total)))
    assert told == [(number, 5) for number in range(1, 6)]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((["pay"], Order), {}, TypeError, "log must be an EventLog, as read_log returns it, got: ['pay']"),
        ((LOG, spex.Specification), {}, TypeError, "the specification must be a Specification class, got: "),
        ((LOG, Order), {"hide": "pay"}, TypeError, "hide must be a collection of actions, got: 'pay'"),
        (
            (LOG, Order),
            {"hide": ["pay"], "rename": {"pay": "p"}},
            ValueError,
            "hidden or renamed, not both, got: 'pay'",
        ),
        (
            (EventLog(["x"], [(0, "pay", ""), (0, spex.INITIALISATION, "")]), Order),
            {},
            LogError,
            "case 'x', event 2 in time order: the action must not be the reserved '__initialisation__'",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments: Any, options: dict[str, Any], error: type[Exception], text: str) -> None:
    """The text names the argument, the rule and the value."""
    with pytest.raises(error) as caught:
        conform(*arguments, **options)
    assert text in str(caught.value)


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["pay", "ship", "cancel", "lose"]), max_size=6), max_size=8), st.booleans())
def test_the_figures_are_those_of_the_cases_one_by_one(cases: list[list[str]], complete: bool) -> None:
    """Grouping changes nothing; a case is allowed exactly if it has no edit."""
    events = [(number, action, "") for number, actions in enumerate(cases) for action in actions]
    found = conform(EventLog([str(number) for number in range(len(cases))], events), Order, complete=complete)
    by_case = {name: variant for variant in found.variants for name in variant.cases}
    assert [by_case[str(number)].actions for number in range(len(cases))] == [tuple(actions) for actions in cases]
    assert all(variant.allowed == (variant.alignment.cost == 0) for variant in found.variants)
    assert found.allowed == sum(variant.allowed for variant in by_case.values())
    assert sum(group.cases for group in found.partings) == len(cases) - found.allowed
    if cases:
        assert found.trace_fitness == pytest.approx(sum(v.fitness for v in by_case.values()) / len(cases))
    frequencies = Counter(map(tuple, cases)).values()
    assert [len(variant.cases) for variant in found.variants] == sorted(frequencies, reverse=True)


@pytest.mark.long
@pytest.mark.shared
def test_a_real_log_conforms_to_what_its_frequent_variants_show() -> None:
    """The variants of half the help desk's cases are allowed; the others have an edit where they part, or before."""
    path = SHARED / "data" / "helpdesk.xes.gz"
    log = read_log(path, Attributes.of(path))
    sequences: list[list[str]] = [[] for _ in log.cases]
    for case, action, _ in log.events:
        sequences[case].append(action)
    steps: dict[tuple[str, str, str], None] = {}
    frequent: set[tuple[str, ...]] = set()
    for actions, _ in Counter(map(tuple, sequences)).most_common(3):
        frequent.add(actions)
        steps |= {(a, b, b): None for a, b in zip(("start", *actions), actions, strict=False)}
    cls = spex.Specification.define("tests.conform.HelpDesk", list(steps))
    found = conform(log, cls)
    assert (found.cases, len(found.variants)) == (4580, 226)
    assert sum(len(variant.actions) * len(variant.cases) for variant in found.variants) == 21_348
    checker = RunChecker(cls.lts)
    for variant in found.variants:
        assert variant.allowed == (checker.parting(variant.actions) is None)
        assert variant.allowed or variant.actions not in frequent
        assert checker.parting(variant.alignment.run) is None
    assert found.precision == precision(checker, [(v.alignment.run, len(v.cases)) for v in found.variants])
    assert 0.5 < found.trace_fitness < 1
