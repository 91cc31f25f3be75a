"""Questions that a client's callers put to the supervisors of all shards, and their answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..client.questions import Question
from ..protocol.control import AskStatus, Revive
from ..shard_info import ShardStatus
from ..system.queues import taken_from
from .way import Way


@dataclass(slots=True, eq=False)
class _Poll:
    """A question; `missing` are the shards whose supervisors have not answered yet."""

    question: Question
    rows: list[Any]
    missing: set[int] = field(default_factory=set)


class Polls:
    """Asks the supervisors of all shards for their status, or one to revive its shard.

    `ask` and `end` may be called by any thread at any moment; everything else is for the introducer's thread.
    """

    def __init__(self) -> None:
        self._new: deque[tuple[Question, int]] = deque()
        self._open: list[_Poll] = []
        self._revivals: deque[tuple[int, Question]] = deque()

    def ask(self, revived: int | None, shards: int) -> Question:
        """Queue a question for the introducer to send, and return it.

        Args:
            revived: The shard to revive; None: the question is for the status of all shards.
            shards: The number of shards.
        """
        question = Question(AskStatus() if revived is None else Revive(revived))
        self._new.append((question, shards))
        return question

    def send(self, ways: Sequence[Way], lost: Callable[[Way, str], None]) -> None:
        """Send the queued questions to the supervisors that are connected."""
        for question, shards in taken_from(self._new):
            if isinstance(question.of, Revive):
                way = ways[question.of.shard]
                if way.joined is None:  # whoever gets the shard next starts it
                    question.answered.set()
                    continue
                self._revivals.append((question.of.shard, question))
                _say(way, question.of, lost)
                continue
            poll = _Poll(question, [_nowhere(way) for way in ways[:shards]])
            poll.missing = {way.shard for way in ways if way.joined is not None}
            self._open.append(poll)
            for way in ways:
                if way.joined is not None:
                    _say(way, AskStatus(), lost)
            self._settle()

    def answered(self, way: Way, rows: list[Any]) -> None:
        """Take a supervisor's answer about a shard; it may also be the answer to a ping, and is as good then."""
        for poll in self._open:
            for row in rows:
                if row[0] == way.shard:
                    poll.rows[way.shard] = row
            poll.missing.discard(way.shard)
        self._settle()

    def lost(self, way: Way) -> None:
        """Expect no answer about a shard any more; whoever gets it next starts it."""
        self.revived(way.shard)
        for poll in self._open:
            poll.missing.discard(way.shard)
        self._settle()

    def revived(self, shard: int) -> None:
        """Take the answer of a supervisor that it revives a shard."""
        for entry in [one for one in self._revivals if one[0] == shard]:
            self._revivals.remove(entry)
            entry[1].answered.set()

    def end(self) -> None:
        """Tell whoever waits that no answer will come."""
        waiting = [question for question, _ in taken_from(self._new)]
        # Copies: the introducer may be changing both.
        waiting += [poll.question for poll in list(self._open)]
        waiting += [question for _, question in list(self._revivals)]
        for question in waiting:
            question.ended = not question.answered.is_set()
            question.answered.set()

    def _settle(self) -> None:
        for poll in [one for one in self._open if not one.missing]:
            self._open.remove(poll)
            poll.question.answer = poll.rows
            poll.question.answered.set()


def _nowhere(way: Way) -> list[Any]:
    return [way.shard, None, ShardStatus.RESTARTING.value, 0, way.why or None]


def _say(way: Way, message: AskStatus | Revive, lost: Callable[[Way, str], None]) -> None:
    try:
        way.say(message)
    except OSError as error:
        lost(way, str(error))
