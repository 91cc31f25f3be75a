"""Suggested runs: shortest, complete, and none the beginning of another."""

from __future__ import annotations

import json
import random
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.checking import suggesting
from spex_shards.checking.bisimulation import classes
from spex_shards.checking.suggesting import suggest
from spex_shards.domain.lts import LTS
from tests.cli.test_cli import project, run, write_model
from tests.support.places import LONG

__all__ = ["project", "run"]  # fixtures
ORDER = LTS("new", [("new", "pay", "paid"), ("paid", "ship", "end"), ("paid", "cancel", "end")])
EACH = 5_000 if LONG else 400


def drawn(source: random.Random, *, deterministic: bool) -> LTS:
    """Return a small system drawn at random."""
    size, actions = source.randrange(1, 5), ["a", "b", "c"] if deterministic else ["a", "b", spex.INTERNAL]
    steps = [(source.randrange(size), source.choice(actions), source.randrange(size)) for _ in range(7)]
    if deterministic:
        steps = [(s, a, t) for (s, a), t in {(s, a): t for s, a, t in steps}.items()]
    return LTS(0, steps)


def distances(lts: LTS) -> dict[Any, int]:
    """Return how many steps away each state is that can be reached."""
    found: dict[Any, int] = {lts.initial_state: 0}
    while new := {t: found[s] + 1 for s, _, t in lts.transitions if s in found and t not in found}:
        for target in new:
            found[target] = min(found[s] + 1 for s, _, t in lts.transitions if s in found and t == target)
    return found


def test_each_missing_transition_ends_a_shortest_run_or_lies_on_a_longer_one() -> None:
    """Every run is one of the specification; together they show all that is missing and can be reached."""
    source = random.Random(30)
    for _ in range(EACH):
        lts = drawn(source, deterministic=False)
        missing = {spex.Transition(*step) for step in lts.transitions if source.random() < 0.5}
        far, found = distances(lts), suggest(lts, missing)
        assert {step for one in found for step in one.shows} == {step for step in missing if step.source in far}
        for one in found:
            assert one.run[0].source == 0
            assert all(a.target == b.source for a, b in pairwise(one.run))
            assert set(one.run) <= set(lts.transitions)
            assert one.run[-1] in missing
            assert len(one.run) == far[one.run[-1].source] + 1
        assert not any(a != b and b.run[: len(a.run)] == a.run for a, b in product(found, found))


def test_a_thorough_choice_tells_every_two_states_apart() -> None:
    """Each transition is taken; where two states differ, a run goes on from one by what the other cannot do."""
    source = random.Random(31)
    for _ in range(EACH):
        lts = drawn(source, deterministic=True)
        found, far, own = suggest(lts, [], thorough=True), distances(lts), classes(lts)
        moves = {(s, a): t for s, a, t in lts.transitions}
        assert {step for one in found for step in one.run} == {s for s in lts.transitions if s[0] in far}

        def possible(state: Any, word: list[str], moves: Any = moves) -> bool:
            for action in word:
                state = moves.get((state, action))
            return state is not None

        ends: dict[Any, list[list[str]]] = {}
        for one in found:
            for place, step in enumerate(one.run):
                ends.setdefault(step.target, []).append([after.action for after in one.run[place + 1 :]])
        for p, q in product(ends, ends):
            if own[p] != own[q]:
                prefixes = {tuple(word[:n]) for word in ends[p] + ends[q] for n in range(len(word) + 1)}
                assert any(possible(p, [*w]) != possible(q, [*w]) for w in prefixes)


def test_a_thorough_choice_is_refused_where_it_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without determinism, or for too many states."""
    with pytest.raises(ValueError, match="needs a specification that is deterministic and has no silent steps"):
        suggest(LTS(0, [(0, "a", 0), (0, "a", 1)]), [], thorough=True)
    monkeypatch.setattr(suggesting, "MOST_STATES", 2)
    with pytest.raises(ValueError, match="a thorough choice needs at most 2 states, got: 3"):
        suggest(ORDER, [], thorough=True)


def test_the_command_suggests_what_a_model_lacks(run: Any, project: Path) -> None:
    """As text, JSON, and tests to be filled in; a specification without model has everything missing."""
    write_model(project / "models", "shop.Order", ("new", "pay", "paid"), ("paid", "ship", "end"))
    done = run("suggest", "models", "--specification", "shop:Order")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[:2] == ["shop.Order: 1 run suggested", "  pay, cancel  (shows paid --[cancel]-> end)"]
    assert "shop.Refund: 1 run suggested" in lines
    plain = json.loads(run("suggest", "models", "--specification", "shop:Order", "--format", "json").out)
    assert plain["suggestions"][0]["actions"] == ["pay", "cancel"]
    written = run("suggest", "models", "--specification", "shop:Order", "--pytest", "--thorough").out
    space: dict[str, Any] = {}
    exec(compile(written, "suggested", "exec"), space)
    tests = [name for name in space if name.startswith("test_")]
    assert "test_order_pay_ship" in tests
    assert len(tests) == written.count("def test_")
    with pytest.raises(NotImplementedError):
        space["test_order_pay_ship"]()


def test_the_command_says_when_there_is_nothing_to_look_at(run: Any, project: Path) -> None:
    """Exit code 2 without models and specifications; 0 where nothing is missing."""
    assert run("suggest", "nowhere").code == 2
    write_model(project / "models", "shop.Strict", ("new", "pay", "paid"), ("paid", "ship", "end"))
    done = run("suggest", "models/shop.Strict.spex", "--specification", "shop:Strict")
    assert done.code == 0
    assert "shop.Strict: nothing is missing" in done.out
