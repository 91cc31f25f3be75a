"""The codec: identity, round trips, limits, and golden bytes."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.domain.instance import TransitionRecord
from spex_shards.messages import operations as ops
from spex_shards.messages.specifications import StoredSpecification
from spex_shards.runtime.protocol import codec, records, routing

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.binary(max_size=20)
    | st.uuids()
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC) | st.just(timezone(timedelta(hours=-3, minutes=7))))
    | st.decimals(allow_nan=False)
)
IDENTIFIERS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(SCALARS.filter(lambda value: not isinstance(value, bool)), inner, max_size=3)
    ),
    max_leaves=12,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal and have the same types all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@given(IDENTIFIERS)
@settings(max_examples=300, deadline=None)
def test_identifiers_come_back_equal_and_of_the_same_type(identifier: Any) -> None:
    """Their canonical bytes are the same again."""
    data = codec.canonical(identifier)
    again = codec.identifier_of(data)
    assert same(again, identifier)
    assert codec.canonical(again) == data


@given(IDENTIFIERS, IDENTIFIERS)
@settings(max_examples=300, deadline=None)
def test_different_identifiers_have_different_bytes(one: Any, other: Any) -> None:
    """Bytes are equal exactly if values and types are."""
    if not same(one, other):
        assert codec.canonical(one) != codec.canonical(other) or repr(one) == repr(other) or _only_order(one, other)


def _only_order(one: Any, other: Any) -> bool:
    return isinstance(one, dict) and one == other


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_values_come_back_equal_and_of_the_same_type(value: Any) -> None:
    """Lists stay lists, and tuples stay tuples."""
    assert same(codec.decode(codec.encode(value)), value)


@given(st.binary(max_size=80))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_a_value_or_a_value_error(data: bytes) -> None:
    """Hostile bytes cause no other exception."""
    for read in (codec.unpack, codec.identifier_of, codec.decode, records.decode_value):
        try:
            read(data)
        except ValueError:
            continue


def test_deeply_nested_hostile_bytes_are_a_value_error() -> None:
    """Nested extension types are limited in depth."""
    data = b"\xc0"
    for _ in range(3000):
        data = codec.pack(codec.extension(codec.TUPLE, b"\x91" + data))
    with pytest.raises(ValueError):
        codec.decode(data)


def test_golden_bytes() -> None:
    """These bytes lie on disks for years, and must never change."""
    golden = {
        ("order", 17): "92a56f7264657211",
        None: "c0",
        True: "c3",
        1.5: "cb3ff8000000000000",
        "ü": "a2c3bc",
        b"\x00": "c40100",
        2**70: "c70901400000000000000000",
        UUID(int=5): "d80200000000000000000000000000000005",
        Decimal("1.10"): "d604312e3130",
        (): "90",
    }
    assert {key: codec.canonical(key).hex() for key in golden} == golden
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert codec.canonical(moment).hex() == "c7180394b3323032362d30312d30325430333a30343a30350000c0"
    assert codec.canonical({"b": 1, "a": 2}) == codec.canonical({"a": 2, "b": 1})
    assert codec.canonical({"b": 1, "a": 2}).hex() == "c7090892" + "92a16102" + "92a16201"


def test_bytes_do_not_depend_on_the_threads_decimal_context() -> None:
    """A context that writes `1e+5` and rounds to three digits changes no identity."""
    values = [Decimal("1E+5"), Decimal("123456.789"), Decimal("-0E-10")]
    before = [codec.canonical(value) for value in values]
    with localcontext() as context:
        context.prec, context.capitals = 3, 0
        assert [codec.canonical(value) for value in values] == before
        assert list(map(str, map(codec.identifier_of, before))) == list(map(str, values))


@given(st.datetimes(timezones=st.timezones(), allow_imaginary=True))
@settings(max_examples=200, deadline=None)
def test_a_time_keeps_its_zone_and_fold(moment: datetime) -> None:
    """This includes times that occur twice or never in their zone."""
    again = codec.identifier_of(codec.canonical(moment))
    assert (again, again.fold, again.utcoffset()) == (moment, moment.fold, moment.utcoffset())
    assert again.tzinfo is moment.tzinfo


def test_golden_routes() -> None:
    """Slots and tables decide where data lies, and must never change."""
    assert [routing.slot_of(codec.canonical(n)) for n in range(6)] == SLOTS
    assert [routing.table(shards)[:12] for shards in (1, 3, 4, 16)] == TABLES


def test_growing_moves_only_the_share_that_must() -> None:
    """From N to M shards no slot moves between old shards, and about (M - N) / M of all slots move."""
    for old, new in ((1, 2), (3, 4), (4, 16)):
        before, after = routing.table(old), routing.table(new)
        moved = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
        assert all(b >= old for _, b in moved)
        assert abs(len(moved) / routing.SLOTS - (new - old) / new) < 0.02


def test_errors_travel_with_class_context_and_cause() -> None:
    """The caller gets the error that the shard answered; context that cannot be sent is shown as text."""
    instance = spex.Instance(
        specification="x", identifier=(1,), current_state="s",
        history=[TransitionRecord("a", "s", datetime(2026, 1, 1, tzinfo=UTC))],
    )  # fmt: skip
    error = spex.DeviationNotEquivalent(
        "words", instance=instance, deviating_transition=spex.Transition(None, "a", "b"),
        verdict=spex.Verdict.VIOLATION,
        odd=object(),
    )  # fmt: skip
    error.__cause__ = ZeroDivisionError("below")
    again = records.error_of(codec.unpack(codec.pack(records.error_plain(error))))
    assert type(again) is spex.DeviationNotEquivalent
    assert str(again) == "words"
    assert again.context["instance"] == instance
    assert again.context["deviating_transition"] == spex.Transition(None, "a", "b")
    assert again.context["verdict"] is spex.Verdict.VIOLATION
    assert again.context["odd"].startswith("<object object")
    assert "ZeroDivisionError" in str(again.__cause__)


def test_stored_specifications_read_back() -> None:
    """Declaration, options, and the place of the handler are read back."""
    cls = spex.Specification.define(
        "codec.All", [("a", "b", "c")], transition_timeout=1.5, prune_timeout=timedelta(days=1),
        prunable_states=spex.TERMINAL, equivalence="strong", initial_state="c",
    )  # fmt: skip
    from spex_shards.messages.specifications import describe

    stored = describe(cls)[0]
    again = StoredSpecification.of(codec.unpack(codec.pack(stored.plain())))
    assert again == stored
    assert again.digest() == stored.digest()


SLOTS = [11483, 3819, 8191, 12269, 1650, 16098]
TABLES = [
    (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    (0, 0, 0, 2, 1, 1, 2, 0, 0, 2, 2, 2),
    (0, 0, 3, 3, 1, 1, 2, 0, 0, 2, 2, 2),
    (0, 6, 15, 8, 12, 10, 9, 13, 4, 14, 14, 12),
]


def test_what_could_not_be_packed_for_want_of_memory_is_not_in_what_is_packed_next() -> None:
    """The packer is reused, and keeps packed bytes until there is memory for the result."""
    script = """
import resource
from spex_shards.runtime.protocol import codec
codec.pack_flat([1])
big = "x" * 50_000_000
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
for room in range(1 << 20, 200 << 20, 4 << 20):
    resource.setrlimit(resource.RLIMIT_AS, (used + room, -1))
    try:
        done = codec.pack_flat([big])
    except MemoryError:
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        assert codec.pack_flat([7]) == bytes([0x91, 7]), room
    else:
        break
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
print("done")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_a_timestamp_of_msgpack_is_no_identifier_and_no_value_of_a_foreign_type() -> None:
    """It is the one extension type that msgpack reads by itself; fuzzing found this."""
    data = bytes([0xD6, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF])

    assert codec.decode(data) == codec.unpack(data) == 4294967295.0
    assert codec.canonical(codec.identifier_of(data)) != data
    with pytest.raises(ValueError, match="the identifier is not in its canonical form"):
        ops.INIT.check(["tests.Door", data, None, None])
