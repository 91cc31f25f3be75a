"""The handshake of gates and clients: who is let in, and who is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spex_shards.runtime.cluster import handshake as hs
from spex_shards.runtime.cluster.token import token_of
from spex_shards.runtime.protocol import codec

TOKEN, OTHER = b"a token of sixteen", b"another token, too"


def sent(message: Any) -> Any:
    """Return a message as it arrives on the other side."""
    return codec.unpack(codec.pack(message if type(message) is list else hs.plain(message)))


@given(purpose=st.sampled_from([hs.CONTROL, *hs.STREAMS]), shard=st.integers(0, 1023), ticket=st.binary(max_size=16))
def test_two_sides_with_the_token_recognise_each_other(purpose: str, shard: int, ticket: bytes) -> None:
    """Each learns what the other has said."""
    challenge = hs.challenge()
    hello = hs.hello(TOKEN, sent(challenge), purpose, shard, ticket)
    heard = hs.checked_hello(TOKEN, challenge, sent(hello))
    assert heard == hello
    welcome = hs.welcome(TOKEN, challenge, heard, b"t" * 16)
    assert hs.checked_welcome(TOKEN, sent(challenge), hello, sent(welcome)).ticket == b"t" * 16


def test_a_client_without_the_token_is_refused() -> None:
    """Its proof is wrong."""
    challenge = hs.challenge()
    hello = hs.hello(OTHER, sent(challenge), hs.CONTROL, 0)
    with pytest.raises(hs.Refusal, match="does not have this cluster's token"):
        hs.checked_hello(TOKEN, challenge, sent(hello))


def test_a_gate_without_the_token_is_not_trusted() -> None:
    """A client that was sent to a wrong machine notices before it says anything of use."""
    challenge = hs.challenge()
    hello = hs.hello(TOKEN, sent(challenge), hs.CONTROL, 0)
    with pytest.raises(hs.Refusal, match="the gate does not have this cluster's token"):
        hs.checked_welcome(TOKEN, sent(challenge), hello, sent(hs.welcome(OTHER, challenge, hello)))


def test_what_was_said_on_one_connection_proves_nothing_on_another() -> None:
    """Each side's proof covers the fresh nonce of the other."""
    first, second = hs.challenge(), hs.challenge()
    hello = hs.hello(TOKEN, sent(first), hs.CONTROL, 0)
    with pytest.raises(hs.Refusal):
        hs.checked_hello(TOKEN, second, sent(hello))
    again = hs.hello(TOKEN, sent(second), hs.CONTROL, 0)
    with pytest.raises(hs.Refusal):
        hs.checked_welcome(TOKEN, sent(second), again, sent(hs.welcome(TOKEN, first, hello)))


def test_neither_side_can_use_the_proof_of_the_other_as_its_own() -> None:
    """A client that sends the gate's own proof back is refused, and so is a gate that does that."""
    challenge = hs.challenge()
    hello = hs.hello(TOKEN, sent(challenge), hs.CONTROL, 0)
    with pytest.raises(hs.Refusal):
        hs.checked_welcome(TOKEN, sent(challenge), hello, sent(hs.Welcome(hello.proof, b"")))
    proof = hs.welcome(TOKEN, challenge, hello).proof
    with pytest.raises(hs.Refusal):
        hs.checked_hello(TOKEN, challenge, sent(hello._replace(proof=proof)))


@pytest.mark.parametrize("change", [{"purpose": "replies"}, {"shard": 1}, {"ticket": b"x" * 16}])
def test_a_hello_that_was_changed_on_its_way_is_refused(change: dict[str, Any]) -> None:
    """The proof covers all of it."""
    challenge = hs.challenge()
    hello = hs.hello(TOKEN, sent(challenge), hs.CONTROL, 0, b"t" * 16)
    with pytest.raises(hs.Refusal):
        hs.checked_hello(TOKEN, challenge, sent(hello._replace(**change)))


plains = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.text(max_size=5) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=8,
)


@given(plains)
def test_nonsense_is_refused_and_never_raises_anything_else(said: Any) -> None:
    """From either side, at each step."""
    challenge = hs.challenge()
    hello = hs.hello(TOKEN, sent(challenge), hs.CONTROL, 0)
    for check in (
        lambda: hs.checked_hello(TOKEN, challenge, said),
        lambda: hs.hello(TOKEN, said, hs.CONTROL, 0),
        lambda: hs.checked_welcome(TOKEN, sent(challenge), hello, said),
    ):
        with pytest.raises(hs.Refusal):
            check()


def test_a_gate_of_another_version_is_named() -> None:
    """The text has both versions."""
    with pytest.raises(hs.Refusal, match="version 2, and this process version 1"):
        hs.hello(TOKEN, sent(hs.challenge()._replace(version=2)), hs.CONTROL, 0)


def test_a_refusal_is_passed_on_in_its_words() -> None:
    """What the gate says against a client is what its user reads."""
    challenge = hs.challenge()
    hello = hs.hello(TOKEN, sent(challenge), hs.CONTROL, 0)
    with pytest.raises(hs.Refusal, match="no room"):
        hs.checked_welcome(TOKEN, sent(challenge), hello, sent(hs.sorry("no room")))


def test_a_token_that_could_be_guessed_is_refused() -> None:
    """It must have 16 characters; the space around it in a file does not count."""
    assert token_of(" 0123456789abcdef\n") == b"0123456789abcdef"
    with pytest.raises(ValueError, match="at least 16 characters, got one with 4"):
        token_of("abcd ")
