"""The declaration of specifications: values derived from the entries, and errors for everything malformed."""

from __future__ import annotations

import copy
import enum
import pickle
from datetime import timedelta
from typing import Any

import pytest

import spex_shards as spex
from spex_shards import errors
from tests.support.contract_specs import Order


class Word(enum.Enum):
    """Names as members."""

    NEW = "new"
    PAY = "pay"
    NUMBER = 3


def test_everything_is_derived_in_order_of_first_appearance() -> None:
    """There are no duplicates; terminal states are the source of no transition."""
    cls = spex.Specification.define(
        "t.Derived", [["b", "x", "a"], ("a", "y", "c"), ("b", "x", "a"), ("a", Word.PAY, "b")]
    )
    assert cls.transitions == (("b", "x", "a"), ("a", "y", "c"), ("a", "pay", "b"))
    assert all(isinstance(t, spex.Transition) for t in cls.transitions)
    assert (cls.states, cls.actions) == (("b", "a", "c"), ("x", "y", "pay"))
    assert (cls.initial_state, cls.terminal_states) == ("b", ("c",))
    assert cls.lts == spex.LTS("b", [("b", "x", "a"), ("a", "y", "c"), ("a", "pay", "b")])


def test_without_entries_there_are_no_states() -> None:
    """There is no initial state either."""
    cls = spex.Specification.define("t.Empty", [])
    assert (cls.states, cls.actions, cls.transitions, cls.terminal_states) == ((), (), (), ())
    assert cls.initial_state is None


def test_a_subclass_inherits_transitions_under_its_own_name() -> None:
    """It inherits options too, and its own values override them."""

    class Special(Order):
        transition_timeout = 5

    assert Special.transitions == Order.transitions
    assert Special.name == f"{__name__}.{Special.__qualname__}"
    assert Special.transition_timeout == timedelta(seconds=5)

    class Other(Special):
        transitions = [("x", "y", "z")]

    assert (Other.initial_state, Other.transition_timeout) == ("x", timedelta(seconds=5))


def test_timeouts_read_back_as_timedelta() -> None:
    """They may be given as a timedelta, seconds, or None."""
    for given, read in [(timedelta(minutes=1), timedelta(minutes=1)), (0.5, timedelta(seconds=0.5)), (None, None)]:
        cls = spex.Specification.define("t.Timeouts", [("a", "b", "c")], transition_timeout=given, prune_timeout=given)
        assert (cls.transition_timeout, cls.prune_timeout) == (read, read)


def test_the_empty_string_and_the_internal_action_are_names_like_any_other() -> None:
    """Only `__initialisation__` is reserved."""
    cls = spex.Specification.define("t.Names", [("", "", ""), ("", spex.INTERNAL, "x")])
    assert cls.states == ("", "x")


@pytest.mark.parametrize(
    ("entries", "options", "text"),
    [
        ([("a", "b")], {}, r"transition entry 1 must be a list or tuple of three .* got: \('a', 'b'\)"),
        (["abc"], {}, "transition entry 1 must be a list or tuple of three"),
        ([("a", "b", "c"), ("a", 1, "c")], {}, "transition entry 2 must consist of str"),
        ([("a", Word.NUMBER, "c")], {}, "must consist of str"),
        ([("a", spex.INITIALISATION, "c")], {}, "must not use the reserved action"),
        ([("a", "\ud800", "c")], {}, "lone surrogates"),
        ("abc", {}, "transitions must be a list or other collection of entries"),
        ([("a", "b", "c")], {"initial_state": "z"}, "initial_state must be one of the states, got: 'z'"),
        ([], {"initial_state": "a"}, "initial_state must be one of the states"),
        (
            [("a", "b", "c")],
            {"transition_timeout": 0},
            "transition_timeout must be .* above 0, or None .never., got: 0",
        ),
        ([("a", "b", "c")], {"prune_timeout": True}, "prune_timeout must be"),
        ([("a", "b", "c")], {"prune_timeout": float("inf")}, "prune_timeout must be"),
        (
            [("a", "b", "c")],
            {"prunable_states": "c"},
            "prunable_states must be TERMINAL, ALL or a collection of states",
        ),
        ([("a", "b", "c")], {"prunable_states": [1]}, "prunable_states must be"),
        ([("a", "b", "c")], {"equivalence": "weak"}, "equivalence must be one of branching, .* got: 'weak'"),
    ],
)
def test_a_malformed_declaration_names_entry_rule_and_value(entries: Any, options: dict[str, Any], text: str) -> None:
    """The SpecificationError is a ValueError, and also names the specification."""
    with pytest.raises(spex.SpecificationError, match=text) as caught:
        spex.Specification.define("t.Malformed", entries, **options)
    assert isinstance(caught.value, ValueError)
    assert "t.Malformed" in str(caught.value)


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "tab\t", "x" * 201, "ü" * 101, 5, "\ud800"])
def test_a_name_has_rules(name: Any) -> None:
    """It has 1 to 200 bytes, is printable, and has no slash and no leading dot."""
    with pytest.raises(spex.SpecificationError, match="the name of a specification must be"):
        spex.Specification.define(name, [])


def test_an_unknown_option_of_define_is_a_type_error() -> None:
    """The error names the option."""
    with pytest.raises(TypeError, match="timeout"):
        spex.Specification.define("t.Unknown", [], timeout=3)


def test_derived_names_and_wrong_handlers_are_refused_at_class_creation() -> None:
    """The error does not wait until the class is used in a shard."""

    async def asynchronous(error: Any, caller: Any) -> None: ...

    def plain(error: Any, caller: Any) -> None: ...

    for body, text in [
        ({"states": ["a"]}, "states is derived from the transitions and must not be assigned"),
        ({"lts": None}, "lts is derived"),
        ({"error_handler": plain}, "must be a classmethod or a staticmethod"),
        ({"error_handler": staticmethod(asynchronous)}, "must not be async"),
        ({"error_handler": classmethod(asynchronous)}, "must not be async"),
    ]:
        with pytest.raises(spex.SpecificationError, match=text):
            type("Wrong", (spex.Specification,), {"__module__": "t", **body})


def test_a_later_class_of_a_name_replaces_the_earlier_one() -> None:
    """This happens in notebooks; an instance's class is looked up when it is read."""
    first = spex.Specification.define("t.Twice", [("a", "b", "c")])
    instance = spex.Instance(specification=first, identifier=1)
    second = spex.Specification.define("t.Twice", [("x", "y", "z")])
    assert instance.specification is second


def test_values_are_frozen_and_compared_by_value() -> None:
    """The values are instances, models and deviations."""
    one = spex.Instance(specification=Order, identifier=(1,), meta={"a": [1]}, current_state="new")
    other = spex.Instance(specification=Order, identifier=(1,), meta={"a": [1]}, current_state="new")
    assert one == other
    assert copy.copy(one) == pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(AttributeError, match="frozen"):
        one.current_state = "paid"
    with pytest.raises(TypeError):
        spex.Instance(Order, 1)


def test_specifications_pickle_by_name_or_by_value() -> None:
    """A class that can be imported is pickled as its name, another one with its entries."""
    assert pickle.loads(pickle.dumps(Order)) is Order
    made = spex.Specification.define("t.ByValue", [("a", "b", "c")], prune_timeout=3)
    again = pickle.loads(pickle.dumps(made))
    assert (again.name, again.transitions, again.prune_timeout) == (made.name, made.transitions, made.prune_timeout)


REASONS = {
    spex.DeviationStillEquivalent: "deviation_still_equivalent",
    spex.DeviationNotEquivalent: "deviation_not_equivalent",
    spex.TransitionTimeout: "transition_timeout",
    spex.IdentifierInUse: "instance_identifier_already_in_use",
    spex.InstanceNotFound: "instance_identifier_not_found",
    spex.ImplModelNotFound: "impl_model_not_found",
    spex.DeserialisationFailed: "deserialisation_failed",
}


@pytest.mark.parametrize("cls", errors.CLASSES)
def test_every_error_has_its_reason_and_survives_pickle_and_copy(cls: type[spex.SpexError]) -> None:
    """Class, text, context and the text of the cause survive."""
    snake = "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("_")
    assert cls.reason == REASONS.get(cls, snake)
    error = cls("it's so", shard=1, pid=2, exit="SIGKILL", maybe_executed=True)
    error.__cause__ = errors.RemoteTraceback("the text")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(again), str(again), again.context) == (cls, "it's so", error.context)
        assert "the text" in str(again.__cause__)
    if issubclass(cls, spex.ShardError):
        assert (error.shard, error.pid, error.exit, error.maybe_executed) == (1, 2, "SIGKILL", True)


def test_the_tree_of_errors_is_what_the_contract_says() -> None:
    """Builtin base classes are included."""
    for cls, bases in {
        spex.SpecificationError: (ValueError,),
        spex.InstanceNotFound: (spex.InstanceError, KeyError),
        spex.ShardDown: (spex.ShardError, ConnectionError),
        spex.CallTimeout: (spex.ShardError, TimeoutError),
        spex.PredicateError: (spex.HandlerError,),
        spex.LayoutMismatch: (spex.DataDirError,),
        spex.PoisonRequest: (spex.ShardError,),
    }.items():
        assert issubclass(cls, (spex.SpexError,))
        assert all(issubclass(cls, base) for base in bases)


def test_an_initial_state_goes_with_the_transitions_it_was_given_for() -> None:
    """Both are inherited together; with other transitions, the initial state is their first source again."""

    class Middle(spex.Specification):
        transitions = [("a", "x", "b"), ("b", "y", "c")]
        initial_state = "b"

    class Same(Middle):
        pass

    class Elsewhere(Middle):
        initial_state = Word.NEW
        transitions = [("z", "x", "new")]

    class Fresh(Middle):
        transitions = [("q", "x", "r")]

    assert [cls.initial_state for cls in (Middle, Same, Elsewhere, Fresh)] == ["b", "b", "new", "q"]
    with pytest.raises(spex.SpecificationError, match="initial_state must be one of the states, got: 'q'"):
        type("Wrong", (Middle,), {"__module__": "t", "initial_state": "q"})


def test_options_may_be_given_in_any_form_that_means_them() -> None:
    """The forms include collections of states, generators of entries, enum members, and None."""
    cls = spex.Specification.define(
        Word.NEW.value,
        (entry for entry in [("a", "b", "c")]),
        initial_state=None,
        prunable_states={Word.NEW, "c"},
        equivalence=spex.Equivalence.STRONG,
        error_handler=None,
    )
    assert (cls.name, cls.initial_state, cls.equivalence) == ("new", "a", "strong")
    assert sorted(cls.prunable_states) == ["c", "new"]
    assert spex.Specification.define("t.All", [], prunable_states=spex.ALL).prunable_states is spex.ALL


def test_a_specification_defined_from_data_has_a_handler_like_any_other() -> None:
    """It may be a function, a static method or a class method; a value that cannot be called is refused."""
    error = spex.InstanceNotFound("x", identifier=1)
    for handler in (lambda e, _: e, staticmethod(lambda e, _: e), classmethod(lambda _cls, e, _: e)):
        assert spex.Specification.define("t.Handler", [], error_handler=handler).error_handler(error, None) is error
    assert spex.Specification.define("t.Handler", []).error_handler(error, None) is error
    accepted = spex.ImplModelNotFound("x", specification="t", identifier=1)
    assert spex.Specification.define("t.Handler", []).error_handler(accepted, None) is None
    with pytest.raises(spex.SpecificationError, match="error_handler must be callable, got: 3"):
        spex.Specification.define("t.Handler", [], error_handler=3)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("transitons", "transitions"),
        ("transition", "transitions"),
        ("TRANSITIONS", "transitions"),
        ("initial_sate", "initial_state"),
        ("transition_timout", "transition_timeout"),
        ("equivalance", "equivalence"),
        ("input", "inputs"),
    ],
)
def test_a_misspelt_attribute_is_an_error_that_names_the_one_that_was_meant(written: str, meant: str) -> None:
    """Else it would have no effect, and nothing would say so."""
    with pytest.raises(spex.SpecificationError) as caught:
        type("Misspelt", (spex.Specification,), {written: [("a", "b", "c")]})
    assert str(caught.value) == (
        f"{__name__}.Misspelt: {written!r} is no option of a specification, and would have no effect: did you mean "
        f"{meant!r}? Give an attribute of your own another name, or a leading underscore"
    )


def test_a_class_may_have_attributes_methods_and_classes_of_its_own() -> None:
    """Only a name that is nearly an option's, and belongs to nothing callable, is taken for a misspelling."""

    class Own(spex.Specification):
        class Transition:
            pass

        transitions = [("a", "b", "c")]
        transitionz = "the class has `transitions`, so this is no misspelling of it"
        _initial_sate = 1
        NAMES = ("a",)
        title, timeout, states_of_old = "An own", 3, ()

        @classmethod
        def transition(cls) -> int:
            return 1

        @property
        def propertys(self) -> int:
            return 2

        @staticmethod
        def equivalance() -> int:
            return 3

    assert Own.title == "An own"


def test_unknown_states_and_options_are_refused_with_the_nearest_name() -> None:
    """In the class form and in `define`."""
    steps = [("new", "pay", "paid")]
    states = "x: initial_state must be one of the states, got: {!r}; the states are 'new', 'paid'"
    known = "transition_timeout, prune_timeout, prunable_states, equivalence, judge, properties, inputs, outputs, mode"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"initial_state": "nwe"}, states.format("nwe") + "; did you mean 'new'?"),
        ({"initial_state": "zzz"}, states.format("zzz")),
        ({"judg": "run"}, "define() got an unknown option: judg; did you mean 'judge'?"),
        ({"z": 1}, f"define() got an unknown option: z; the options are {known}, initial_state, error_handler"),
    ]
    for options, text in cases:
        with pytest.raises((spex.SpecificationError, TypeError)) as caught:
            spex.Specification.define("x", steps, **options)
        assert str(caught.value) == text
    with pytest.raises(spex.SpecificationError, match="got: 'new'; there are none: declare transitions"):
        spex.Specification.define("x", [], initial_state="new")
