"""Threads that wait for answers which another thread, the leader, reads."""

from __future__ import annotations

import threading

from ..protocol.sent import Sent

Gate = threading.Lock


class Followers:
    """The waiting threads of one line, each with a gate that it waits at and the request that it waits for.

    Each method is a few single steps on one dict, so that none needs a lock. That matters because any thread may wake
    others, also one that has interrupted another thread's call. Opening a gate twice does no harm.

    Attributes:
        waiting: Gate → the request that its thread waits for.
    """

    def __init__(self) -> None:
        self.waiting: dict[threading.Lock, Sent] = {}

    def join(self, sent: Sent) -> threading.Lock:
        """Register the calling thread; return its gate.

        The thread then calls ``gate.acquire`` with a timeout, and after that `leave`.
        """
        gate = threading.Lock()
        gate.acquire()
        self.waiting[gate] = sent
        return gate

    def leave(self, gate: threading.Lock) -> None:
        """Remove a thread, whether it was woken or not."""
        self.waiting.pop(gate, None)

    def wake_answered(self) -> None:
        """Wake all threads whose requests are answered."""
        for gate, sent in tuple(self.waiting.items()):
            if sent.done:
                self._open(gate)

    def wake_one(self) -> None:
        """Wake one thread, which becomes the leader."""
        for gate in tuple(self.waiting)[:1]:
            self._open(gate)

    def wake_all(self) -> None:
        """Wake all threads: their answers may arrive on another line now, or never."""
        for gate in tuple(self.waiting):
            self._open(gate)

    def _open(self, gate: threading.Lock) -> None:
        self.waiting.pop(gate, None)
        try:
            gate.release()
        except RuntimeError:
            pass  # it is open already
