"""Threads that wait for answers which another thread, the leader, reads."""

from __future__ import annotations

import threading
from typing import Final

_AT_MOST: Final = 1.0
"""Seconds after which a follower looks by itself: a wake-up that went missing costs that, and nothing else."""


class Followers:
    """The waiting threads of one channel, each with the number that it waits for.

    All methods but `gate` and `wait` are called with the channel's lock held.
    """

    def __init__(self) -> None:
        self._gates: dict[threading.Lock, int] = {}

    def __len__(self) -> int:
        return len(self._gates)

    @staticmethod
    def gate() -> threading.Lock:
        """Return a gate to wait at, without the channel's lock."""
        gate = threading.Lock()
        gate.acquire()
        return gate

    def join(self, gate: threading.Lock, number: int) -> None:
        """Take the calling thread in, at its gate."""
        self._gates[gate] = number

    @staticmethod
    def wait(gate: threading.Lock, seconds: float | None) -> None:
        """Wait to be woken, without the channel's lock."""
        gate.acquire(timeout=_AT_MOST if seconds is None else max(0.0, min(_AT_MOST, seconds)))

    def leave(self, gate: threading.Lock) -> None:
        """Take the calling thread out, woken or not."""
        self._gates.pop(gate, None)

    def wake_answered(self, acknowledged: int) -> None:
        """Wake all whose number is answered."""
        for gate in [gate for gate, number in self._gates.items() if number <= acknowledged]:
            del self._gates[gate]
            gate.release()

    def wake_one(self) -> None:
        """Wake one, to lead."""
        gate = next(iter(self._gates), None)
        if gate is not None:
            del self._gates[gate]
            gate.release()

    def wake_all(self) -> None:
        """Wake all, since what they wait for may never come."""
        for gate in self._gates:
            gate.release()
        self._gates.clear()
