"""The rules by which histories are judged: each finds what breaks it, and they agree with a search of all orders."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.programs.histories import verdict
from tests.programs.histories.history import START, Batch, Entry, Outcome, Read, Stored, Write
from tests.support.reference_linearisation import linearisable

IT = "an instance"


def wrote(
    label: str,
    invoked: float,
    completed: float = inf,
    outcome: Outcome | None = None,
    client: str = "",
    session: int = 0,
) -> Write:
    """Return a write; without an outcome it is acknowledged if it was completed."""
    known = outcome or (Outcome.UNKNOWN if completed == inf else Outcome.ACKNOWLEDGED)
    return Write(client or label, session, IT, label, invoked, completed, known)


def saw(labels: str, invoked: float, completed: float, client: str = "reader") -> Read:
    """Return a read of labels of one letter each."""
    return Read(client, IT, tuple(labels), invoked, completed)


def store(labels: str, batches: Sequence[Batch] = (), transactions: Sequence[int] = ()) -> Stored:
    """Return a store that holds an instance with labels of one letter each, behind its first entry."""
    names = (START, *labels)
    written = transactions or [0] * len(names)
    entries = [Entry(seq, name, of) for seq, (name, of) in enumerate(zip(names, written, strict=True), 1)]
    return Stored({IT: entries}, {IT: 0}, list(batches))


def rules(writes: Sequence[Write], reads: Sequence[Read], stored: Stored) -> set[str]:
    """Return the names of the rules that are broken."""
    return {violation.rule for violation in verdict.judge(writes, reads, stored)}


A_AND_B = [wrote("a", 0, 1), wrote("b", 2, 3)]


def test_a_history_in_order_breaks_no_rule() -> None:
    """Writes, an unknown one that is not there, a refused one, and reads at any of the places that are allowed."""
    writes = [*A_AND_B, wrote("c", 2.5), wrote("d", 4), wrote("r", 1, 5, Outcome.REFUSED)]
    reads = [saw("a", 1.5, 1.7), saw("a", 2.5, 2.6), saw("ab", 2.4, 2.9), saw("abc", 3, 4, "another"), saw("c", 5, 6)]
    assert verdict.judge(writes, reads, store("abc")) == []


@pytest.mark.parametrize(
    ("rule", "writes", "reads", "stored"),
    [
        pytest.param(verdict.LOST, A_AND_B, [], store("a"), id="an acknowledged write is not stored"),
        pytest.param(verdict.LOST, A_AND_B, [], Stored({}, {}, []), id="the instance is not stored"),
        pytest.param(verdict.ONCE, A_AND_B, [], store("abb"), id="a write is stored twice"),
        pytest.param(verdict.ONCE, A_AND_B, [], store("abx"), id="nobody asked for it"),
        pytest.param(
            verdict.ONCE, [wrote("a", 0, 1, Outcome.REFUSED)], [], store("a"), id="it was refused and is stored"
        ),
        pytest.param(
            verdict.ONCE,
            A_AND_B,
            [],
            Stored({IT: [Entry(1, START), Entry(2, "a"), Entry(4, "b")]}, {IT: 0}, []),
            id="a sequence is left out",
        ),
        pytest.param(
            verdict.SESSION,
            [wrote("a", 0, 9, client="one"), wrote("b", 1, 9, client="one")],
            [],
            store("ba"),
            id="two posts of a session change places",
        ),
        pytest.param(verdict.REAL_TIME, A_AND_B, [], store("ba"), id="a write overtakes one that had ended"),
        pytest.param(
            verdict.REAL_TIME,
            [wrote("a", 0), wrote("b", 2, 3), wrote("c", 4)],
            [],
            store("cab"),
            id="an unknown one does",
        ),
        pytest.param(
            verdict.REAL_TIME, A_AND_B, [saw("a", 4, 5)], store("ab"), id="a read misses what was acknowledged"
        ),
        pytest.param(
            verdict.REAL_TIME, A_AND_B, [saw("ab", 0, 1)], store("ab"), id="a read shows what was not asked for yet"
        ),
        pytest.param(
            verdict.REAL_TIME,
            [wrote("a", 0)],
            [saw("a", 1, 2), saw((START,), 3, 4, "another")],  # type: ignore[arg-type]
            store("a"),
            id="reads go backwards",
        ),
        pytest.param(verdict.READS, A_AND_B, [saw("x", 1, 2)], store("ab"), id="a read shows what is not stored"),
        pytest.param(verdict.READS, A_AND_B, [saw("bab", 1, 9)], store("ab"), id="a read shows another history"),
        pytest.param(verdict.READS, A_AND_B, [saw("", 1, 2)], store("ab"), id="a read finds no instance"),
    ],
)
def test_a_broken_history_is_found(rule: str, writes: list[Write], reads: list[Read], stored: Stored) -> None:
    """Each by the rule that it breaks."""
    assert rule in rules(writes, reads, stored)


def test_a_session_that_ends_has_no_order_with_the_next_one() -> None:
    """What an ended session had sent may be applied later; the clients' times alone decide."""
    writes = [wrote("a", 0, client="one"), wrote("b", 1, 2, client="one", session=1)]
    assert rules(writes, [], store("ba")) == set()


# ---------------------------------------------------------------------- owners

CLAIM = Batch(0, 1, 1, 0, 10, backend=100, claims=True)
BATCHES = [
    CLAIM, Batch(0, 2, 1, 1, 11, 100), Batch(0, 3, 1, 2, 12, 101),  # the owner has connected again
    Batch(0, 4, 2, 2, 13, 200, claims=True), Batch(0, 5, 2, 3, 14, 200),
]  # fmt: skip


def test_owners_that_follow_each_other_break_no_rule() -> None:
    """An owner may connect again, and another one may claim the shard; entries were written in that order."""
    assert verdict.judge(A_AND_B, [], store("ab", BATCHES, [11, 12, 14])) == []


@pytest.mark.parametrize(
    ("batches", "transactions"),
    [
        pytest.param([*BATCHES, Batch(0, 6, 2, 4, 15, 101)], [11, 12, 14], id="the old connection comes back"),
        pytest.param([*BATCHES, Batch(0, 6, 1, 4, 15, 300)], [11, 12, 14], id="the old epoch comes back"),
        pytest.param([*BATCHES, Batch(0, 6, 2, 5, 15, 200)], [11, 12, 14], id="a batch is left out"),
        pytest.param([*BATCHES, Batch(0, 6, 2, 3, 15, 200)], [11, 12, 14], id="a number is given twice"),
        pytest.param([*BATCHES, Batch(0, 6, 2, 3, 15, 300, claims=True)], [11, 12, 14], id="an epoch is given twice"),
        pytest.param(BATCHES, [11, 14, 12], id="a later batch has replaced an entry"),
        pytest.param(BATCHES, [11, 99, 14], id="an entry is of no batch"),
    ],
)
def test_owners_that_write_between_each_other_are_found(batches: list[Batch], transactions: list[int]) -> None:
    """By the ledger, or by the transactions of the rows."""
    assert rules(A_AND_B, [], store("ab", batches, transactions)) == {verdict.OWNERS}


# ---------------------------------------------------------------------- timers, losses, pauses


def test_timers_that_are_not_reported_or_too_often_are_found() -> None:
    """One report for each; one more for each application that ended meanwhile."""
    heard = {"once": 1, "twice": 2}
    assert verdict.wrong_timers(["once"], heard) == []
    assert [v.where for v in verdict.wrong_timers(["once", "twice", "never"], heard)] == ["twice", "never"]
    assert verdict.wrong_timers(["once", "twice"], heard, lambda _: 2) == []


def test_a_loss_is_excused_only_if_it_was_noticed() -> None:
    """And only the loss: what is stored must be in order, and there once."""
    shards = {IT: 3}
    loss = verdict.judge(A_AND_B, [saw("ab", 4, 5)], store("a"))
    assert {violation.rule for violation in loss} == {verdict.LOST, verdict.READS}
    assert verdict.judge_loss(loss, shards, {3}) == []
    assert [v.where for v in verdict.judge_loss(loss, shards, {2})] == ["shard 3"]
    doubled = verdict.judge(A_AND_B, [], store("aa"))
    assert {violation.rule for violation in verdict.judge_loss(doubled, shards, {3})} == {verdict.ONCE}


def test_the_longest_pause_is_that_of_the_client_that_waited_longest() -> None:
    """Between two acknowledged writes of one client, and from the first moment to its first."""
    writes = [wrote(str(at), 0, at, client="one") for at in (1, 2, 6)] + [wrote("x", 0, 3.5, client="two")]
    assert verdict.longest_pause(writes, 0, 10) == 4
    assert verdict.longest_pause(writes, 0, 5) == 3.5


# ---------------------------------------------------------------------- against the search

TIMES = st.integers(0, 6)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Write], list[Read], str]:
    """Return a few writes and reads whose times overlap as they like, and a final history."""
    labels = "abcd"[: draw(st.integers(0, 4))]
    writes = []
    for label in labels:
        begin, end = sorted((draw(TIMES), draw(TIMES)))
        outcome = draw(st.sampled_from(Outcome))
        writes.append(wrote(label, begin, inf if outcome is Outcome.UNKNOWN else end, outcome))
    final = "".join(draw(st.permutations(list(labels))))[: draw(st.integers(0, 4))]
    reads = []
    for _ in range(draw(st.integers(0, 3))):
        begin, end = sorted((draw(TIMES), draw(TIMES)))
        upto = draw(st.integers(0, len(final)))
        shown = (START, *final[:upto])[-draw(st.integers(1, 3)) :]
        reads.append(Read("reader", IT, shown, begin, end))
    return writes, reads, final


@settings(max_examples=1000, deadline=None)
@given(histories())
def test_what_is_found_is_what_no_order_of_all_operations_explains(found: tuple[list[Write], list[Read], str]) -> None:
    """The verdict, which follows the stored order, and the search of all orders agree."""
    writes, reads, final = found
    expected = linearisable(writes, reads, (START, *final))
    event(f"linearisable: {expected}")
    assert (rules(writes, reads, store(final)) == set()) is expected


@settings(max_examples=500, deadline=None)
@given(st.permutations(range(5)), st.lists(TIMES, min_size=10, max_size=10))
def test_writes_that_are_all_stored_are_in_order_exactly_if_the_search_says_so(
    order: list[int], times: list[int]
) -> None:
    """Five acknowledged writes, in any stored order."""
    pairs = [sorted(times[at : at + 2]) for at in range(0, 10, 2)]
    writes = [wrote("abcde"[number], *pairs[number]) for number in range(5)]
    final = "".join("abcde"[number] for number in order)
    expected = linearisable(writes, [], (START, *final))
    assert (rules(writes, [], store(final)) == set()) is expected
