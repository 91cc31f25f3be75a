"""Alignments: the fewest edits between what was observed and a run, compared with an enumeration of all runs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.checking import alignment as module
from spex_shards.checking.alignment import Aligner, Alignment, MoveKind, NoCompleteRun
from spex_shards.checking.runs import RunChecker
from tests.support.places import of_length

Steps = tuple[tuple[str, str, str], ...]
ACTIONS = ("a", "b", spex.INTERNAL)
ORDER: Steps = (
    ("new", "pay", "paid"),
    ("paid", "ship", "shipped"),
    ("paid", spex.INTERNAL, "undecided"),
    ("undecided", "refund", "owed"),
    ("owed", "ship", "shipped"),
)
WORDS = [word for length in range(4) for word in product("ab", repeat=length)]


def runs(steps: Steps, length: int, complete: bool) -> set[tuple[str, ...]]:
    """Return the visible actions of all runs with at most so many of them."""
    found: set[tuple[str, ...]] = set()
    sources = {source for source, _, _ in steps}
    seen, todo = {("p", ())}, [("p", ())]
    while todo:
        state, run = todo.pop()
        if not complete or state not in sources:
            found.add(run)
        for source, action, target in steps:
            after = run if action == spex.INTERNAL else (*run, action)
            if source == state and len(after) <= length and (target, after) not in seen:
                seen.add((target, after))  # type: ignore[arg-type]
                todo.append((target, after))  # type: ignore[arg-type]
    return found


@cache
def same(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Return the length of a longest common subsequence: the most actions that two sequences can share."""
    if not one or not other:
        return 0
    if one[0] == other[0]:
        return 1 + same(one[1:], other[1:])
    return max(same(one[1:], other), same(one, other[1:]))


def expected(found: set[tuple[str, ...]], word: tuple[str, ...]) -> tuple[int, int]:
    """Return the fewest edits, and the fewest surplus actions with them."""
    shared = [(run, same(word, run)) for run in found]
    return min((len(word) + len(run) - 2 * kept, len(word) - kept) for run, kept in shared)


def check(steps: Steps, initial: str, word: tuple[str, ...], alignment: Alignment, complete: bool) -> None:
    """Check that an alignment leads along the specification, that it is of that word, and that its cost is right."""
    state, kinds = initial, [move.kind for move in alignment.moves]
    for kind, action, after in alignment.moves:
        assert (kind is MoveKind.SILENT) == (action == spex.INTERNAL)
        assert after == state if kind is MoveKind.SURPLUS else (state, action, after) in steps
        state = after
    taken = (MoveKind.SAME, MoveKind.SURPLUS)
    assert tuple(move.action for move in alignment.moves if move.kind in taken) == word
    assert not complete or all(source != state for source, _, _ in steps)
    assert alignment.cost == kinds.count(MoveKind.MISSING) + kinds.count(MoveKind.SURPLUS)


def agrees(steps: Steps, words: list[tuple[str, ...]] = WORDS) -> None:
    """Check the alignments of words against all runs: no best alignment has a run of more than twice the word's length.

    A complete run has at most two missing actions more than that: a shortest way to the end from any of three states.
    """
    for complete in (False, True):
        found = runs(steps, 2 * max(map(len, words)) + 2, complete)
        if not found:
            with pytest.raises(NoCompleteRun):
                Aligner(spex.LTS("p", steps), complete=True)
            continue
        aligner = Aligner(spex.LTS("p", steps), complete=complete)
        assert aligner.shortest == min(map(len, found))
        for word in words:
            alignment = aligner.align(word)
            check(steps, "p", word, alignment, complete)
            surplus = sum(move.kind is MoveKind.SURPLUS for move in alignment.moves)
            assert (alignment.cost, surplus) == expected(found, word), (steps, word, complete)


def systems(states: str) -> Iterator[Steps]:
    """Return all systems of some states."""
    every = [(source, action, target) for source in states for action in ACTIONS for target in states]
    for bits in range(1 << len(every)):
        yield tuple(step for number, step in enumerate(every) if bits >> number & 1)


def test_all_systems_of_two_states_give_the_fewest_edits() -> None:
    """All 4,096 (a share of them unless WHOLE), with all words of up to three actions, in both modes."""
    for number, steps in enumerate(systems("pq")):
        if number % of_length(20, 4, 1) == 0:
            agrees(steps)


def test_random_systems_of_three_states_give_the_fewest_edits() -> None:
    """With words of up to four actions, among them one that no specification has."""
    random = Random(5)
    every = [(source, action, target) for source in "pqr" for action in ACTIONS for target in "pqr"]
    for _ in range(of_length(120, 500, 5_000)):
        steps = tuple(random.sample(every, random.randint(1, 8)))
        agrees(steps, [tuple(random.choices("aabbc", k=length)) for length in (0, 1, 2, 3, 4, 4)])


def test_what_is_kept_is_forgotten_without_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one column only, the alignments are the same."""
    word = ("pay", "ship", "refund", "pay", "refund", "ship", "ship") * 5
    before = Aligner(spex.LTS("new", ORDER)).align(word)
    monkeypatch.setattr(module, "_MOST_KEPT", 1)
    aligner = Aligner(spex.LTS("new", ORDER))
    assert [aligner.align(word) for _ in range(3)] == [before] * 3
    assert len(aligner._columns) == 1


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("", ""),
        ("pay ship", "pay, ship"),
        ("pay refund ship", "pay, refund, ship"),
        ("ship", "+pay, ship"),
        ("refund ship", "+pay, refund, ship"),
        ("pay pay ship", "pay, -pay, ship"),
        ("pay ship ship", "pay, ship, -ship"),
        ("lose", "-lose"),
        ("ship pay", "-ship, pay"),
    ],
)
def test_an_alignment_reads_as_a_line(word: str, shown: str) -> None:
    """Plus is missing, minus is surplus; the silent step is left out."""
    assert str(Aligner(spex.LTS("new", ORDER)).align(word.split())) == shown


def states_of(steps: Steps, word: str) -> list[str]:
    """Return the specified states along the alignment of a word."""
    return [move.state for move in Aligner(spex.LTS("p", steps)).align(word).moves]


def test_of_equal_alignments_the_same_one_is_always_taken() -> None:
    """Fewer silent steps first, then the order of the specification; an early match before a late one."""
    assert states_of((("p", "a", "r"), ("p", "a", "q")), "a") == ["r"]
    assert states_of((("p", "a", "q"), ("p", "a", "r")), "a") == ["q"]
    assert states_of((("p", spex.INTERNAL, "s"), ("s", "a", "q"), ("p", "a", "r")), "a") == ["r"]
    assert states_of((("p", "c", "s"), ("p", "b", "t"), ("s", "a", "q"), ("t", "a", "q")), "a") == ["s", "q"]
    assert str(Aligner(spex.LTS("p", [("p", "a", "q")])).align("aa")) == "a, -a"


def test_a_complete_run_goes_on_to_a_terminal_state() -> None:
    """By the shortest way; what is missing comes as late as possible."""
    aligner = Aligner(spex.LTS("new", ORDER), complete=True)
    assert aligner.shortest == 2
    assert str(aligner.align(["pay", "pay"])) == "pay, -pay, +ship"
    assert aligner.align([]).run == ("pay", "ship")
    assert aligner.align(["pay", "refund"]).cost == 1


def test_a_complete_run_may_end_silently_and_avoids_states_that_lead_nowhere() -> None:
    """The way to a terminal state over silent steps costs nothing; the loop is no way out."""
    steps = (("p", "a", "loop"), ("loop", "b", "loop"), ("p", spex.INTERNAL, "q"), ("q", spex.INTERNAL, "end"))
    aligner = Aligner(spex.LTS("p", steps), complete=True)
    assert [move[:2] for move in aligner.align([]).moves] == [(MoveKind.SILENT, spex.INTERNAL)] * 2
    assert str(aligner.align(["a", "b"])) == "-a, -b"


def test_a_specification_without_a_complete_run_is_refused() -> None:
    """It is a cycle; without `complete` it is none the worse."""
    cycle = spex.LTS("idle", [("idle", "coin", "paid"), ("paid", "coffee", "idle")])
    with pytest.raises(NoCompleteRun, match="no terminal state of the specification can be reached"):
        Aligner(cycle, complete=True)
    assert Aligner(cycle).align(["coin", "coffee"] * 50).cost == 0


def test_a_specification_without_transitions_allows_nothing() -> None:
    """Every action is surplus, and silent ones do not count."""
    for complete in (False, True):
        aligner = Aligner(None, complete=complete)
        assert str(aligner.align(["a", spex.INTERNAL, "b"])) == "-a, -b"
        assert aligner.shortest == 0


STEPS = st.lists(
    st.tuples(st.sampled_from("pqrs"), st.sampled_from(["a", "b", "c", spex.INTERNAL]), st.sampled_from("pqrs")),
    max_size=10,
)
LONGER = st.lists(st.sampled_from("abcd"), max_size=30)


@settings(max_examples=2000, deadline=None)
@given(STEPS, LONGER)
def test_nothing_is_edited_exactly_in_what_is_a_run(steps: list[tuple[str, str, str]], word: list[str]) -> None:
    """As the checker of runs decides it; and the run of each alignment is a run."""
    lts = spex.LTS("p", steps)
    alignment = Aligner(lts).align(word)
    check(lts.transitions, "p", tuple(word), alignment, complete=False)  # type: ignore[arg-type]
    assert (alignment.cost == 0) == (RunChecker(lts).parting(word) is None)
    assert RunChecker(lts).parting(alignment.run) is None


@settings(max_examples=1000, deadline=None)
@given(LONGER, LONGER)
def test_edits_between_two_sequences_are_as_many_in_both_directions(one: list[str], other: list[str]) -> None:
    """Where the specification has one complete run, what is missing one way is surplus the other way."""

    def align(run: list[str], word: list[str]) -> Alignment:
        steps = [(str(place), action, str(place + 1)) for place, action in enumerate(run)]
        return Aligner(spex.LTS("0", steps), complete=True).align(word)

    there, back = align(one, other), align(other, one)
    kinds = [[move.kind for move in alignment.moves] for alignment in (there, back)]
    assert there.cost == back.cost
    assert kinds[0].count(MoveKind.MISSING) == kinds[1].count(MoveKind.SURPLUS)


@settings(max_examples=500, deadline=None)
@given(STEPS, LONGER, st.sampled_from("abcd"))
def test_one_more_action_costs_at_most_one_more(steps: list[tuple[str, str, str]], word: list[str], more: str) -> None:
    """It can always be dropped; and where it is a step, nothing gets cheaper by it."""
    aligner = Aligner(spex.LTS("p", steps))
    assert aligner.align(word).cost <= aligner.align([*word, more]).cost <= aligner.align(word).cost + 1
