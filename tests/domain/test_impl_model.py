"""Implementation models as values."""

from __future__ import annotations

import dataclasses
import enum
import pickle

import pytest

from spex_shards.domain.impl_model import ImplModel
from spex_shards.domain.transition import INITIALISATION, Transition
from spex_shards.errors import DeserialisationFailed

STEPS = [(None, INITIALISATION, "new"), ("new", "pay", "paid")]


class Status(enum.StrEnum):
    NEW = "new"


def test_models_are_compared_by_value():
    """The order and the container of the transitions do not count."""
    one = ImplModel(specification="Order", transitions=STEPS)
    other = ImplModel(specification="Order", transitions=frozenset(map(Transition._make, STEPS[::-1])))
    assert one == other
    assert hash(one) == hash(other)
    assert one != ImplModel(specification="Order", transitions=STEPS, learning_mode=True)
    assert pickle.loads(pickle.dumps(one)) == one


def test_a_model_is_frozen_and_built_by_keyword():
    """No field can be set afterwards, and no argument can be positional."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        ImplModel(specification="Order").learning_mode = True
    with pytest.raises(TypeError):
        ImplModel("Order")


def test_transitions_become_named_triples():
    """Lists, tuples and generators are accepted."""
    model = ImplModel(specification="Order", transitions=(list(step) for step in STEPS))
    assert {t.target for t in model.transitions} == {"new", "paid"}
    assert all(type(t) is Transition for t in model.transitions)


def test_enum_members_count_as_their_value():
    """All names in a model are exactly `str`."""
    model = ImplModel(specification="Order", transitions=[(None, INITIALISATION, Status.NEW)])
    assert [type(t.target) for t in model.transitions] == [str]
    assert model == ImplModel(specification="Order", transitions=STEPS[:1])


def test_initialisations_are_the_sorted_initial_states():
    """There may be none, one, or more."""
    two = [(None, INITIALISATION, "b"), *STEPS, (None, INITIALISATION, "a")]
    assert ImplModel(specification="X").initialisations == ()
    assert ImplModel(specification="X", transitions=two).initialisations == ("a", "b", "new")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"specification": 1}, TypeError, "the specification must be a name (str), got: 1"),
        ({"learning_mode": 1}, TypeError, "learning_mode must be a bool, got: 1"),
        ({"transitions": ["abc"]}, ValueError, "must be a triple (source, action, target), got: 'abc'"),
        ({"transitions": [("a", "b")]}, ValueError, "must be a triple (source, action, target), got: ('a', 'b')"),
        ({"transitions": [("a", "b", None)]}, TypeError, "must be made of str (the source may be None), got:"),
        ({"transitions": [(1, "b", "c")]}, TypeError, "must be made of str (the source may be None), got:"),
        ({"transitions": [(None, "b", "c")]}, ValueError, "must be None for __initialisation__ and for nothing else"),
        ({"transitions": [("a", INITIALISATION, "c")]}, ValueError, "must be None for __initialisation__ and for"),
    ],
)
def test_wrong_arguments_are_errors_that_name_the_rule(arguments, error, text):
    """Types and shapes are checked when a model is created."""
    with pytest.raises(error) as caught:
        ImplModel(**{"specification": "X", **arguments})
    assert text in str(caught.value)


def test_a_model_survives_serialising():
    """So does its learning mode."""
    for learning in (True, False):
        model = ImplModel(specification="Order", transitions=STEPS, learning_mode=learning)
        assert ImplModel.deserialise(model.serialise()) == model


def test_malformed_text_is_an_error_with_its_line():
    """The text form has tests of its own; this one checks only that its error is raised."""
    with pytest.raises(DeserialisationFailed, match=r"^line 1: the header 'Specification:' is missing") as caught:
        ImplModel.deserialise("x")
    assert caught.value.context["line"] == 1
    with pytest.raises(TypeError, match="the text of a model must be a str, got: bytes"):
        ImplModel.deserialise(b"x")
