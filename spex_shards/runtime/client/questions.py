"""What callers ask of the supervisor through the courier, and its answers."""

from __future__ import annotations

import socket
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from ..protocol.wire import send_message


@dataclass(slots=True, eq=False)
class Question:
    """Something asked of the supervisor; `answered` is set when the answer is in `answer`."""

    words: list[Any]
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

    def ask(self, words: list[Any]) -> Question:
        """Have something asked."""
        question = Question(words)
        self._unsent.append(question)
        return question

    def send(self, connection: socket.socket) -> bool:
        """Send what is not sent yet; return False when the supervisor takes no more just now.

        Raises:
            OSError: The supervisor is gone.
        """
        while self._unsent:
            if not send_message(connection, self._unsent[0].words):
                return False
            self._unanswered.append(self._unsent.popleft())
        return True

    def ping(self, connection: socket.socket) -> None:
        """Ask for the status, for nobody: any answer is a sign of life.

        Raises:
            OSError: The supervisor is gone.
        """
        if send_message(connection, ["status"]):
            self._unanswered.append(Question([]))

    def answer(self, answer: Any) -> None:
        """Take the next answer."""
        if self._unanswered:
            self._give(self._unanswered.popleft(), answer)

    def lost(self) -> None:
        """The connection is gone: ask the next supervisor, but for revivals, since that starts all shards."""
        while self._unanswered:
            question = self._unanswered.popleft()
            if question.words[:1] == ["revive"]:
                self._give(question, None)
            elif question.words:
                self._unsent.append(question)

    @staticmethod
    def _give(question: Question, answer: Any) -> None:
        question.answer = answer
        question.answered.set()
