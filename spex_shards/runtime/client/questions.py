"""Questions that callers ask the supervisor through the courier, and their answers."""

from __future__ import annotations

import socket
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..protocol.control import TO_SUPERVISOR, AskStatus, Revive
from ..protocol.wire import send_message


@dataclass(slots=True, eq=False)
class Question:
    """A question to the supervisor; `of` is None for a ping, which no caller waits for.

    `answered` is set when `answer` is there, or when there will be none: then `ended` is True.
    """

    of: Revive | AskStatus | None
    answer: Any = None
    ended: bool = False
    answered: threading.Event = field(default_factory=threading.Event)


class Questions:
    """The questions in the order in which the supervisor answers them.

    `ask` is a single step on a deque, so a signal handler may call it while it interrupts another `ask` of the same
    thread. The courier's thread does everything else.
    """

    def __init__(self) -> None:
        self._unsent: deque[Question] = deque()
        self._unanswered: deque[Question] = deque()

    def __bool__(self) -> bool:
        return bool(self._unsent)

    def ask(self, of: Revive | AskStatus) -> Question:
        """Queue a question for the courier to send, and return it."""
        question = Question(of)
        self._unsent.append(question)
        return question

    def send(self, connection: socket.socket) -> bool:
        """Send the queued questions; return False if the supervisor's socket is full.

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
        """Ask for the status without a caller who waits: any answer is a sign of life.

        Raises:
            OSError: The supervisor is gone.
        """
        if send_message(connection, TO_SUPERVISOR.plain(AskStatus())):
            self._unanswered.append(Question(None))

    def answer(self, answer: Any) -> None:
        """Give the next answer to the oldest unanswered question."""
        if self._unanswered:
            self._give(self._unanswered.popleft(), answer)

    def lost(self) -> None:
        """Handle a lost connection: queue the questions for the next supervisor.

        Revivals count as answered instead, since the next supervisor starts all shards.
        """
        while self._unanswered:
            question = self._unanswered.popleft()
            if isinstance(question.of, Revive):
                self._give(question, None)
            elif question.of is not None:
                self._unsent.append(question)

    def settle(self, rows: Any) -> None:
        """Answer the queued questions for the status by the rows that a supervisor sent when it stopped."""
        for _ in range(len(self._unsent)):
            question = self._unsent.popleft()
            if isinstance(question.of, AskStatus):
                self._give(question, rows)
            else:
                self._unsent.append(question)

    def end(self) -> None:
        """Tell whoever waits that no answer will come, when the courier has ended. May be called by any thread."""
        for questions in (self._unsent, self._unanswered):
            while questions:
                with suppress(IndexError):  # another call took the last one
                    question = questions.popleft()
                    question.ended = True
                    question.answered.set()

    @staticmethod
    def _give(question: Question, answer: Any) -> None:
        question.answer = answer
        question.answered.set()
