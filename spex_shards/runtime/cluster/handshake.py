"""How the two ends of a TCP connection recognise each other: by proofs that both have the cluster's token.

::

    gate   ─▶ Challenge: version, nonce
    client ─▶ Hello: what the connection is for, its own nonce, proof over all of it
    gate   ─▶ Welcome: proof over the client's nonce, ticket      or  Sorry: why not

The token itself never crosses the network, and neither side can prove it with what it got from an earlier connection:
each proof (HMAC-SHA256, RFC 2104) covers the other side's fresh nonce. The proofs do not protect what follows: in a
network where others can change it, use TLS as well.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any, Final, NamedTuple

from ..protocol import codec

VERSION: Final = 1
LONGEST: Final = 4096
"""Most bytes of one of these messages."""
CONTROL: Final = "control"
STREAMS: Final = ("requests", "replies", "events")
"""What the connections of a client to one shard are for; each of the three streams carries bytes in one direction."""
_NONCE: Final = 16
_WORD: Final = "spex_shards"


class Challenge(NamedTuple):
    """What a gate says first."""

    version: int
    nonce: bytes


class Hello(NamedTuple):
    """What a client answers.

    Attributes:
        purpose: `CONTROL`, or one of `STREAMS`.
        shard: The shard.
        ticket: For a stream: what the gate gave to the control connection that it belongs to; else empty.
        nonce: Fresh random bytes.
        proof: That the client has the token.
    """

    purpose: str
    shard: int
    ticket: bytes
    nonce: bytes
    proof: bytes


class Welcome(NamedTuple):
    """What a gate says to a client that it lets in.

    Attributes:
        proof: That the gate has the token.
        ticket: For a control connection: what its streams must name.
    """

    proof: bytes
    ticket: bytes


class Refusal(Exception):
    """The other side is refused, or refuses; the text says why."""


def challenge() -> Challenge:
    """Return a new challenge."""
    return Challenge(VERSION, secrets.token_bytes(_NONCE))


def plain(message: Challenge | Welcome | Hello) -> list[Any]:
    """Return a message in the form in which it is sent."""
    return [_WORD, *message]


def sorry(why: str) -> list[Any]:
    """Return the message that refuses a client."""
    return ["refused", why]


def hello(token: bytes, given: Any, purpose: str, shard: int, ticket: bytes = b"") -> Hello:
    """Return the answer to a challenge.

    Args:
        token: The cluster's token.
        given: What the other side has said first.
        purpose: What the connection is for.
        shard: The shard.
        ticket: For a stream: the ticket of its control connection.

    Raises:
        Refusal: The other side is no gate, or one of another version.
    """
    said = _fields(given, (int, bytes))
    if said is None or len(said[1]) != _NONCE:
        raise Refusal("what listens there is no gate of spex_shards")
    if said[0] != VERSION:
        raise Refusal(f"the gate speaks version {said[0]}, and this process version {VERSION}")
    nonce = secrets.token_bytes(_NONCE)
    return Hello(purpose, shard, ticket, nonce, _proof(token, "client", said[1], nonce, purpose, shard, ticket))


def checked_hello(token: bytes, challenge: Challenge, given: Any) -> Hello:
    """Return the client's hello after checking its proof.

    Raises:
        Refusal: It is malformed, or the client does not have the token.
    """
    said = _fields(given, (str, int, bytes, bytes, bytes))
    if said is None or said[0] not in (CONTROL, *STREAMS) or len(said[3]) != _NONCE:
        raise Refusal("a malformed hello")
    found = Hello(*said)
    expected = _proof(token, "client", challenge.nonce, found.nonce, found.purpose, found.shard, found.ticket)
    if not hmac.compare_digest(found.proof, expected):
        raise Refusal("the client does not have this cluster's token")
    return found


def welcome(token: bytes, challenge: Challenge, to: Hello, ticket: bytes = b"") -> Welcome:
    """Return the answer to a hello."""
    return Welcome(_proof(token, "gate", to.nonce, challenge.nonce, to.purpose, to.shard, ticket), ticket)


def checked_welcome(token: bytes, challenge: Any, sent: Hello, given: Any) -> Welcome:
    """Return the gate's welcome after checking its proof.

    Raises:
        Refusal: The gate refuses this process, or does not have the token.
    """
    if type(given) is list and len(given) == 2 and given[0] == "refused" and type(given[1]) is str:
        raise Refusal(given[1])
    said = _fields(given, (bytes, bytes))
    if said is None:
        raise Refusal("a malformed welcome")
    found = Welcome(*said)
    expected = _proof(token, "gate", sent.nonce, challenge[2], sent.purpose, sent.shard, found.ticket)
    if not hmac.compare_digest(found.proof, expected):
        raise Refusal("the gate does not have this cluster's token")
    return found


def _fields(given: Any, types: tuple[type, ...]) -> list[Any] | None:
    """Return the fields of a message, or None if it is malformed."""
    if type(given) is not list or len(given) != len(types) + 1 or given[0] != _WORD:
        return None
    return given[1:] if all(type(value) is kind for value, kind in zip(given[1:], types, strict=True)) else None


def _proof(token: bytes, side: str, *parts: Any) -> bytes:
    return hmac.digest(token, codec.pack([side, VERSION, *parts]), hashlib.sha256)
