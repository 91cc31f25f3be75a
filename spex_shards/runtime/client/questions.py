"""What callers ask of the supervisor through the courier, and its answers."""

from __future__ import annotations

import socket
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from ..protocol.control import TO_SUPERVISOR, AskStatus, Revive
from ..protocol.wire import send_message


@dataclass(slots=True, eq=False)
class Question:
    """Something asked of the supervisor, by nobody if `of` is None; `answered` is set when the answer is there."""

    of: Revive | AskStatus | None
    answer: Any = None
    answered: threading.Event = field(default_factory=threading.Event)


class Questions:
    """Questions in the order in which the supervisor answers them.

    Asking is one step on a deque: a signal handler may ask in the middle of another question of its thread. The rest is
    the courier's.
    """

    def __init__(self) -> None:
        self._unsent: deque[Question] = deque()
        self._unanswered: deque[Question] = deque()

    def __bool__(self) -> bool:
        return bool(self._unsent)

    def ask(self, of: Revive | AskStatus) -> Question:
        """Have something asked."""
        question = Question(of)
        self._unsent.append(question)
        return question

    def send(self, connection: socket.socket) -> bool:
        """Send what is not sent yet; return False when the supervisor takes no more just now.

        Raises:
            OSError: The supervisor is gone.
        """
        while self._unsent:
            of = self._unsent[0].of
            if of is not None and not send_message(connection, TO_SUPERVISOR.plain(of)):
                return False
            self._unanswered.append(self._unsent.popleft())
        return True

    def ping(self, connection: socket.socket) -> None:
        """Ask for the status, for nobody: any answer is a sign of life.

        Raises:
            OSError: The supervisor is gone.
        """
        if send_message(connection, TO_SUPERVISOR.plain(AskStatus())):
            self._unanswered.append(Question(None))

    def answer(self, answer: Any) -> None:
        """Take the next answer."""
        if self._unanswered:
            self._give(self._unanswered.popleft(), answer)

    def lost(self) -> None:
        """The connection is gone: ask the next supervisor, but for revivals, since that starts all shards."""
        while self._unanswered:
            question = self._unanswered.popleft()
            if isinstance(question.of, Revive):
                self._give(question, None)
            elif question.of is not None:
                self._unsent.append(question)

    @staticmethod
    def _give(question: Question, answer: Any) -> None:
        question.answer = answer
        question.answered.set()
