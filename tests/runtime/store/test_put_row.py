"""Rows that a batch packs itself: the same bytes, and the same refusals, as of rows that are packed anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spex_shards.engine.row_forms import InstanceRow, new_row
from spex_shards.runtime.protocol import codec, records
from spex_shards.runtime.store import Batch
from spex_shards.runtime.store.memory import MemoryStore


class Number(int):
    """A subclass of int."""


class Text(str):
    """A subclass of str."""

    __slots__ = ()


class Pair(NamedTuple):
    """A named tuple, which is packed as a list."""

    one: int
    other: str


class Colour(IntEnum):
    RED = 300


class Word(StrEnum):
    GO = "go"


class Plain(Enum):
    ONE = 1


@dataclass
class Point:
    x: int = 1


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=300)
    | st.binary(max_size=300)
    | st.sampled_from([
        Number(7), Text("text"), Pair(1, "two"), Colour.RED, Word.GO, Plain.ONE, Point(), bytearray(b"x"), object(),
        {1}, frozenset(), datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1), Decimal(1),
        UUID(int=1), 1j,
    ])
)  # fmt: skip
LISTS = st.lists(SCALARS, max_size=4) | st.lists(SCALARS, max_size=4).map(tuple)
VALUES = SCALARS | LISTS | st.lists(SCALARS | LISTS, max_size=3)


def outcome(make: Callable[[], bytes | None]) -> object:
    """Return the bytes, or the type and the text of the exception."""
    try:
        return make()
    except Exception as error:
        return type(error), str(error)


@given(st.lists(VALUES, max_size=12).map(tuple))
def test_a_row_of_a_batch_has_the_bytes_that_any_other_row_has(values: tuple[Any, ...]) -> None:
    """Also of values that no row has: what is refused there is refused here, and changes nothing in the batch."""
    batch = Batch(MemoryStore())

    def put() -> bytes | None:
        batch.put_row("history", b"key", values)
        return batch.get("history", b"key")

    found = outcome(put)

    assert found == outcome(lambda: records.seal_flat(values)) == outcome(lambda: records.seal(values))
    assert batch.dirty is isinstance(found, bytes)


@pytest.mark.parametrize("bad", [2**64, "\ud800", object()], ids=["too large", "surrogate", "no plain value"])
def test_a_row_that_is_refused_leaves_nothing_behind_in_the_next_one(bad: object) -> None:
    """A packer may keep what it has packed before it raises; the batch then takes another one."""
    batch = Batch(MemoryStore())
    with pytest.raises((OverflowError, UnicodeEncodeError, TypeError)):
        batch.put_row("history", b"key", (1, "two", bad))

    batch.put_row("history", b"key", (1, "two", 3))

    assert batch.get("history", b"key") == records.seal((1, "two", 3))
    assert codec.unpack((batch.get("history", b"key") or b"")[:-4]) == [1, "two", 3]


def test_a_new_row_is_what_the_class_makes_of_its_parts() -> None:
    """The quick way to make a row leaves nothing out."""
    parts = (1, 2, 3, 4, 5, None, None, False, "red", None, None)

    assert new_row(parts) == InstanceRow(*parts)
    assert type(new_row(parts)) is InstanceRow
    assert len(parts) == len(InstanceRow._fields)
