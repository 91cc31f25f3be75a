"""The reply that says nothing but success: its own form on the wire, and the same value as by msgpack."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spex_shards.runtime.protocol import codec
from spex_shards.runtime.protocol.answers import read_reply
from spex_shards.runtime.protocol.requests import ProtocolError
from spex_shards.runtime.protocol.session import frame
from spex_shards.runtime.protocol.wire import FrameReader, success

BODY = 11


@pytest.mark.parametrize("number", [0, 1, 127, 128, 255, 65_536, 2**32 - 1, 2**32, 2**63, 2**64 - 1])
def test_the_frame_is_msgpack_that_any_version_reads(number: int) -> None:
    """A client of an earlier version reads it by msgpack, and gets the same reply."""
    data = success(number)

    assert int.from_bytes(data[:4], "big") == len(data) - 4 == BODY
    assert codec.unpack(data[4:]) == [number, []]
    assert FrameReader(1 << 20).feed(data) == FrameReader(1 << 20).feed(frame((number, ()))) == [[number, []]]
    assert read_reply(FrameReader(1 << 20).feed(data)[0]) == (number, ())


@given(st.binary(min_size=BODY, max_size=BODY) | st.integers(0, 2**64 - 1).map(lambda number: success(number)[4:]))
def test_a_frame_of_the_same_length_is_read_as_msgpack_reads_it(body: bytes) -> None:
    """Whatever has the length of that reply, but is another value, is that value; what is no value is refused."""
    reader = FrameReader(1 << 20)
    try:
        wanted = [codec.unpack(body)]
    except ValueError:
        with pytest.raises(ProtocolError):
            reader.feed(len(body).to_bytes(4, "big") + body)
    else:
        assert repr(reader.feed(len(body).to_bytes(4, "big") + body)) == repr(wanted)


def test_it_is_read_from_any_pieces_and_beside_other_frames() -> None:
    """A pipe may give a part of it, or several replies at once."""
    data = success(7) + frame((9, [[8, True, None, []]])) + success(10)
    wanted = [[7, []], [9, [[8, True, None, []]]], [10, []]]

    assert FrameReader(1 << 20).feed(data) == wanted
    reader = FrameReader(1 << 20)
    assert [value for at in range(len(data)) for value in reader.feed(data[at : at + 1])] == wanted


def test_it_may_not_be_longer_than_frames_may_be() -> None:
    """The limit holds for it as for each frame."""
    with pytest.raises(ProtocolError, match="a frame of 11 bytes where at most 10 are allowed"):
        FrameReader(10).feed(success(1))
