"""Counts how often a worker has died while it executed a request or timer. Without input or output."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from .shard_page import Suspect

DEATHS: Final = 3
"""A request during which this many workers have died is refused."""
_MOST: Final = 1000
_MOST_WORDS: Final = 200
"""So many characters tell how a worker died: 200 suspects must fit into one message to a supervisor."""


class Suspects:
    """The suspects of one shard: the requests and timers during which its workers died, the newest thousand.

    The next worker carries a suspect out alone, after it has committed everything before it. Suspects need not be
    removed: numbers of requests and keys of deadlines are never used twice.
    """

    def __init__(self) -> None:
        self._deaths: OrderedDict[Suspect, tuple[int, str]] = OrderedDict()

    @classmethod
    def of(cls, plain: Any) -> Suspects:
        """Return suspects from their plain form.

        Raises:
            ValueError: It is not the plain form of suspects.
        """
        made = cls()
        try:
            for who, number, count, how in plain[-_MOST:]:
                made._deaths[Suspect(bytes(who), int(number))] = int(count), str(how)
        except (TypeError, ValueError) as error:
            raise ValueError(f"no suspects: {error}") from error
        return made

    def plain(self) -> list[Any]:
        """Return the plain form, oldest first."""
        return [[*suspect, *death] for suspect, death in self._deaths.items()]

    def __bool__(self) -> bool:
        return bool(self._deaths)

    def died(self, suspect: Suspect, how: str) -> None:
        """Count a death during the suspect; `how` says how the worker died, and is cut off where it is very long."""
        count = self._deaths.pop(suspect, (0, ""))[0]
        self._deaths[suspect] = count + 1, how[:_MOST_WORDS]
        if len(self._deaths) > _MOST:
            self._deaths.popitem(last=False)

    def merge(self, other: Suspects) -> bool:
        """Count at least as many deaths as `other` does; return whether that is news."""
        news = {key: death for key, death in other._deaths.items() if death[0] > self.deaths(key)}
        self._deaths |= news
        while len(self._deaths) > _MOST:
            self._deaths.popitem(last=False)
        return bool(news)

    def newest(self, most: int) -> Suspects:
        """Return the newest of them, `most` at most."""
        return Suspects.of(self.plain()[-most:])

    def deaths(self, suspect: Suspect) -> int:
        """Return how many workers have died during it."""
        return self._deaths.get(suspect, (0, ""))[0]

    def how(self, suspect: Suspect) -> str:
        """Return how the last of them died; empty if there was none."""
        return self._deaths.get(suspect, (0, ""))[1]

    def is_poison(self, suspect: Suspect) -> bool:
        """Return whether it must be refused."""
        return self.deaths(suspect) >= DEATHS
