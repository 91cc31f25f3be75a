"""A request of a client, from the call that makes it to its answer."""

from __future__ import annotations

import struct
from typing import Any, Final

from . import codec
from .answers import Answer
from .operations import CALL, NOWAIT, STATS, Operation

LENGTH: Final = 4
"""Bytes of the length in front of a frame."""
_HEAD: Final = struct.Struct(">IBBQBQ")
"""How a request's frame begins: its length; then, as msgpack, an array, the number, and what is acknowledged."""
_HEAD_AND_MORE: Final = _HEAD.size - 1
_U64: Final = 0xCF


class Sent:
    """A request on its way, from before it has a number until its answer is there.

    The caller who made it keeps it, and finds its answer in it, whichever session it went through.

    Args:
        operation: What is asked for.
        thread: The thread that asks.
        arguments: Its arguments.
        waits: Whether somebody waits for its answer.

    Attributes:
        changes: Whether it changes something.
        number: Its place among the requests of its client to that shard; 0: it has none yet.
        data: Its frame; only once it has a number.
        size: Bytes of the frame.
        answer: Its answer, once `done`; None is plain success.
        done: Whether it is answered.
        given_up: Whether its answer is known before it is sent.
    """

    # Defaults of the class: one is made for each observation, and most never have more than a number.
    number = 0
    data = b""
    answer: Answer | None = None
    done = False
    given_up = False

    def __init__(self, operation: Operation, thread: int, arguments: tuple[Any, ...], *, waits: bool) -> None:
        code = operation.code
        if code == CALL:
            packed = codec.pack((code if waits else code | NOWAIT, thread, operation.name, *arguments))
        else:
            packed = codec.pack_flat((code if waits else code | NOWAIT, thread, *arguments))
        self.operation = operation
        self.changes = operation.changes
        self.waits = waits
        self._packed = packed
        self.size = _HEAD_AND_MORE + len(packed)

    def numbered(self, number: int, acknowledged: int) -> bytes:
        """Take a number; return the frame."""
        packed = self._packed
        self.number = number
        # An array of fewer than sixteen parts: one byte says so, and the parts follow. Two more come in front.
        self.data = data = _HEAD.pack(self.size - LENGTH, packed[0] + 2, _U64, number, _U64, acknowledged) + packed[1:]
        return data

    def give_up(self, error: list[Any], acknowledged: int) -> None:
        """Have it answered with an error; in its place goes a question that takes its number and does nothing."""
        question = Sent(STATS, 0, (), waits=True)
        self.data = question.numbered(self.number, acknowledged)
        self.size, self.changes = question.size, False
        self.answer, self.given_up = Answer(self.number, False, error), True
