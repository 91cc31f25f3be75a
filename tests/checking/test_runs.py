"""Runs: a sequence of actions is a run exactly if it is a weak trace of the specification."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.checking.runs import PARTED, RunChecker
from tests.support.places import of_length

STATES, ACTIONS = "pqr", ("a", "b", spex.INTERNAL)
STEPS = [(source, action, target) for source in STATES for action in ACTIONS for target in STATES]


class Order(spex.Specification):
    """Life of an order."""

    name = "tests.runs.Order"
    transitions = [
        ("new", "pay", "paid"),
        ("paid", "ship", "shipped"),
        ("paid", "cancel", "cancelled"),
    ]


def traces(initial: str, steps: list[tuple[str, str, str]], length: int) -> set[tuple[str, ...]]:
    """Return all weak traces up to a length, by walking through every path that has no useless silent cycle."""
    found: set[tuple[str, ...]] = set()
    seen: set[tuple[str, tuple[str, ...], frozenset[str]]] = set()
    todo: list[tuple[str, tuple[str, ...], frozenset[str]]] = [(initial, (), frozenset())]
    while todo:
        if todo[-1] in seen:
            todo.pop()
            continue
        state, trace, silent = todo.pop()
        seen.add((state, trace, silent))
        found.add(trace)
        for source, action, target in steps:
            if source != state:
                continue
            if action == spex.INTERNAL:
                if target not in silent:
                    todo.append((target, trace, silent | {state}))
            elif len(trace) < length:
                todo.append((target, (*trace, action), frozenset()))
    return found


def agrees(steps: list[tuple[str, str, str]]) -> None:
    """Check every sequence of up to three actions against the traces."""
    checker = RunChecker(spex.LTS("p", steps))
    allowed = traces("p", steps, 3)
    for length in range(4):
        for run in product("ab", repeat=length):
            parted = checker.parting(run)
            longest = next(n for n in range(length, -1, -1) if run[:n] in allowed)
            assert parted is None if longest == length else (parted is not None and parted.at == longest), (steps, run)


def test_all_systems_of_two_states_are_followed_as_their_traces_say() -> None:
    """Every system of two states, two visible actions and silent steps; a share of them where time is short."""
    steps = [step for step in STEPS if "r" not in step[::2]]
    for number in range(0, 2 ** len(steps), of_length(11, 3, 1)):
        agrees([step for place, step in enumerate(steps) if number >> place & 1])


@settings(max_examples=of_length(300, 2_000, 20_000), deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=10, unique=True))
def test_systems_of_three_states_are_followed_as_their_traces_say(steps: list[tuple[str, str, str]]) -> None:
    """The same for random systems of three states."""
    agrees(steps)


def test_a_parting_names_the_step_the_place_and_what_was_allowed() -> None:
    """And says it in a sentence."""
    parted = spex.parting(Order, ["pay", "refund", "ship"])
    assert parted == spex.Parting(
        1,
        "refund",
        ("paid",),
        (spex.Transition("paid", "ship", "shipped"), spex.Transition("paid", "cancel", "cancelled")),
    )
    assert str(parted) == (
        "step 2 (refund) is not allowed: in paid, the specification allows ship (to shipped) and cancel (to cancelled)"
    )
    assert spex.parting(Order, ["pay", "ship"]) is None
    assert spex.parting(Order, [spex.INTERNAL, "pay", spex.INTERNAL]) is None
    assert str(spex.parting(Order, ["pay", "ship", "ship"])).endswith(
        "in shipped, the specification allows nothing more"
    )


def test_what_is_no_run_is_refused() -> None:
    """A history that is cut, a mocked instance, an action that is no text."""
    records = [spex.TransitionRecord("pay", "paid", None)]
    instance = spex.Instance(specification=Order, identifier=7, meta=None, current_state="paid", history=tuple(records))
    with pytest.raises(ValueError, match="the history of 7 must begin with its initialisation"):
        spex.parting(Order, instance)
    with pytest.raises(TypeError, match="an action of a run must be a str, got: 1"):
        spex.parting(Order, [1])  # type: ignore[list-item]


def test_a_specification_without_transitions_allows_nothing_that_can_be_seen() -> None:
    """But silent steps."""
    nothing = spex.Specification.define("tests.runs.Nothing", [])
    assert spex.parting(nothing, [spex.INTERNAL]) is None
    assert spex.parting(nothing, ["a"]) is not None


def test_after_a_deviation_a_run_goes_on_from_the_reported_state() -> None:
    """Where the specification has one of that name; else nothing is judged until it has."""
    checker = RunChecker(Order.lts)
    paid, allowed = checker.follow(checker.start, "skip", "paid")
    assert (checker.states(paid), allowed) == (("paid",), False)
    lost, allowed = checker.follow(paid, "lose", "nowhere")
    assert (lost, allowed) == (PARTED, False)
    assert checker.follow(lost, "wander", "anywhere") == (PARTED, True)
    found, allowed = checker.follow(lost, "find", "paid")
    assert (found, allowed) == (paid, True)


def test_positions_that_are_not_of_the_specification_are_told_apart() -> None:
    """A stored position may be of another specification, or damaged."""
    checker = RunChecker(Order.lts)
    assert all(checker.holds(position) for position in (0, 3, (), (0, 1)))
    assert not any(checker.holds(position) for position in (4, -1, "0", None, (0, 4), True, [0]))


def test_many_positions_are_forgotten_and_found_again() -> None:
    """The memory of a checker is bounded: random runs through a system with thousands of positions."""
    size = 12
    steps = [(str(n), "a", str((n + 1) % size)) for n in range(size)]
    steps += [(str(n), "b", str((n + 1) % size)) for n in range(size)] + [("0", "a", "0")]
    checker, random = RunChecker(spex.LTS("0", steps)), Random(5)
    for _ in range(200):
        assert checker.parting([random.choice("ab") for _ in range(60)]) is None


def test_the_position_after_a_run_has_all_states_that_it_may_be_in() -> None:
    """What is no run has none."""
    checker = RunChecker(spex.LTS("p", [("p", "a", "q"), ("p", "a", "r"), ("r", spex.INTERNAL, "s")]))
    assert checker.states(checker.position(["a"])) == ("q", "r", "s")
    assert checker.position([]) == checker.start
    assert checker.position(["a", "a"]) == PARTED
