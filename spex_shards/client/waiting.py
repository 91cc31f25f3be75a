"""Threads that wait for the answers of a channel: one leads, and the others follow."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from ..protocol import ProtocolError
from ..session import ClientSession
from .followers import Followers
from .leader import Leadership
from .pipes import Pipes
from .state import State

_POLL_AT_MOST: Final = 1000


def is_of_pipe(error: BaseException) -> bool:
    """Whether an error says that a pipe is of no use; else a handler of signals has raised it, and it must go on.

    A pipe never raises TimeoutError, and handlers of alarms like to.
    """
    return isinstance(error, (EOFError, OSError, ProtocolError)) and not isinstance(error, TimeoutError)


class Waiting(ABC):
    """The waiting half of a channel.

    Where several threads wait, one of them leads (it alone reads the reply pipe) and wakes the others as their answers
    come. Leadership is handed on whatever happens to the leader.

    Args:
        shard: Its index.
        blocked: Tells the courier that something waits to be written that no caller may be there to write.
    """

    def __init__(self, shard: int, blocked: Callable[[int], None]) -> None:
        self.shard = shard
        self.state = State.CLOSED
        self._blocked = blocked
        self._session = ClientSession()
        self._lock = threading.Lock()
        self._leader = Leadership()
        self._followers = Followers()
        self._pipes = Pipes()

    @abstractmethod
    def _take(self, replies: list[Any]) -> None:
        """Take what was read, as the leader."""

    @abstractmethod
    def _break(self) -> None:
        """Give the pipes up: they are closed, or what is in them cannot be told."""

    def _wait_for(self, number: int, deadline: float | None) -> bool:
        """Wait until everything up to `number` is answered, or nothing will be; False when the deadline passed."""
        session = self._session
        while session.acknowledged < number and self.state is not State.FAILED:
            if deadline is not None and time.monotonic() >= deadline:
                return False
            if not self._leading(self._lead, number, deadline):
                self._follow(number, deadline)
        return True

    def _leading(self, work: Callable[..., None], *arguments: Any) -> bool:
        """Do some work as the leader; False when another thread leads, or there is nothing to lead."""
        try:
            try:
                if self.state is not State.OPEN or not self._leader.take():
                    return False
                if self.state is State.OPEN:
                    work(*arguments)
                return True
            finally:
                self._step_down()
        except BaseException:
            self._step_down()  # where an exception out of a signal came in the way of the other
            raise

    def _lead(self, number: int, deadline: float | None) -> None:
        session = self._session
        while session.acknowledged < number and self.state is State.OPEN:
            if deadline is None:
                self._step(_POLL_AT_MOST)
                continue
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return
            self._step(remaining * 1000)

    def _step(self, milliseconds: float) -> None:
        # By the leader only: wait for the pipes once, and do what they allow.
        readable, writable = self._pipes.wait(min(_POLL_AT_MOST, milliseconds))
        try:
            if readable:
                self._take(self._pipes.read())
            if writable:
                with self._lock:
                    self._pipes.write_output()
        except BaseException as error:
            # Between the first and the last byte of a frame, maybe: what is in the pipe cannot be told.
            self._break()
            if not is_of_pipe(error):
                raise

    def _follow(self, number: int, deadline: float | None) -> None:
        """Wait to be woken, as one who does not lead, for a second at most."""
        gate = self._followers.gate()
        woken = False
        try:
            with self._lock:
                if self._session.acknowledged >= number or self.state is State.FAILED:
                    return
                self._followers.join(gate, number)
            # The leader may have stepped down just before it could see this one: then nobody would wake it.
            if self.state is not State.OPEN or self._leader.held:
                self._followers.wait(gate, None if deadline is None else deadline - time.monotonic())
            woken = True
        finally:
            with self._lock:
                self._followers.leave(gate)
                if not woken:
                    self._followers.wake_one()  # it may have been this one that was woken to lead

    def _step_down(self) -> None:
        # Leadership is handed on whatever happens to the leader.
        if self._leader.let_go():
            if self._followers:
                with self._lock:
                    self._followers.wake_one()
            elif self._pipes.output:
                self._blocked(self.shard)
