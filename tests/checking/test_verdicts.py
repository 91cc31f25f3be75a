"""What the three verdicts mean, proved on all small systems by enumerating every extension.

The definition: a model that is not equivalent is INCOMPLETE if some extension of it is equivalent (more transitions,
more states, the same initialisation), and a VIOLATION if none is.

All models of two states are tried against all specifications of two states. An extension may have any number of new
states, but one is enough here: in an equivalent extension each reachable state belongs to a class of the specification;
keep the model's states, let the initial one and one new state stand for the (at most two) classes, and give each state
the steps of its class to those. So the 2**18 systems over three states and two actions are all that must be looked at.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spex_shards.checking import assignment, conformance, extension
from spex_shards.checking.bisimulation import Equivalence
from spex_shards.checking.conformance import Verdict, compare
from spex_shards.checking.large import Judged
from spex_shards.domain.lts import LTS
from spex_shards.domain.transition import INTERNAL
from tests.support.places import WHOLE
from tests.support.reference_bisimulation import reference

BRANCHING, STRONG, PRESERVING = "branching", "strong", "divergence_preserving_branching"
SILENT = ("a", INTERNAL)
VISIBLE = ("a", "b")
ROUNDS = 4
"""Enough: a system of three states and one of two have five classes at most, and each round makes one more, or ends."""


def every(states):
    """Return all steps over so many states and two actions: pairs (source, action 0 or 1, target)."""
    return list(product(range(states), (0, 1), range(states)))


def system(steps, actions):
    """Return the system of these steps."""
    return LTS(0, [(source, actions[action], target) for source, action, target in steps])


class Classes:
    """Names the class of any small system by a number: two systems are equivalent exactly if they have the same.

    In each round a state is named by what it can do, in terms of the names of the round before; see
    `reference_bisimulation.experiments`, of which this is a faster form for enumeration.
    """

    def __init__(self, actions, equivalence):
        self._silent = INTERNAL in actions and equivalence != STRONG
        self._preserving = equivalence == PRESERVING
        self._names = {}
        self._local = cache(self._local_of)
        self._closure = cache(closure)

    def of(self, out):
        """Return the class of the first state; `out` has for each state the steps (action, target) as a frozenset."""
        near = [frozenset([n]) for n in range(len(out))]
        cyclic = frozenset()
        if self._silent:
            near, cyclic = self._closure(tuple(frozenset(t for a, t in steps if a == 1) for steps in out))
        names = (0,) * len(out)
        for _ in range(ROUNDS):
            local = [self._local(names[n], out[n], names, n in cyclic) for n in range(len(out))]
            names = tuple(
                self._names.setdefault(frozenset().union(*(local[m] for m in near[n])), len(self._names) + 1)
                for n in range(len(out))
            )
        return names[0]

    def _local_of(self, own, steps, names, cyclic):
        if not self._silent:
            return frozenset((action, names[target]) for action, target in steps)
        endless = [(own, "endless")] if cyclic and self._preserving else []
        return frozenset([(own, action, names[target]) for action, target in steps] + [(own, 1, own), *endless])


def closure(silent):
    """Return the states that silent steps lead to from each, itself included, and those that are on a silent cycle."""
    near = [{n} for n in range(len(silent))]
    for _ in silent:
        near = [own.union(*(silent[m] for m in own)) for own in near]
    return [frozenset(own) for own in near], frozenset(
        n for n, targets in enumerate(silent) if any(n in near[t] for t in targets)
    )


def outgoing(steps, states):
    """Return the steps by source."""
    return [frozenset((action, target) for source, action, target in steps if source == n) for n in range(states)]


def subsets(items):
    """Return all subsets."""
    return [
        [item for item, there in zip(items, chosen, strict=True) if there]
        for chosen in product([False, True], repeat=len(items))
    ]


def extensions(classes):
    """Return for each class which steps between the first two states its systems of three states have."""
    own = [frozenset(steps) for steps in subsets(list(product((0, 1), range(3))))]
    inside = [frozenset(step for step in steps if step[1] < 2) for steps in own]
    found = {}
    for zero, one, new in product(range(len(own)), repeat=3):
        found.setdefault(classes.of([own[zero], own[one], own[new]]), set()).add((inside[zero], inside[one]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("actions", "equivalence"),
    [
        pytest.param(SILENT, BRANCHING, marks=pytest.mark.long),
        *([(SILENT, PRESERVING), (SILENT, STRONG), (VISIBLE, BRANCHING)] if WHOLE else []),
    ],
)
def test_verdicts_are_the_definitions_on_all_systems_of_two_states(actions, equivalence):
    """256 models, two specifications of each class of those with two states, and 262,144 extensions."""
    classes = Classes(actions, equivalence)
    found = extensions(classes)
    specifications = {}
    for steps in subsets(every(2)):
        specifications.setdefault(classes.of(outgoing(steps, 2)), []).append(system(steps, actions))
    counts = dict.fromkeys(Verdict, 0)
    for steps in subsets(every(2)):
        impl, (zero, one) = system(steps, actions), outgoing(steps, 2)
        for number, alike in specifications.items():
            if number == classes.of([zero, one]):
                expected = Verdict.EQUIVALENT
            else:
                possible = any(zero <= more and one <= most for more, most in found[number])
                expected = Verdict.INCOMPLETE if possible else Verdict.VIOLATION
            for spec in {alike[0], alike[-1]}:
                result = compare(impl, spec, equivalence)
                assert (result.verdict, result.decided) == (expected, True), (steps, spec.transitions)
                counts[expected] += 1
    assert min(counts.values()) > 100


steps = st.sets(st.sampled_from(every(2)))


@given(steps, steps, st.sampled_from(list(Equivalence)), st.sampled_from([SILENT, VISIBLE]))
@settings(max_examples=300, deadline=None)
def test_the_enumeration_names_classes_as_the_definition_of_equivalence_has_them(one, other, equivalence, actions):
    """Its names agree with the relation worked out pair by pair."""
    classes = Classes(actions, equivalence)
    alike = classes.of(outgoing(one, 2)) == classes.of(outgoing(other, 2))
    assert alike == reference(system(one, actions), system(other, actions), equivalence)


small = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["a", "b", INTERNAL]), st.integers(0, 4)), max_size=8)


@given(small, small, st.sampled_from(list(Equivalence)), st.integers(0, 60))
@settings(max_examples=300, deadline=None)
def test_only_a_question_that_hit_the_bound_stays_undecided_and_it_is_never_called_a_violation(
    impl, spec, equivalence, effort
):
    """With any bound the verdict is the exact one, or INCOMPLETE and not decided; EQUIVALENT is always exact."""
    exact = compare(LTS(0, impl), LTS(0, spec), equivalence)
    assert exact.decided
    hit = []

    class Counted(extension._TooHard):
        def __init__(self):
            hit.append(True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extension, "EFFORT", effort)
        patch.setattr(extension, "_EFFORT_PER_STEP", 0)
        patch.setattr(extension, "_TooHard", Counted)
        bounded = compare(LTS(0, impl), LTS(0, spec), equivalence)
    assert bounded.decided == (not hit)
    if bounded.decided:
        assert bounded == exact
    else:
        assert not exact.equivalent
        assert (bounded.equivalent, bounded.verdict) == (False, Verdict.INCOMPLETE)


def drawn(seed):
    """Return a system and a specification: the system is any one, or what a run showed, with some states confused."""
    draw = random.Random(seed)
    actions = draw.choice([("a", "b", INTERNAL), ("a", INTERNAL, INTERNAL), ("a", "b"), ("a", "b", "c", INTERNAL)])
    size, seen = draw.randint(1, 7), draw.randint(1, 7)
    spec = [
        (draw.randrange(size), draw.choice(actions), draw.randrange(size)) for _ in range(draw.randint(0, 14))
    ]  # fmt: skip
    if draw.random() < 0.5:
        steps = range(draw.randint(0, 10))
        return [(draw.randrange(seen), draw.choice(actions), draw.randrange(seen)) for _ in steps], spec
    name = [0, *(n if draw.random() < 0.8 else draw.randrange(size) for n in range(1, size))]
    state, run = 0, []
    for _ in range(draw.randint(1, 20)):
        after = [step for step in spec if step[0] == state]
        if after:
            state, action, target = draw.choice(after)
            run.append((name[state], action, name[target]))
            state = target
    return run, spec


pairs = st.integers(0, 2**32).map(drawn)


def at_scale(impl, spec, equivalence):
    """Compare two systems in the way of large ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conformance, "LARGE", -1)
        result = compare(LTS(0, impl), LTS(0, spec), equivalence)
        return result.equivalent, result.verdict, result.decided


@given(pairs, st.sampled_from(list(Equivalence)))
@settings(max_examples=1500, deadline=None)
def test_large_systems_have_the_verdict_of_small_ones(pair, equivalence):
    """With choices of targets and silent steps as well, for which several classes are tried."""
    expected = compare(LTS(0, pair[0]), LTS(0, pair[1]), equivalence)
    assert at_scale(*pair, equivalence) == (expected.equivalent, expected.verdict, expected.decided)


@given(pairs, st.sampled_from(list(Equivalence)), st.integers(0, 60), st.integers(0, 20))
@settings(max_examples=500, deadline=None)
def test_a_large_question_that_hit_a_bound_stays_undecided(pair, equivalence, effort, kept):
    """And it is never called a violation; EQUIVALENT is always exact."""
    exact = at_scale(*pair, equivalence)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment, "EFFORT", effort)
        patch.setattr(assignment, "_EFFORT_PER_STEP", 0)
        patch.setattr(assignment, "MOST_KEPT", kept)
        bounded = at_scale(*pair, equivalence)
    assert bounded in (exact, (False, Verdict.INCOMPLETE, False))
    assert bounded[0] == exact[0]


@given(pairs, st.sampled_from(list(Equivalence)))
@settings(max_examples=500, deadline=None)
def test_sets_of_many_classes_are_narrowed_as_small_ones_are(pair, equivalence):
    """Where results for sets of any size are stored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment, "_FEW", 0)
        stored = at_scale(*pair, equivalence)
    assert stored == at_scale(*pair, equivalence)


def colours(names):
    """Return a specification whose classes are colours: states of two different ones may be neighbours."""
    return LTS(
        "start",
        [("start", "x", colour) for colour in names]
        + [(one, "a", other) for one in names for other in names if one != other]
        + [(colour, f"not {other}", "end") for colour in names for other in names if other != colour],
    )


def graph(nodes, edges, barred):
    """Return the model that can become equivalent to `colours` if the nodes can be coloured."""
    steps = [("start", "x", node) for node in nodes] + [(one, "a", other) for one, other in edges]
    return LTS("start", [*steps, *((node, f"not {colour}", "end") for node, colour in barred)])


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=400, deadline=None)
def test_classes_are_tried_until_all_fit(seed, guess):
    """Whether a graph can be coloured with three colours, of which some nodes may not have each."""
    draw = random.Random(seed)
    nodes = range(draw.randint(2, 7))
    edges = [draw.sample(nodes, 2) for _ in range(draw.randint(1, 14))]
    barred = [(draw.choice(nodes), draw.choice("rgb")) for _ in range(draw.randint(0, 3))]
    chosen = product("rgb", repeat=len(nodes))
    colourings = (dict(zip(nodes, own, strict=True)) for own in chosen)
    possible = any(
        all(own[one] != own[other] for one, other in edges) and all(own[node] != colour for node, colour in barred)
        for own in colourings
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conformance, "LARGE", -1)
        if not guess:
            patch.setattr(assignment.Assignment, "_guess", lambda *_: False)
        result = compare(graph(nodes, edges, barred), colours("rgb"))
        assert (result.verdict is Verdict.INCOMPLETE, result.decided) == (possible, True)


@pytest.mark.parametrize("names", ["".join(order) for order in permutations("rgby")])
def test_a_choice_is_revoked_if_it_leaves_no_other(names, monkeypatch):
    """One node may be red or yellow; if it is red, its three neighbours cannot be coloured, and that is seen late."""
    monkeypatch.setattr(conformance, "LARGE", -1)
    monkeypatch.setattr(assignment.Assignment, "_guess", lambda *_: False)
    edges = [(0, 1), (0, 2), (0, 3), (1, 2), (2, 3), (3, 1)]
    barred = [(0, "g"), (0, "b"), (1, "y"), (2, "y"), (3, "y")]
    result = compare(graph(range(4), edges, barred), colours(names))
    assert (result.verdict, result.decided) == (Verdict.INCOMPLETE, True)
    result = compare(graph(range(4), edges, [*barred, (0, "y")]), colours(names))
    assert (result.verdict, result.decided) == (Verdict.VIOLATION, True)


@pytest.mark.long
def test_large_systems_in_which_several_classes_are_possible_are_decided():
    """Thousands of steps from one state by one action; what is seen afterwards decides."""
    lines = 800
    hub = [(0, "a", 1 + n) for n in range(lines)]
    chain = [(1 + n, "b", 2 + n) for n in range(lines)]
    spec = [*hub, *chain]
    assert compare(LTS(0, spec[:-1]), LTS(0, spec)).verdict is Verdict.INCOMPLETE
    other = [*spec, (7, "c", 8)]
    result = compare(LTS(0, other), LTS(0, spec))
    assert (result.verdict, result.decided) == (Verdict.VIOLATION, True)
    silent = [*spec, (5, INTERNAL, 0)]
    assert compare(LTS(0, spec), LTS(0, silent)).verdict is Verdict.INCOMPLETE
    result = compare(LTS(0, silent), LTS(0, spec))
    assert (result.verdict, result.decided) == (Verdict.VIOLATION, True)


def test_two_threads_may_ask_a_large_result_for_its_verdict():
    """Each gets the verdict, whoever is first."""
    steps = [(n, "a", n + 1) for n in range(1200)] + [(0, "b", 1), (0, "b", 2)]
    for _ in range(5):
        result = compare(LTS(0, [*steps, (3, "c", 4)]), LTS(0, steps))
        with ThreadPoolExecutor(2) as pool:
            assert [*pool.map(lambda _, r=result: r.verdict, range(2))] == [Verdict.VIOLATION] * 2


def test_a_state_that_nothing_can_follow_is_found_without_a_search_for_classes(monkeypatch):
    """The difference is looked for where the partition shows that it begins, however long the run to it is."""
    monkeypatch.setattr("spex_shards.checking.large._assignable", lambda *_: pytest.fail("classes were searched"))
    steps = [(number, "a", number + 1) for number in range(400)]
    steps += [(number, "a", number + 500) for number in range(400)]
    steps += [(number + 500, INTERNAL, number + 1) for number in range(400)]
    steps += [(number + 500, "b", 400) for number in range(400)]
    spec = LTS(0, steps)
    wrong = LTS(0, [*steps, (389, "c", 400)])
    assert Judged(wrong, spec, Equivalence.BRANCHING).extensible() is False
    renamed = LTS(0, [(s, "c" if (s, a) == (789, "b") else a, t) for s, a, t in steps])
    assert Judged(renamed, spec, Equivalence.BRANCHING).extensible() is False


def test_a_violation_that_the_specification_can_follow_is_found_all_the_same():
    """It can follow each state, but no class of it has both steps of one."""
    spec = LTS(0, [(0, "a", 1), (0, "a", 2), (1, "b", 3), (2, "b", 3), (2, "c", 3), (1, INTERNAL, 4), (4, "d", 3)])
    impl = LTS(0, [(0, "a", 1), (1, "c", 3), (1, INTERNAL, 4), (4, "d", 3)])
    judged = Judged(impl, spec, Equivalence.BRANCHING)
    assert (judged.equivalent, judged.extensible()) == (False, compare(impl, spec).verdict is not Verdict.VIOLATION)
