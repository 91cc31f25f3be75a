"""Threads that wait for answers which another thread, the leader, reads."""

from __future__ import annotations

import threading

from ..protocol.sent import Sent

Gate = threading.Lock


class Followers:
    """The waiting threads of one line, each at a gate, with the request that it waits for.

    Each method is a few single steps on one dict, so that none needs a lock: a wake-up may come from any thread, also
    from one that interrupts another in the middle. A gate that is opened twice is open.

    Attributes:
        waiting: The gates of those that wait, each with its request.
    """

    def __init__(self) -> None:
        self.waiting: dict[threading.Lock, Sent] = {}

    def join(self, sent: Sent) -> threading.Lock:
        """Take the calling thread in; return the gate that it waits at: `acquire` it with a timeout, then `leave`."""
        gate = threading.Lock()
        gate.acquire()
        self.waiting[gate] = sent
        return gate

    def leave(self, gate: threading.Lock) -> None:
        """Take a thread out, woken or not."""
        self.waiting.pop(gate, None)

    def wake_answered(self) -> None:
        """Wake all whose request is answered."""
        for gate, sent in tuple(self.waiting.items()):
            if sent.done:
                self._open(gate)

    def wake_one(self) -> None:
        """Wake one, to lead."""
        for gate in tuple(self.waiting)[:1]:
            self._open(gate)

    def wake_all(self) -> None:
        """Wake all: what they wait for may come another way now, or never."""
        for gate in tuple(self.waiting):
            self._open(gate)

    def _open(self, gate: threading.Lock) -> None:
        self.waiting.pop(gate, None)
        try:
            gate.release()
        except RuntimeError:
            pass  # it is open already
