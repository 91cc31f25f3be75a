"""Errors as values: what an application's subclass may do, and what survives pickle, copy and the wire."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import spex_shards as spex
from spex_shards import errors
from spex_shards.errors import MOST_SHOWN, RemoteTraceback, code_of, show, words
from spex_shards.runtime.protocol import codec, records
from tests.support.hostile_specs import Bare, Mute, Unshowable


class Numbered(spex.StoreError):
    """Has arguments of its own, and a text made from them."""

    def __init__(self, number: int, *, colour: str) -> None:
        super().__init__(f"number {number} is {colour}", number=number)
        self.colour = colour


class Deeper(Numbered):
    """A subclass of a subclass."""


def sent(error: spex.SpexError) -> spex.SpexError:
    """Return an error as it arrives at the other end of a pipe."""
    return records.error_of(codec.unpack(codec.pack(records.error_plain(error))))


@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_a_subclass_with_arguments_of_its_own_survives_without_its_init_being_called(again: Any) -> None:
    """Class, text and context are those of the original."""
    error = Deeper(7, colour="red")
    error.__cause__ = ZeroDivisionError("why")
    other = again(error)
    assert (type(other), str(other), other.context) == (Deeper, "number 7 is red", {"number": 7})
    assert "ZeroDivisionError('why')" in repr(other.__cause__)
    assert other.reason == "store_error"


def test_a_subclass_travels_as_its_nearest_class_of_the_library() -> None:
    """The context names its own class; errors made by the library have no such entry."""
    other = sent(Deeper(7, colour="red"))
    assert type(other) is spex.StoreError
    assert other.context == {"number": 7, "class": f"{__name__}.Deeper"}
    assert sent(spex.StoreError("x", a=1)).context == {"a": 1}
    assert code_of(Bare) == "InstanceError"


def test_an_error_that_never_called_its_base_can_be_shown_copied_and_sent() -> None:
    """Its text and context are empty."""
    error = Bare(3)
    assert (str(error), error.context, error.code) == ("", {}, 3)
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), sent(error)):
        assert isinstance(other, spex.InstanceError)
        assert str(other) == ""


def test_a_copys_context_is_its_own() -> None:
    """A change of one does not change the other."""
    error = spex.SpexError("x", a=1)
    other = copy.copy(error)
    other.context["b"] = 2
    assert error.context == {"a": 1}


def test_every_class_has_a_code_and_every_code_a_class() -> None:
    """The table is complete."""

    def below(cls: type[spex.SpexError]) -> set[type[spex.SpexError]]:
        return {cls}.union(*(below(sub) for sub in cls.__subclasses__() if sub.__module__ == errors.__name__))

    assert set(errors.CLASSES) == below(spex.SpexError)
    assert all(errors.CLASS_BY_CODE[code_of(cls)] is cls for cls in errors.CLASSES)
    assert len({cls.reason for cls in errors.CLASSES}) == len(errors.CLASSES)
    assert all(getattr(spex, cls.__name__) is cls for cls in errors.CLASSES)


@pytest.mark.parametrize("cls", errors.CLASSES)
def test_every_class_survives_the_wire(cls: type[spex.SpexError]) -> None:
    """So do all values that a context may hold, and the text of its cause."""
    error = cls(
        "ü is it", number=2**70, pair=(1, [2]), bytes=b"\x00", none=None, error=spex.StoreError("within", a=(1,))
    )
    error.__cause__ = RemoteTraceback("line 1\nline 2")
    other = sent(error)
    assert (type(other), str(other)) == (cls, "ü is it")
    assert {key: value for key, value in other.context.items() if key != "error"} == {
        "number": 2**70, "pair": (1, [2]), "bytes": b"\x00", "none": None,
    }  # fmt: skip
    assert (type(other.context["error"]), other.context["error"].context) == (spex.StoreError, {"a": (1,)})
    assert str(other.__cause__) == "\nline 1\nline 2"


def test_a_code_that_nobody_knows_is_a_value_error() -> None:
    """It may come from a newer version, or from noise."""
    with pytest.raises(ValueError, match="unknown code: 'Nonsense'"):
        records.error_of(["Nonsense", "", {}, None])


def test_whatever_a_value_is_it_can_be_shown() -> None:
    """The text is cut if it is long, names the type if there is no repr, and can always be encoded."""
    assert show("a'b") == '"a\'b"'
    assert len(show("x" * 10_000)) == MOST_SHOWN + 1
    assert show(2**20_000) == "<a value of type int that cannot be shown: ValueError>"
    assert show(Unshowable()) == "<a value of type Unshowable that cannot be shown: RuntimeError>"
    assert words(Mute()) == "Mute (it has no text)"
    assert words(KeyError("k")) == "KeyError: 'k'"
    words(ValueError("\ud800")).encode()


def test_an_instance_not_found_is_shown_as_a_sentence() -> None:
    """A plain KeyError shows the repr of its argument instead."""
    assert str(spex.InstanceNotFound("there is no instance 1", identifier=1)) == "there is no instance 1"
    assert str(spex.CallTimeout("it took long", shard=1)) == "it took long"
    error = spex.ShardDown("gone")
    assert (error.shard, error.pid, error.exit, error.maybe_executed, error.errno) == (None, None, None, False, None)
