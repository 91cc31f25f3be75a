"""Which requests and timers killed their shard, and how often. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from .shard_page import Suspect

DEATHS: Final = 3
"""After so many deaths in its own execution, a request is refused."""
_MOST: Final = 1000


class Suspects:
    """The suspects of one shard: those that it died with, the newest thousand.

    A suspect is carried out alone, with everything before it committed. Numbers of requests and keys of deadlines are
    never used twice, so an old suspect does no harm.
    """

    def __init__(self) -> None:
        self._deaths: OrderedDict[Suspect, tuple[int, str]] = OrderedDict()

    @classmethod
    def of(cls, plain: Any) -> Suspects:
        """Return suspects from their plain form.

        Raises:
            ValueError: It is none.
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
        """The shard died while it was executing the suspect."""
        count = self._deaths.pop(suspect, (0, ""))[0]
        self._deaths[suspect] = count + 1, how
        if len(self._deaths) > _MOST:
            self._deaths.popitem(last=False)

    def deaths(self, suspect: Suspect) -> int:
        """Return how often the shard died with it."""
        return self._deaths.get(suspect, (0, ""))[0]

    def how(self, suspect: Suspect) -> str:
        """Return how it died the last time."""
        return self._deaths.get(suspect, (0, ""))[1]

    def is_poison(self, suspect: Suspect) -> bool:
        """Whether it is to be refused."""
        return self.deaths(suspect) >= DEATHS
