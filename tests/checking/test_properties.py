"""Properties of runs, held against their definitions on lists of actions and on all short runs of small systems."""

from __future__ import annotations

import random
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.checking.properties import Pattern, Property
from spex_shards.domain.lts import LTS
from tests.support.places import LONG, WHOLE

P = spex.properties
HOLDS, INCOMPLETE, VIOLATION = spex.Holding.HOLDS, spex.Holding.INCOMPLETE, spex.Holding.VIOLATION
EACH = 20_000 if WHOLE else 5_000 if LONG else 1_500


def segments(prop: Property, run: list[str]) -> list[tuple[list[str], bool]]:
    """Return the parts of a run that are in a property's scope, each with whether it was closed."""
    found: list[tuple[list[str], bool]] = []
    rest = [action for action in run if action != spex.INTERNAL]
    begin = 0
    while begin is not None:
        if prop.after is not None:
            opens = next((n for n in range(begin, len(rest)) if rest[n] in prop.after), None)
            if opens is None:
                return found
            begin = opens + 1
        end = next((n for n in range(begin, len(rest)) if rest[n] in (prop.until or ())), None)
        found.append((rest[begin:end], end is not None))
        if end is None or prop.after is None:
            return found
        begin = end + 1
    return found


def by_definition(prop: Property, run: list[str]) -> spex.Holding:
    """Judge a run by what the pattern says."""
    verdict = HOLDS
    for part, closed in segments(prop, run):
        about = [n for n, action in enumerate(part) if action in prop.actions]
        firsts = [n for n, action in enumerate(part) if action in prop.other]
        broken, owes = False, False
        if prop.pattern is Pattern.NEVER:
            broken = bool(about)
        elif prop.pattern is Pattern.AT_MOST:
            broken = len(about) > prop.limit
        elif prop.pattern is Pattern.NEEDS:
            broken = any(not [n for n in firsts if n < place] for place in about)
        elif prop.pattern is Pattern.ANSWERED:
            owes = any(not [n for n in firsts if n > place] for place in about)
        else:
            owes = not about
        if broken or (owes and closed):
            return VIOLATION
        verdict = INCOMPLETE if owes else verdict
    return verdict


def drawn(source: random.Random) -> Property:
    """Return a property drawn at random."""
    names = list("abcd")
    source.shuffle(names)
    scope = {"after": source.choice([None, names[2]]), "until": source.choice([None, names[3]])}
    return source.choice(
        [
            P.never(names[0], **scope), P.at_most(source.randrange(3), names[0], **scope),
            P.needs(names[0], first=names[1], **scope), P.answered(names[0], by=names[1], **scope),
            P.happens(names[0], **scope), P.never(names[:2], **scope),
        ]
    )  # fmt: skip


def test_a_run_is_judged_as_the_pattern_says() -> None:
    """All patterns and scopes, on runs drawn at random."""
    source = random.Random(20)
    verdicts = set()
    for _ in range(EACH):
        prop = drawn(source)
        run = [source.choice(["a", "b", "c", "d", spex.INTERNAL]) for _ in range(source.randrange(8))]
        assert prop.of_run(run) is by_definition(prop, run), (str(prop), run)
        verdicts.add((prop.pattern, prop.of_run(run)))
    assert len(verdicts) == 12


def runs_from(lts: LTS, state: Any, length: int) -> list[list[tuple[Any, str, Any]]]:
    """Return all runs of up to so many steps from a state, the shorter ones first."""
    found: list[list[tuple[Any, str, Any]]] = [[]]
    for run in found:
        here = run[-1][2] if run else state
        if len(run) < length:
            found += [[*run, step] for step in lts.transitions if step[0] == here]
    return found


def test_a_system_is_judged_as_its_runs_are() -> None:
    """A shortest run is shown that breaks the property, or after which what is owed can never come."""
    source = random.Random(21)
    seen = {HOLDS: 0, INCOMPLETE: 0, VIOLATION: 0}
    for _ in range(EACH // 3):
        prop, size = drawn(source), source.randrange(1, 4)
        steps = [
            (source.randrange(size), source.choice(["a", "b", "c", "d", spex.INTERNAL]), source.randrange(size))
            for _ in range(source.randrange(5))
        ]
        lts = LTS(0, steps)
        result = prop.of(lts)
        seen[result.verdict] += 1
        runs = runs_from(lts, 0, 5)
        names = [[action for _, action, _ in run] for run in runs]
        broken = next(
            (run for run, own in zip(runs, names, strict=True) if by_definition(prop, own) is VIOLATION), None
        )
        if broken is not None or result.verdict is VIOLATION:
            assert result.verdict is VIOLATION
            assert by_definition(prop, [step.action for step in result.run]) is VIOLATION
            assert len(result.run) == (len(broken) if broken is not None else max(6, len(result.run)))
            assert list(result.run) in runs or len(result.run) > 5
            continue
        for run, own in zip(runs, names, strict=True):
            end = run[-1][2] if run else 0
            ahead = [[action for _, action, _ in more] for more in runs_from(lts, end, 4 if len(run) < 3 else 0)]
            if len(run) < 3 and all(by_definition(prop, [*own, *more]) is INCOMPLETE for more in ahead):
                assert result.verdict is INCOMPLETE
                assert len(result.run) <= len(run)
        if result.verdict is INCOMPLETE:
            shown = [step.action for step in result.run]
            end = result.run[-1].target if result.run else 0
            for more in runs_from(lts, end, 4):
                assert by_definition(prop, [*shown, *(action for _, action, _ in more)]) is INCOMPLETE
    assert min(seen.values()) > EACH // 100


ORDER = spex.LTS(
    "new", [("new", "pay", "paid"), ("paid", "ship", "sent"), ("paid", "cancel", "gone"), ("gone", "ship", "lost")]
)


def test_a_property_that_does_not_hold_is_told_with_its_run() -> None:
    """Broken, or owed for ever; for a system, a specification and a model."""
    result = P.never("ship", after="cancel").of(ORDER)
    assert (result.verdict, result.holds) == (VIOLATION, False)
    text = "never ship after cancel: broken by new --pay--> paid --cancel--> gone --ship--> lost."
    assert str(result) == text
    owed = P.answered("pay", by=["refund", "send"]).of(ORDER)
    assert (owed.verdict, len(owed.run)) == (INCOMPLETE, 1)
    assert owed.text == "pay is answered by refund or send: after new --pay--> paid refund or send can never come."
    assert str(P.happens("pay").of(ORDER)) == "pay happens: holds."

    class Sale(spex.Specification):
        transitions = ORDER.transitions

    assert P.needs("ship", first="pay").of(Sale).holds
    steps: list[Any] = [("new", "ship", "sent")]
    model = spex.ImplModel(specification=Sale.name, transitions=[(None, spex.INITIALISATION, "new"), *steps])  # type: ignore[arg-type]
    assert P.needs("ship", first="pay").of(model).verdict is VIOLATION
    empty = spex.ImplModel(specification=Sale.name, transitions=steps)  # type: ignore[arg-type]
    assert P.never("ship").of(empty).verdict is INCOMPLETE


def test_a_property_is_written_as_it_is_read() -> None:
    """All patterns."""
    told = [
        P.never("a", after="b", until="c"), P.at_most(2, ["b", "a"]), P.needs("a", first="b"), P.answered("a", by="b"),
        P.happens("a"),
    ]  # fmt: skip
    assert [str(prop) for prop in told] == [
        "never a after b until c",
        "at most 2 times a or b",
        "a only once b has come",
        "a is answered by b",
        "a happens",
    ]


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: P.never(3), TypeError, "action must be an action or a collection of actions, got: 3"),
        (lambda: P.never([]), TypeError, "action must be an action or a collection of actions, got: \\[\\]"),
        (lambda: P.never("a", after=[1]), TypeError, "after must be an action or a collection of actions"),
        (lambda: P.happens(spex.INTERNAL), ValueError, "a property sees visible actions only"),
        (lambda: P.at_most(-1, "a"), ValueError, "limit must be an int from 0 on, got: -1"),
        (lambda: P.needs("a", first=["b", "a"]), ValueError, "one part in a property, got twice: 'a'"),
        (lambda: P.answered("a", by="a"), ValueError, "one part in a property, got twice: 'a'"),
        (lambda: P.never("a", after="x", until="x"), ValueError, "one part in a property, got twice: 'x'"),
        (lambda: P.never("a").of([]), TypeError, "a system must be an LTS or a Specification class, got: \\[\\]"),
    ],
)
def test_what_is_no_property_is_refused(make: Any, error: type[Exception], text: str) -> None:
    """The text names the option, the rule and what was given."""
    with pytest.raises(error, match=text):
        make()


class Shop(spex.Specification):
    """Ships what is paid; nothing keeps it from shipping what was cancelled."""

    name = "tests.properties.Shop"
    transitions = [("new", "pay", "paid"), ("paid", "cancel", "paid"), ("paid", "ship", "sent")]
    properties = [spex.properties.never("ship", after="cancel"), spex.properties.needs("ship", first="pay")]


def test_check_decides_the_properties_that_are_declared_or_given() -> None:
    """They stand beside the verdict and do not change it."""
    start = spex.Transition(None, spex.INITIALISATION, "new")
    model = spex.ImplModel(specification=Shop.name, transitions=frozenset([start, *Shop.transitions]))
    result = spex.check(model)
    assert result.equivalent
    broken, kept = result.properties
    assert (broken.verdict, kept.verdict) == ("violation", "holds")
    assert [step.action for step in broken.run] == ["pay", "cancel", "ship"]
    given = [spex.properties.happens("ship")]
    assert [str(one.property) for one in spex.check(model, properties=given).properties] == ["ship happens"]
    assert spex.check(model, properties=[]).properties == ()
    with pytest.raises(TypeError, match=r"properties must be made by spex_shards\.properties, got: 'ship'"):
        spex.check(model, properties=["ship"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="properties are decided beside an equivalence"):
        spex.check(model, relation="simulation", properties=given)


def test_properties_travel_to_shards_as_data() -> None:
    """Each pattern, and what is malformed."""
    made = [
        spex.properties.never(["a", "b"], after="c", until="d"),
        spex.properties.at_most(3, "a"),
        spex.properties.needs("a", first=["b", "c"]),
        spex.properties.answered("a", by="b"),
        spex.properties.happens("a", after="b"),
    ]
    for one in made:
        assert Property.of_plain(one.plain()) == one
    for plain in (
        None,
        [],
        ["never", ["a"], [], 0, None],
        ["ever", ["a"], [], 0, None, None],
        ["never", 5, [], 0, None, None],
    ):
        with pytest.raises(ValueError):
            Property.of_plain(plain)
