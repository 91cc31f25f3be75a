"""A client's request, from the call that makes it to its answer."""

from __future__ import annotations

import struct
from typing import Any, Final

from . import codec
from .answers import Answer
from .operations import CALL, NOWAIT, STATS, Operation

LENGTH: Final = 4
"""The number of bytes of the length in front of a frame."""
_HEAD: Final = struct.Struct(">IBBQBQ")
"""The start of a request's frame: its length; then, as msgpack, an array, the number, and the acknowledged number."""
_HEAD_AND_MORE: Final = _HEAD.size - 1
_U64: Final = 0xCF


class Sent:
    """A client's request. Its caller keeps it and reads the answer from it, whichever session delivers that answer.

    Args:
        operation: The operation.
        thread: The calling thread.
        arguments: The operation's arguments.
        waits: Whether a caller waits for the answer.

    Attributes:
        changes: Whether it changes something.
        number: Its number among the client's requests to that shard; 0: it has none yet.
        data: Its frame; only once it has a number.
        size: The frame's length in bytes.
        answer: Its answer, once `done`; None stands for success without a value.
        done: Whether it is answered.
        given_up: Whether its answer was decided before it was sent.
        late: Whether its caller waited for the answer, and waits no more.
    """

    # Class attributes as defaults, for speed: one object is made per observation, and most only ever get a number.
    number = 0
    data = b""
    answer: Answer | None = None
    done = False
    given_up = False
    late = False

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
        """Set the request's number, and return its frame."""
        packed = self._packed
        self.number = number
        # In msgpack, an array of fewer than 16 parts begins with one byte that has the count. Two parts are added in
        # front of the packed ones, so the count grows by two.
        self.data = data = _HEAD.pack(self.size - LENGTH, packed[0] + 2, _U64, number, _U64, acknowledged) + packed[1:]
        return data

    def give_up(self, error: list[Any], acknowledged: int) -> None:
        """Answer the request with an error. A question that changes nothing is sent under its number in its place."""
        question = Sent(STATS, 0, (), waits=True)
        self.data = question.numbered(self.number, acknowledged)
        self.size, self.changes = question.size, False
        self.answer, self.given_up = Answer(self.number, False, error), True

    def leave(self) -> bool:
        """Note that the caller waits no more; return whether the session handles the answer from now on.

        False: the answer has just arrived, and the caller must handle it.
        """
        self._right = [True]
        self.late = True
        return not (self.done and self._is_mine())

    def is_left(self) -> bool:
        """Return, once the request is done, whether the session must handle the answer, because its caller has left."""
        return self.late and self._is_mine()

    def _is_mine(self) -> bool:
        # The caller sets `late` and then reads `done`; the session does the reverse. So at least one of them sees that
        # both are set; and one of two who take the only entry of a list gets it.
        try:
            return self._right.pop()
        except IndexError:
            return False
