"""Coverage, the places of transitions in the source, and sidecars."""

from __future__ import annotations

import enum
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.domain.frequency import Frequencies, frequencies_of
from spex_shards.review import Coverage, behaviour_digest, changed_since, cover, locate, sidecar_of, write_sidecar
from spex_shards.review.sidecar import Changed, behaviour_part, read_frequencies, write_frequencies
from spex_shards.review.taken import taken_in
from spex_shards.testing import prepare_for_test_suite

T = spex.Transition


pytestmark = pytest.mark.usefixtures("specifications_as_before")


def coverage_of(specification: type[spex.Specification], *steps: tuple[str, str, str], start: str = "") -> Coverage:
    """Return the coverage of a model with these steps, which starts in the first step's source."""
    first = start or steps[0][0]
    model = spex.ImplModel(specification=specification.name, transitions=[(None, spex.INITIALISATION, first), *steps])
    return cover(model, specification.declaration, spex.check(model, specification))


def define(*entries: tuple[str, str, str], equivalence: str = "branching") -> type[spex.Specification]:
    """Return a specification of these transitions."""
    return spex.Specification.define("reviewed", entries, equivalence=equivalence)


# ---------------------------------------------------------------------- coverage


def test_coverage_counts_what_a_model_has_shown_under_other_names_of_states() -> None:
    """Actions count, not the names of states."""
    order = define(("new", "pay", "paid"), ("paid", "ship", "end"), ("paid", "cancel", "end"))
    found = coverage_of(order, ("A", "pay", "B"), ("B", "ship", "C"))
    assert found.shown == (T("new", "pay", "paid"), T("paid", "ship", "end"))
    assert found.missing == (T("paid", "cancel", "end"),)
    assert (int(found.percent), str(found)) == (66, "2 of 3 specified transitions shown (66 %)")


def test_what_no_run_reaches_counts_neither_way() -> None:
    """Unreachable transitions are listed separately."""
    order = define(("new", "pay", "paid"), ("lost", "find", "new"))
    found = coverage_of(order, ("A", "pay", "B"))
    assert (found.percent, found.missing, found.unreachable) == (100.0, (), (T("lost", "find", "new"),))


def test_what_the_specification_cannot_do_is_unexplained_and_shows_nothing() -> None:
    """Transitions after it show nothing either."""
    order = define(("new", "pay", "paid"), ("paid", "ship", "end"))
    found = coverage_of(order, ("A", "pay", "B"), ("B", "steal", "C"), ("C", "ship", "D"))
    assert found.unexplained == (T("B", "steal", "C"),)
    assert found.missing == (T("paid", "ship", "end"),)
    assert found.met == {"A": ("new",), "B": ("paid",)}


def test_silent_steps_are_shown_by_what_follows_them() -> None:
    """A model cannot report steps that are not observable."""
    order = define(("new", spex.INTERNAL, "ready"), ("ready", "pay", "paid"), ("ready", spex.INTERNAL, "gone"))
    found = coverage_of(order, ("A", "pay", "B"))
    assert found.shown == (T("new", spex.INTERNAL, "ready"), T("ready", "pay", "paid"))
    assert found.missing == (T("ready", spex.INTERNAL, "gone"),)


def test_a_silent_step_of_the_model_needs_no_explanation_unless_equivalence_is_strong() -> None:
    """Under strong bisimilarity it is an action like any other."""
    steps = [("A", spex.INTERNAL, "B"), ("B", "pay", "C")]
    entries = [("new", "pay", "paid"), ("paid", "ship", "end")]
    assert coverage_of(define(*entries), *steps).unexplained == ()
    found = coverage_of(define(*entries, equivalence="strong"), *steps)
    assert (found.unexplained, found.shown) == ((T("A", spex.INTERNAL, "B"),), ())


def test_names_of_states_decide_where_several_targets_are_possible() -> None:
    """The target with the model's name is chosen."""
    order = define(("new", "go", "left"), ("new", "go", "right"), ("right", "stop", "end"))
    assert coverage_of(order, ("new", "go", "left")).shown == (T("new", "go", "left"),)
    assert len(coverage_of(order, ("new", "go", "elsewhere")).shown) == 2


def test_a_model_without_initialisation_has_shown_nothing() -> None:
    """A specification without transitions has nothing to show."""
    order = define(("new", "pay", "paid"))
    model = spex.ImplModel(specification="reviewed", transitions=[("new", "pay", "paid")])
    found = cover(model, order.declaration, spex.check(model, order))
    assert (found.percent, found.missing) == (0.0, order.transitions)
    assert coverage_of(define(), start="A").percent == 100.0


def test_a_walk_that_would_take_too_long_says_that_it_is_not_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its results count, and no transition is called a deviation by mistake."""
    order = define(*((f"s{n}", "go", f"s{n + 1}") for n in range(9)))
    steps = [*((f"m{n}", "go", f"m{n + 1}") for n in range(8)), ("m1", "steal", "m2")]
    assert coverage_of(order, *steps).whole
    assert coverage_of(order, *steps).unexplained == (T("m1", "steal", "m2"),)
    monkeypatch.setattr("spex_shards.review.coverage.MOST_PAIRS", 4)
    found = coverage_of(order, *steps)
    assert (found.whole, found.unexplained) == (False, ())
    assert str(found) == "at least 4 of 9 specified transitions shown (44 %)"


names = st.sampled_from(["p", "q", "r", "s"])
systems = st.lists(st.tuples(names, st.sampled_from(["a", "b", spex.INTERNAL]), names), min_size=1, max_size=8)


def test_what_is_incomplete_is_never_covered_wholly() -> None:
    """Where no transition is missing, states that lack a step count; where nothing is known to lack, it is 99."""
    order = define(("new", "pay", "paid"), ("paid", "ship", "gone"))
    found = coverage_of(order, ("new", "pay", "p"), ("p", "ship", "s"), ("new", "pay", "q"))
    assert (found.missing, found.unseen) == ((), (("q", "ship", "gone"),))
    assert int(found.percent) == 66
    text = "2 of 2 specified transitions shown, but not in every state that stands for theirs: 1 not seen (66 %)"
    assert str(found) == text
    assert Coverage(shown=order.transitions, incomplete=True).percent == 99.0
    nothing = spex.ImplModel(specification="reviewed")
    assert cover(nothing, define().declaration, spex.check(nothing, define())).percent == 0.0


@given(
    st.lists(st.tuples(*[st.sampled_from(names) for names in ("pqr", "ab", "pqr")]), min_size=1, max_size=6),
    st.lists(st.tuples(*[st.sampled_from(names) for names in ("pqr", "ab", "pqr")]), min_size=1, max_size=6),
)
@settings(max_examples=200, deadline=None)
def test_the_coverage_of_an_incomplete_model_is_below_a_hundred(
    entries: list[tuple[str, str, str]], steps: list[tuple[str, str, str]]
) -> None:
    """Whatever the specification, and something is listed as missing or unseen."""
    order = define(*entries)
    model = spex.ImplModel(specification="reviewed", transitions=[(None, spex.INITIALISATION, "p"), *steps])
    result = spex.check(model, order)
    found = cover(model, order.declaration, result)
    if result.verdict == "incomplete":
        assert found.percent < 100
        assert found.missing or found.unseen


@settings(deadline=None)
@given(entries=systems, steps=systems)
def test_coverage_divides_the_specification_and_is_whole_for_an_equivalent_model(
    entries: list[tuple[str, str, str]], steps: list[tuple[str, str, str]]
) -> None:
    """Every transition is shown, missing or unreachable; the specification itself shows all."""
    order = define(*entries)
    found = coverage_of(order, *steps)
    parts = [*found.shown, *found.missing, *found.unreachable]
    assert sorted(parts) == sorted(order.transitions)
    own = coverage_of(order, *entries)
    assert (own.percent, own.unexplained, own.missing) == (100.0, (), ())


@settings(deadline=None)
@given(entries=systems, steps=systems, more=systems)
def test_a_model_that_grows_never_shows_less(
    entries: list[tuple[str, str, str]], steps: list[tuple[str, str, str]], more: list[tuple[str, str, str]]
) -> None:
    """Every shown transition can be reached by a walk of both systems side by side."""
    order = define(*entries)
    first = coverage_of(order, *steps)
    second = coverage_of(order, *steps, *more)
    assert (
        set(first.shown) <= set(second.shown)
        or spex.check(
            spex.ImplModel(specification="reviewed", transitions=[(None, spex.INITIALISATION, steps[0][0]), *steps]),
            order,
        ).equivalent
    )


# ---------------------------------------------------------------------- places

SOURCE = '''
import enum
import spex_shards as spex

class S(str, enum.Enum):
    NEW = "new"
    PAID = "paid"

PAY = "pay"

class Order(spex.Specification):
    """With a docstring."""
    transitions = [
        (S.NEW, PAY, S.PAID),
        ["paid", "ship",
         "end"],
    ]

class More(spex.Specification):
    transitions: list = [
        *Order.transitions,
        ("end", "return", "new"),
    ]

class Same(Order):
    pass

class Computed(spex.Specification):
    transitions = [
        (f"s{n}", "go", f"s{n + 1}") for n in range(3)]

def outer():
    class Inner(spex.Specification):
        if True:
            pass
        transitions = (("a", "b", "c"),)
    return Inner

Made = spex.Specification.define("made", [("a", "b", "c")])
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a module made from SOURCE, in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "located.py").write_text(SOURCE)
    import importlib

    found = importlib.import_module("located")
    yield found
    sys.modules.pop("located", None)


def line_of(text: str) -> int:
    """Return the number of the first line of SOURCE that contains `text`."""
    return next(number for number, line in enumerate(SOURCE.split("\n"), 1) if text in line)


def test_a_transition_has_the_line_of_its_tuple(module: ModuleType) -> None:
    """Names and Enum members are resolved; the path is relative to the current directory."""
    found = locate(module.Order)
    assert str(found.declared) == f"located.py:{line_of('class Order')}"
    assert str(found.of(T("new", "pay", "paid"))) == f"located.py:{line_of('(S.NEW')}"
    assert str(found.of(T("paid", "ship", "end"))) == f"located.py:{line_of('ship')}"


def test_what_is_taken_in_or_inherited_has_the_line_where_it_was_written(module: ModuleType) -> None:
    """This holds for both ways of using another class's transitions."""
    found = locate(module.More)
    assert found.of(T("paid", "ship", "end")).line == line_of("ship")
    assert found.of(T("end", "return", "new")).line == line_of("return")
    assert locate(module.Same).of(T("paid", "ship", "end")).line == line_of("ship")
    assert locate(module.Same).declared.line == line_of("class Same")


def test_what_is_computed_has_the_line_of_the_assignment(module: ModuleType) -> None:
    """The code is not run to find out more."""
    found = locate(module.Computed)
    assert found.of(T("s0", "go", "s1")).line == line_of("class Computed") + 1


def test_a_class_inside_a_function_is_found_and_one_from_data_has_no_place(module: ModuleType) -> None:
    """Places are never guessed."""
    assert locate(module.outer()).of(T("a", "b", "c")).line == line_of('"b", "c"),)')
    assert locate(module.Made).declared is None
    assert locate(spex.Specification.define("x", [("a", "b", "c")])).of(T("a", "b", "c")) is None


def test_a_source_that_has_gone_or_is_broken_is_no_error(module: ModuleType, tmp_path: Path) -> None:
    """The transition has no place then."""
    (tmp_path / "located.py").write_text("class\n")
    assert locate(module.Order).declared is None
    (tmp_path / "located.py").unlink()
    assert locate(module.Order).declared is None


class Letter(enum.StrEnum):
    A = "a"


# ---------------------------------------------------------------------- sidecars


def test_a_sidecar_tells_what_a_specification_was(tmp_path: Path) -> None:
    """Transitions, the initial state and the equivalence count; timeouts and order do not."""
    model = tmp_path / "reviewed.spex"
    before = define(("new", "pay", "paid"), ("paid", "ship", "end"))
    assert changed_since(model, before.declaration) is None
    write_sidecar(model, before.declaration)
    assert [path.name for path in tmp_path.iterdir()] == ["reviewed.spex.json"]
    assert changed_since(model, before.declaration) is None
    same = spex.Specification.define(
        "reviewed", [("paid", "ship", "end"), ("new", "pay", "paid")], initial_state="new", prune_timeout=5
    )
    assert changed_since(model, same.declaration) is None
    after = define(("new", "pay", "paid"), ("paid", "cancel", "end"), equivalence="strong")
    changed = changed_since(model, after.declaration)
    assert changed == Changed((T("paid", "cancel", "end"),), (T("paid", "ship", "end"),), otherwise=True)
    assert str(changed) == (
        "the specification changed since the model was learned: 1 transition added, 1 removed, "
        "the initial state or the equivalence changed"
    )


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("nonsense", "it must be JSON: "),
        ("[" * 100_000, "it must be JSON: "),
        ("[]", "it must be an object of format 1"),
        ('{"format": 3}', "it must be an object of format 1"),
        ('{"format": 1, "digest": "x", "transitions": [["a", "b"]]}', "it must have a digest and a list"),
        ('{"format": 1, "digest": "x", "transitions": "abc"}', "it must have a digest and a list"),
        ('{"format": 1, "digest": 5, "transitions": []}', "it must have a digest and a list"),
        ('{"format": 1, "frequencies": []}', "its frequencies must be a number of instances"),
        ('{"format": 1, "frequencies": {"instances": -1, "taken": []}}', "its frequencies must be a number"),
        ('{"format": 1, "frequencies": {"instances": 1, "taken": [["a", "b", "c"]]}}', "and a list of what was taken"),
        ('{"format": 1, "frequencies": {"instances": 1, "taken": [["a", null, "c", 1]]}}', "and a list of what was"),
    ],
)
def test_a_malformed_sidecar_is_one_clear_error(tmp_path: Path, text: str, rule: str) -> None:
    """The error names the file."""
    model = tmp_path / "reviewed.spex"
    sidecar_of(model).write_text(text)
    with pytest.raises(ValueError, match=r"reviewed\.spex\.json: ") as caught:
        changed_since(model, define(("a", "b", "c")).declaration)
    assert rule in str(caught.value)


def test_a_sidecar_tells_how_often_steps_were_taken(tmp_path: Path) -> None:
    """With what is known of the specification or without; a sidecar of an earlier version tells nothing of it."""
    model = tmp_path / "reviewed.spex"
    cls = define(("new", "pay", "paid"))
    assert read_frequencies(model) is None
    write_sidecar(model, cls.declaration)
    assert read_frequencies(model) is None
    assert behaviour_part(sidecar_of(model).read_bytes()) == sidecar_of(model).read_bytes()
    found = Frequencies(3, {T(None, spex.INITIALISATION, "new"): 3, T("new", "pay", "paid"): 2})
    both = {**json.loads(sidecar_of(model).read_text())}
    write_frequencies(model, "reviewed", found)
    assert read_frequencies(model) == found
    assert changed_since(model, cls.declaration) is None
    assert behaviour_part(sidecar_of(model).read_bytes()) is None
    both["frequencies"] = json.loads(sidecar_of(model).read_text())["frequencies"]
    sidecar_of(model).write_text(json.dumps(both))
    assert read_frequencies(model) == found
    assert changed_since(model, define(("new", "pay", "gone")).declaration) is not None
    assert json.loads(behaviour_part(sidecar_of(model).read_bytes()) or b"") == {
        key: value for key, value in both.items() if key != "frequencies"
    }
    assert behaviour_part(b"nonsense") == b"nonsense"


runs = st.lists(
    st.lists(st.sampled_from([T("a", "x", "b"), T("b", "y", "a"), T("b", "x", "b")]), max_size=6), max_size=6
)


@given(runs)
def test_an_instance_counts_once_for_each_step_that_it_took(found: list[list[spex.Transition]]) -> None:
    """However often it took it."""
    counted = frequencies_of(found)
    assert counted.instances == len(found)
    for transition in {t for run in found for t in run}:
        assert counted.taken[transition] == sum(transition in run for run in found)
    assert set(counted.taken) == {t for run in found for t in run}


def test_frequencies_are_counted_in_the_histories_of_all_shards(tmp_path: Path) -> None:
    """For one specification alone; one that is not there has none."""
    order, other = (spex.Specification.define(name, [("new", "pay", "paid")]) for name in ("taken.A", "taken.B"))
    with spex.SimpleInstanceManager(
        data_dir=tmp_path / "data", impl_models_dir=tmp_path, learning_mode=True
    ) as manager:
        for number in range(5):
            manager.init_instance(order if number else other, number)
            for _ in range(number):
                manager.transition(number, "pay", "paid")
    counted = taken_in(tmp_path / "data", "taken.A")
    assert counted == Frequencies(
        4, {T(None, spex.INITIALISATION, "new"): 4, T("new", "pay", "paid"): 4, T("paid", "pay", "paid"): 3}
    )
    assert taken_in(tmp_path / "data", "taken.C") == Frequencies()


def test_a_test_suite_writes_the_sidecars_of_what_it_used(tmp_path: Path) -> None:
    """Those of other models stay as they are."""
    used = spex.Specification.define("used", [("new", "pay", "paid")])
    other = spex.Specification.define("other", [("new", "pay", "paid")])
    write_sidecar(tmp_path / "other.spex", spex.Specification.define("other", [("a", "b", "c")]).declaration)
    model = spex.ImplModel(specification="other", transitions=[(None, spex.INITIALISATION, "a"), ("a", "b", "c")])
    (tmp_path / "other.spex").write_text(model.serialise())
    spex.Specification.define("other", [("new", "pay", "paid")])
    with prepare_for_test_suite("simple", tmp_path) as manager:
        manager.init_instance(used, 1)
        manager.transition(1, "pay", "paid")
    plain = json.loads((tmp_path / "used.spex.json").read_text())
    assert plain["digest"] == behaviour_digest(used.declaration)
    assert plain["transitions"] == [["new", "pay", "paid"]]
    assert changed_since(tmp_path / "used.spex", used.declaration) is None
    assert changed_since(tmp_path / "other.spex", other.declaration) is not None
    with prepare_for_test_suite("simple", tmp_path) as manager:
        manager.init_instance(other, 1)  # known already, but used
    assert changed_since(tmp_path / "other.spex", other.declaration) is None
