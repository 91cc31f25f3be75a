"""Refinement: traces, simulations and ioco, held against their definitions, and what their counter-examples say."""

from __future__ import annotations

import pickle
import random
from itertools import product
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.checking import inclusion, simulation, simulators
from spex_shards.checking.bisimulation import bisimilar, minimised
from spex_shards.checking.comparing import compare
from spex_shards.checking.counterexample import Kind
from spex_shards.checking.relations import Holding, Relation, relate, relate_model
from spex_shards.checking.simulation import Stopping, refuted
from spex_shards.checking.weak import Weak
from spex_shards.domain.impl_model import ImplModel
from spex_shards.domain.lts import LTS
from spex_shards.domain.transition import INITIALISATION, INTERNAL
from tests.support.places import LONG, WHOLE, of_length
from tests.support.reference_relations import Plain, conforms, follows, includes

STOPPING = {
    Relation.SIMULATION: "anywhere",
    Relation.COMPLETED_SIMULATION: "completed",
    Relation.READY_SIMULATION: "ready",
}
INPUTS = frozenset("a")
PAIRS = of_length(1_000, 2_500, 100_000)
"""So many pairs of systems are drawn at random."""


def expected(impl: LTS, spec: LTS, relation: Relation) -> Holding:
    """Return the verdict by the definitions."""
    if relation is Relation.TRACE_INCLUSION:
        return Holding.HOLDS if includes(impl, spec) else Holding.VIOLATION
    if relation is Relation.IOCO:
        holds = conforms(impl, spec, INPUTS)
        never = not holds and not conforms(impl, spec, INPUTS, waiting=False)
    else:
        holds = follows(impl, spec, STOPPING[relation]) is None
        never = not holds and follows(impl, spec, "anywhere") is not None
    return Holding.HOLDS if holds else Holding.VIOLATION if never else Holding.INCOMPLETE


def check_all(impl: LTS, spec: LTS) -> None:
    """Hold every relation against its definition, and have each counter-example confirmed."""
    for relation in Relation:
        result = relate(impl, spec, relation, INPUTS)
        assert result.verdict == expected(impl, spec, relation), (relation, impl.transitions, spec.transitions)
        found = result.counterexample  # raises where the independent check does not confirm it
        assert (found is None) == result.holds
        assert found is None or found.text.endswith(".")


def drawn(source: random.Random, states: int, actions: str = "ab") -> LTS:
    """Return a system drawn at random."""
    names = [*actions, INTERNAL]
    number = source.randrange(1, 3 * states)
    return LTS(0, [(source.randrange(states), source.choice(names), source.randrange(states)) for _ in range(number)])


def every_system(states: int, actions: list[str]) -> list[LTS]:
    """Return all systems of so many states, those left out that differ in what cannot be reached."""
    steps = list(product(range(states), actions, range(states)))
    found = {}
    for number in range(2 ** len(steps)):
        lts = LTS(0, [step for place, step in enumerate(steps) if number >> place & 1])
        inside = {0}
        while new := {t for s, _, t in lts.transitions if s in inside} - inside:
            inside |= new
        found.setdefault(frozenset(step for step in lts.transitions if step[0] in inside), None)
    return [LTS(0, sorted(system)) for system in found]


def test_every_relation_means_what_its_definition_says() -> None:
    """Systems of up to four states, two actions and silent steps, drawn at random."""
    source = random.Random(10)
    for _ in range(PAIRS):
        check_all(drawn(source, source.randrange(1, 5)), drawn(source, source.randrange(1, 5)))


@pytest.mark.long
def test_looking_at_all_states_at_once_gives_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """And counter-examples that are confirmed: every simulation is decided by sets of simulators."""
    monkeypatch.setattr(simulation, "MOST_ANSWERS", -1)
    source = random.Random(16)
    for _ in range(PAIRS):
        check_all(drawn(source, source.randrange(1, 5)), drawn(source, source.randrange(1, 5)))


@pytest.mark.parametrize(
    "actions", [["a", INTERNAL], pytest.param(["a", "b"], marks=pytest.mark.long)], ids=["silent", "visible"]
)
@pytest.mark.long
def test_every_relation_means_what_its_definition_says_for_all_systems_of_two_states(actions: list[str]) -> None:
    """All pairs over one action and silent steps (a part of them in a short run), and over two actions."""
    systems = every_system(2, actions)
    pairs = list(product(systems, systems))
    for impl, spec in pairs if WHOLE else random.Random(11).sample(pairs, 1_500 if LONG else 700):
        check_all(impl, spec)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_all_systems_of_two_states_with_two_actions_and_silent_steps_against_one_of_each_class() -> None:
    """Every system on either side, one of each class of branching bisimilarity on the other; a part unless WHOLE."""
    systems = every_system(2, ["a", "b", INTERNAL])
    classes: dict[LTS, LTS] = {}
    for lts in systems:
        classes.setdefault(minimised(lts), lts)
    pairs = list(product(systems, classes.values()))
    for lts, other in pairs if WHOLE else random.Random(15).sample(pairs, 1_500):
        check_all(lts, other)
        check_all(other, lts)


def test_a_relation_implies_those_below_it() -> None:
    """Branching bisimilarity, ready, completed and plain simulation, and trace inclusion, in this order."""
    source = random.Random(12)
    order = [
        Relation.READY_SIMULATION, Relation.COMPLETED_SIMULATION, Relation.SIMULATION, Relation.TRACE_INCLUSION
    ]  # fmt: skip
    for _ in range(PAIRS // 4):
        impl, spec = drawn(source, 3), drawn(source, 3)
        holds = [bisimilar(impl, spec), *(relate(impl, spec, relation).holds for relation in order)]
        assert holds == sorted(holds)
        assert all(relate(impl, minimised(impl), relation, INPUTS).holds for relation in Relation)


def runs_up_to(lts: LTS, length: int) -> list[list[tuple[object, str, object]]]:
    """Return all runs of up to so many steps."""
    found: list[list[tuple[object, str, object]]] = [[]]
    for run in found:
        here = run[-1][2] if run else lts.initial_state
        if len(run) < length:
            found += [[*run, step] for step in lts.transitions if step[0] == here]
    return found


def test_no_run_that_is_not_allowed_is_shorter_than_the_one_that_is_shown() -> None:
    """All shorter runs are enumerated; each is a trace of the specification."""
    source = random.Random(13)
    looked_at = 0
    for _ in range(PAIRS // 3):
        impl, spec = drawn(source, 3), drawn(source, 3)
        found = relate(impl, spec, Relation.TRACE_INCLUSION).counterexample
        if found is not None and 1 < len(found.run) < 5:
            looked_at += 1
            plain = Plain(spec)
            for run in runs_up_to(impl, len(found.run) - 1):
                states = plain.near[plain.start]
                for _, action, _ in run:
                    states = states if action == INTERNAL else plain.all_after(states, action)
                assert states
    assert looked_at > 20


def test_a_refutation_of_a_simulation_has_least_depth() -> None:
    """The initial pair is as many rounds deep as in the definition's own fixpoint."""
    source = random.Random(14)
    for stopping in Stopping:
        for _ in range(PAIRS // 5):
            impl, spec = drawn(source, 4), drawn(source, 4)
            ours, theirs = Weak(impl, collapse=False), Weak(spec, collapse=True)
            found = refuted(ours, theirs, stopping)
            assert (found and found.ranks[ours.start, theirs.start]) == follows(impl, spec, stopping)
            assert found is None or found.least


ORDER = LTS("new", [("new", "pay", "paid"), ("paid", "ship", "sent"), ("paid", "cancel", "gone")])


def sentence(impl: LTS, spec: LTS, relation: str, **options: Any) -> str:
    """Return the text of the counter-example."""
    found = compare(impl, spec, relation=relation, **options).counterexample
    assert found is not None
    return str(found)


def test_a_run_that_is_not_allowed_is_told_with_what_is() -> None:
    """At the start, later, and where nothing is allowed any more."""
    early = LTS("new", [("new", "ship", "sent")])
    assert sentence(early, ORDER, "simulation") == (
        "At the start your implementation can do ship (new --ship--> sent); the specification does not allow that: "
        "at its start it is in new, where only pay is possible."
    )
    late = LTS(0, [(0, "pay", 1), (1, INTERNAL, 2), (2, "ship", 3), (3, "ship", 3)])
    assert sentence(late, ORDER, "trace_inclusion") == (
        "After 0 --pay--> 1 --(silent)--> 2 --ship--> 3 your implementation can do ship (3 --ship--> 3); the "
        "specification does not allow that: after the same actions it is in sent, where nothing is possible."
    )


def test_a_choice_that_the_specification_makes_too_early_is_told_with_what_each_way_lacks() -> None:
    """Every run is allowed; no single state allows all of them."""
    spec = LTS("new", [("new", "pay", "a"), ("new", "pay", "b"), ("a", "ship", "x"), ("b", "cancel", "x")])
    assert compare(ORDER, spec, relation="trace_inclusion").holds
    found = compare(ORDER, spec, relation="simulation").counterexample
    assert found is not None
    assert found.kind is Kind.CHOICE
    assert found.text == (
        "After new --pay--> paid no state that the specification can be in matches your implementation, which is in "
        "paid: in a it cannot do cancel; in b it cannot do ship."
    )
    assert str(found.formula) == "<tau*><pay>(<tau*><cancel>true && <tau*><ship>true)"


def test_a_model_that_stops_is_told_where_the_specification_goes_on() -> None:
    """Completed simulation says that it gets stuck, ready simulation what it does not offer."""
    stuck = LTS("new", [("new", "pay", "paid")])
    assert compare(stuck, ORDER, relation="simulation").holds
    result = compare(stuck, ORDER, relation="completed_simulation")
    assert result.verdict is Holding.INCOMPLETE
    assert str(result.counterexample) == (
        "After new --pay--> paid the specification, in state paid, goes on by cancel and ship, where your "
        "implementation was seen to do nothing more."
    )
    picky = LTS("new", [("new", "pay", "paid"), ("paid", "ship", "sent")])
    assert compare(picky, ORDER, relation="completed_simulation").holds
    assert sentence(picky, ORDER, "ready_simulation") == (
        "After new --pay--> paid the specification, in state paid, goes on by cancel and ship, where your "
        "implementation can do ship only."
    )
    silent = [("paid", INTERNAL, "s"), ("s", "ship", "sent"), ("paid", INTERNAL, "c"), ("c", "cancel", "gone")]
    assert compare(picky, LTS("new", [("new", "pay", "paid"), *silent]), relation="ready_simulation").holds


MACHINE = LTS("idle", [("idle", "coin", "paid"), ("paid", "coffee", "idle"), ("paid", "tea", "idle")])


def test_ioco_judges_outputs_and_waiting_and_leaves_inputs_free() -> None:
    """The vending machine of the literature."""
    steps = [("idle", "coin", "paid"), ("paid", "tea", "idle"), ("idle", "kick", "bent"), ("bent", "x", "y")]
    less = LTS("idle", steps)
    assert compare(less, MACHINE, relation="ioco", inputs=["coin", "kick"]).holds
    assert sentence(less, MACHINE, "ioco", inputs=["coin"]) == (
        "At the start your implementation can do kick (idle --kick--> bent); the specification does not allow that: "
        "at its start it is in idle, where nothing is an output."
    )
    wait = compare(LTS(0, [(0, "coin", 1)]), MACHINE, relation="ioco", outputs=["coffee", "tea"])
    assert wait.verdict is Holding.INCOMPLETE
    assert wait.counterexample is not None
    assert wait.counterexample.observed == ("coin", "__quiescence__")
    assert wait.counterexample.allowed == ("coffee", "tea")
    assert wait.counterexample.text == (
        "After 0 --coin--> 1 your implementation waits without an output; the specification does not allow that: "
        "after the same actions it is in paid, where it must do coffee or tea."
    )


def test_a_silent_cycle_is_left_in_the_end() -> None:
    """Endless silent activity is nothing that a relation sees, as under branching bisimilarity."""
    busy = LTS(0, [(0, INTERNAL, 1), (1, INTERNAL, 0), (1, "pay", 2), (2, INTERNAL, 2)])
    plain = LTS(0, [(0, "pay", 1)])
    for relation in Relation:
        assert relate(busy, plain, relation, INPUTS).holds
        assert relate(plain, busy, relation, INPUTS).holds


def test_models_without_one_initialisation_are_told_apart() -> None:
    """None is INCOMPLETE, two are a VIOLATION; a specification without transitions allows nothing visible."""
    starts = [(None, INITIALISATION, "new"), (None, INITIALISATION, "old")]
    verdicts = [relate_model(model_of(*starts[:count]), ORDER, "simulation") for count in (0, 1, 2)]
    assert [result.verdict for result in verdicts] == [Holding.INCOMPLETE, Holding.HOLDS, Holding.VIOLATION]
    assert [str(result.counterexample) for result in verdicts if not result.holds] == [
        "The model has no initialisation: no instance was seen to start, so nothing in it can be reached.",
        "The model has 2 different initialisations, in new and old; a specification has one.",
    ]
    assert relate_model(model_of(starts[0]), None, "ready_simulation").holds
    assert not relate_model(model_of(starts[0], ("new", "pay", "paid")), None, "trace_inclusion").holds


def model_of(*transitions: Any) -> ImplModel:
    """Return a model."""
    return ImplModel(specification="x", transitions=transitions)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"relation": "likeness"}, "the relation must be one of trace_inclusion, .*, got: 'likeness'"),
        ({"relation": "ioco"}, "the relation ioco needs inputs or outputs"),
        ({"relation": "simulation", "inputs": ["pay"]}, 'inputs and outputs are for relation="ioco" only'),
        ({"inputs": ["pay"]}, 'inputs and outputs are for relation="ioco" only'),
        ({"relation": "simulation", "equivalence": "strong"}, "either an equivalence or a relation can be asked for"),
        ({"relation": "ioco", "inputs": "pay"}, "inputs must be a collection of actions, or None, got: 'pay'"),
        ({"relation": "ioco", "inputs": [1]}, "inputs must be a collection of actions, or None"),
        ({"relation": "ioco", "inputs": ["pay"], "outputs": ["ship"]}, "not in them: 'cancel'"),
        ({"relation": "ioco", "inputs": ["x"], "outputs": ["pay", "ship", "cancel", "x"]}, "not both, got: 'x'"),
        ({"relation": "ioco", "inputs": [INTERNAL]}, "inputs must not name '__internal__'"),
    ],
)
def test_what_cannot_be_asked_is_refused(options: dict[str, Any], text: str) -> None:
    """The text names the option, the rule and what was given."""
    with pytest.raises(ValueError, match=text):
        compare(ORDER, ORDER, **options)


def test_a_specification_declares_its_inputs_or_outputs() -> None:
    """They are inherited, travel with the class, and must fit its actions."""

    class Machine(spex.Specification):
        transitions = MACHINE.transitions
        inputs = ["coin"]

    class Other(Machine):
        transitions = [*MACHINE.transitions, ("idle", "coin", "broken")]

    assert (Machine.inputs, Machine.outputs, Other.inputs) == (("coin",), None, ("coin",))
    assert pickle.loads(pickle.dumps(Other)).inputs == ("coin",)
    model = model_of((None, INITIALISATION, "idle"), ("idle", "coin", "paid"), ("paid", "milk", "idle"))
    assert spex.check(model, Machine, relation="ioco").verdict is Holding.VIOLATION
    assert spex.check(model, Machine, relation="ioco", rename={"milk": "tea"}).holds
    with pytest.raises(spex.SpecificationError, match="machine: outputs must be a collection of actions"):
        spex.Specification.define("machine", Machine.transitions, outputs="tea")
    with pytest.raises(spex.SpecificationError, match="not in them: 'coffee'"):
        spex.Specification.define("machine", Machine.transitions, inputs=["coin"], outputs=["tea"])
    with pytest.raises(ValueError, match="machine: the relation ioco needs a specification with inputs or outputs"):
        spex.check(model, spex.Specification.define("machine", [("a", "b", "c")]), relation="ioco")


def exploding(size: int) -> LTS:
    """Return a system whose deterministic form has 2 to the power of `size` states: a letter far back decides."""
    steps = [(0, "a", 0), (0, "b", 0), (0, "a", 1)]
    steps += [(n, action, n + 1) for n in range(1, size) for action in "ab"]
    return LTS(0, [*steps, (size, "end", size)])


def test_inclusion_that_hits_its_bound_is_decided_by_simulation_or_left_undecided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is claimed that was not found out."""
    wide = exploding(14)
    anything = LTS(0, [(0, "a", 0), (0, "b", 0)])
    assert relate(anything, wide, "trace_inclusion").holds
    assert relate(wide, wide, "trace_inclusion").holds
    monkeypatch.setattr(inclusion, "MOST_MEMBERS", 500)
    assert relate(wide, wide, "trace_inclusion").holds
    late = LTS(0, [*wide.transitions, (14, "late", 14)])
    undecided = relate(late, wide, "trace_inclusion")
    assert (undecided.verdict, undecided.counterexample) == (Holding.UNDECIDED, None)
    assert relate(late, wide, "simulation").counterexample is not None
    monkeypatch.setattr(simulation, "MOST_ANSWERS", 3)
    assert relate(wide, wide, "simulation").holds
    monkeypatch.setattr(simulation, "MOST_REASONS", 3)
    large = relate(late, wide, "simulation")
    assert (large.verdict, large.counterexample) == (Holding.VIOLATION, None)
    monkeypatch.setattr(simulators, "MOST_BITS", 3)
    assert relate(wide, wide, "simulation").verdict is Holding.UNDECIDED
    assert relate(wide, wide, "trace_inclusion").verdict is Holding.UNDECIDED


def test_a_wrong_counterexample_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that forgets an answer is found out by the independent check."""
    impl = LTS(0, [(0, "a", 1), (1, "b", 2)])
    moves = Weak.moves
    monkeypatch.setattr(Weak, "moves", lambda self, node: {a: t for a, t in moves(self, node).items() if a != "b"})
    for relation in ("trace_inclusion", "simulation"):
        result = relate(impl, impl, relation)
        assert not result.holds
        with pytest.raises(AssertionError, match="a wrong counter-example was found"):
            assert result.counterexample


@pytest.mark.long
@pytest.mark.parametrize("relation", [*STOPPING, Relation.TRACE_INCLUSION])
def test_large_systems_are_no_trouble(relation: Relation) -> None:
    """A grid, a chain of silent steps, and a system where actions lead to several states, with a fault far away."""
    size, side = of_length(2_500, 5_000, 10_000), of_length(35, 50, 70)
    grid = [((x * side + y), "r", (x + 1) * side + y) for x in range(side - 1) for y in range(side)]
    grid += [((x * side + y), "d", x * side + y + 1) for x in range(side) for y in range(side - 1)]
    chain = [(n, INTERNAL if n % 3 else "go", n + 1) for n in range(size)]
    source = random.Random(15)
    half = size // 2
    wild = [(source.randrange(half), source.choice("abcdefgh"), source.randrange(half)) for _ in range(size)]
    for steps in (grid, chain, [(0, "a", 1), *wild]):
        spec = LTS(0, steps)
        assert relate(spec, spec, relation).holds
        inside = {0}
        for start, _, target in steps:
            inside |= {target} if start in inside else set()
        broken = LTS(0, [*steps, (max(inside), "fault", 0)])
        result = relate(broken, spec, relation)
        assert result.verdict is Holding.VIOLATION
        assert result.counterexample is not None
        assert result.counterexample.run[-1].action == "fault"
