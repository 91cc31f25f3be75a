"""The form of the large checker in machine integers: it makes the same partitions as the one in lists."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spex_shards.checking import machine as machine_module
from spex_shards.checking.bisimulation import reduced
from spex_shards.checking.compact import _Columns, _merged
from spex_shards.checking.graph import Equivalence
from spex_shards.checking.refinement import Refinement
from spex_shards.domain.lts import LTS
from spex_shards.domain.transition import INTERNAL
from spex_shards.runtime.system.form import COMPILED

pytest.importorskip("librt.vecs", reason="the checker's compiled form needs librt")

from spex_shards.checking.arrays import Grouped
from spex_shards.checking.machine import Machine, machine
from spex_shards.checking.packed import Packed, arrays, as_list
from spex_shards.checking.splitting import Splitting

STATES = st.integers(0, 7)
SYSTEMS = st.lists(st.tuples(STATES, st.sampled_from(["a", "b", INTERNAL, INTERNAL]), STATES), max_size=24)


def numbered(block: Sequence[int], nodes: Sequence[int]) -> list[int]:
    """Return the blocks of some nodes, numbered in the order of the nodes."""
    fresh: dict[int, int] = {}
    return [fresh.setdefault(block[node], len(fresh)) for node in nodes]


def in_lists(systems: tuple[LTS, LTS], kind: Equivalence) -> tuple[int, list[int], list[int]]:
    """Return how many nodes there are, and the class of each state, as lists are refined; and the initial states."""
    steps = _Columns(systems, strong=kind is Equivalence.STRONG)
    starts, steps.nodes = list(steps.starts), list(range(steps.size))
    _, divergent = _merged(steps)
    silent, size, most = steps.silent(), steps.size, len(steps.actions)
    steps.keep(steps.codes)
    own = sorted(divergent) if kind is Equivalence.DIVERGENCE_PRESERVING_BRANCHING else []
    codes = [code * (size + 1) for code in [*steps.codes, *[most] * len(own)]]
    refinement = Refinement(size, Grouped(size, [*steps.sources, *own], [*steps.targets, *own], codes), silent)
    assert refinement.run()
    return size, numbered(refinement.block, steps.nodes), starts


def packed(systems: tuple[LTS, LTS], kind: Equivalence) -> Packed:
    """Return two systems in machine integers."""
    steps = _Columns(systems, strong=kind is Equivalence.STRONG)
    counts = kind is Equivalence.DIVERGENCE_PRESERVING_BRANCHING
    return Packed(steps.size, steps.sources, steps.codes, steps.targets, len(steps.actions), counts)


def reached(system: Packed, start: int) -> list[int]:
    """Return the nodes that a node leads to."""
    found = [start]
    for node in found:  # grows while the loop runs
        for first, _, targets in (system.visible.lists(), system.silent.lists()):
            found += [to for to in dict.fromkeys(targets[first[node] : first[node + 1]]) if to not in found]
    return found


@settings(max_examples=250, deadline=None)
@given(SYSTEMS, SYSTEMS, st.sampled_from(Equivalence))
def test_machine_integers_give_the_same_partition(one, other, kind):
    """Whole; ended as soon as two nodes have parted; and continued from there for a part of the nodes."""
    systems = LTS(0, one), LTS(0, other)
    size, expected, starts = in_lists(systems, kind)
    system = packed(systems, kind)
    nodes = as_list(system.number)
    whole = Splitting(system.size, system.visible, system.silent)
    assert whole.run()
    assert (system.size, numbered(whole.block, nodes)) == (size, expected)

    ended = Splitting(system.size, system.visible, system.silent)
    assert ended.run(*(nodes[start] for start in starts)) is (expected[starts[0]] == expected[starts[1]])
    part = reached(system, nodes[starts[1]])
    ended.keep(part)
    ended.run()
    assert numbered(ended.block, part) == numbered(whole.block, part)


@pytest.mark.long
def test_wide_and_deep_systems_have_the_same_partition():
    """More classes, steps and signatures than the arrays have room for at first."""
    wide = [(0, f"a{number % 90}", number) for number in range(1, 1500)]
    wide += [(number, f"b{number % 37}", number % 5) for number in range(1, 1500)]
    deep = [(number, INTERNAL if number % 3 else "c", number + 1) for number in range(1500, 2500)]
    deep += [(number, "d", number // 2) for number in range(1500, 2500)]
    system = LTS(0, [*wide, (0, INTERNAL, 1500), *deep])
    other = LTS(0, [*wide, (0, INTERNAL, 1500), *deep[:-1]])
    for kind in Equivalence:
        size, expected, _ = in_lists((system, other), kind)
        made = packed((system, other), kind)
        splitting = Splitting(made.size, made.visible, made.silent)
        splitting.run()
        assert (made.size, numbered(splitting.block, as_list(made.number))) == (size, expected)


def test_machine_integers_are_used_where_they_are_compiled():
    """In the pure form of the package, lists are faster."""
    assert (machine() is not None) is COMPILED


def test_other_threads_run_during_a_long_refinement():
    """So an application that compares large systems still answers, and can be interrupted."""
    size = 60_000 if COMPILED else 1_000
    steps = [(number, "ab"[number % 7 == 0], (number * 31 + 7) % size) for number in range(size)]
    steps += [(number, "c", (number * 17 + 3) % size) for number in range(size)]
    system = packed((LTS(0, steps), LTS(0, steps)), Equivalence.STRONG)
    ticks, done = [], threading.Event()

    def tick() -> None:
        while not done.wait(0.001):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    splitting = Splitting(system.size, system.visible, system.silent)
    begun = time.monotonic()
    splitting.run()
    took = time.monotonic() - begun
    done.set()
    thread.join()
    assert took < 0.05 or [tick for tick in ticks if begun < tick < begun + took]


def test_large_systems_are_minimised_alike(monkeypatch):
    """Where the form is compiled, graphs are refined in machine integers too, from some size on."""
    steps = [(number, "ab"[number % 3 == 0], number // 2) for number in range(1, 300)]
    steps += [(number // 3, INTERNAL, number) for number in range(1, 300)]
    small = reduced(LTS(0, steps))
    monkeypatch.setattr(machine_module, "LARGE", 10)
    monkeypatch.setattr(machine_module, "machine", lambda: Machine(Packed, Splitting, arrays))
    assert reduced(LTS(0, steps)) == small
