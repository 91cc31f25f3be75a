"""A deterministic engine for mutations: the same seed gives the same inputs."""

from __future__ import annotations

from random import Random
from typing import Final

LONGEST: Final = 4096
"""Inputs stay below it; now and then one is doubled a few times up to `VERY_LONG`."""
VERY_LONG: Final = 65536

_TOKENS: Final = (
    # msgpack: containers with large claimed sizes, nesting, extensions, limits of integers, NaN, bad UTF-8
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\x7f\xff\xff\xff",
    b"\xdc\xff\xff", b"\x91" * 8, b"\x91" * 1000, b"\x81\x90", b"\x80", b"\x90", b"\xc0", b"\xc1", b"\xc2", b"\xc3",
    b"\xa0", b"\xc4\x00", b"\xc7\x00\x01", b"\xd4\x07\x90", b"\xd5\x08\x91\x90", b"\xc7\x02\x06\x91\xc0",
    b"\xd6\xff\xff\xff\xff\xff", b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\0" * 7, b"\xcb\x7f\xf8" + b"\0" * 6,
    b"\xcb\x7f\xf0" + b"\0" * 6, b"\xa1\xff", b"\xa3\xed\xa0\x80", b"\xc4\x01\x01", b"\xff", b"\x00", b"\x01",
    # text
    b"\n", b"\r\n", b"\t", b'"', b'"\\ud800"', b'"\\u0000"', b" --[", b"]-> ", b"nil", b"__initialisation__",
    b"__internal__", b"Specification:", b"Learning mode: true", b"Transitions:", "\u2028".encode(), b"1" * 5000,
    # lengths
    b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x00\x01\x00\x00", b"\x00\x00\x00\x01", b"\x7f\xff\xff\xff",
)  # fmt: skip


class Mutator:
    """Makes inputs from a corpus, by a few small changes each.

    Args:
        seeds: The corpus; not empty.
        seed: The seed of all random choices.
    """

    def __init__(self, seeds: list[bytes], seed: int) -> None:
        self._corpus = list(seeds)
        self._random = Random(seed)

    def keep(self, data: bytes) -> None:
        """Add an input that had a new effect to the corpus."""
        if len(self._corpus) < 5000:
            self._corpus.append(data)

    def next(self) -> bytes:
        """Return the next input."""
        choose = self._random.random
        data = bytearray(self._corpus[int(choose() * len(self._corpus))])
        for _ in range(1 + int(choose() * choose() * 6)):
            self._change(data)
        if choose() < 0.001:
            data *= VERY_LONG // max(1, len(data))
        elif len(data) > LONGEST:
            del data[LONGEST:]
        return bytes(data)

    def _change(self, data: bytearray) -> None:
        choose = self._random.random
        size = len(data)
        at = int(choose() * (size + 1))
        kind = int(choose() * 9)
        if kind == 0 or not size:
            data[at:at] = _TOKENS[int(choose() * len(_TOKENS))]
        elif kind == 1:
            token = _TOKENS[int(choose() * len(_TOKENS))]
            data[at : at + len(token)] = token
        elif kind == 2:
            del data[at : at + 1 + int(choose() * 8)]
        elif kind == 3:
            data[at : at + 1] = bytes((int(choose() * 256),))
        elif kind == 4 and at < size:
            data[at] ^= 1 << int(choose() * 8)
        elif kind == 5 and at < size:
            data[at] = (data[at] + (1 if choose() < 0.5 else -1)) & 255
        elif kind == 6:
            start = int(choose() * size)
            data[at:at] = data[start : start + 1 + int(choose() * 64)]
        elif kind == 7:
            other = self._corpus[int(choose() * len(self._corpus))]
            start = int(choose() * (len(other) + 1))
            data[at:] = other[start:]
        else:
            del data[at:]
