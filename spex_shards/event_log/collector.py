"""`EventLog`, and the collector that builds one from events in the order of the file."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..domain.transition import INITIALISATION
from .attributes import LogEvent, Moment, shown
from .source import LogError


@dataclass(frozen=True, slots=True)
class EventLog:
    """The content of an event log.

    Attributes:
        cases: The names of the cases, in the order of their first appearance in the file. A case may have no events.
        events: (index into `cases`, action, state), in time order across all cases; events of equal time in file order.
    """

    cases: list[str]
    events: list[tuple[int, str, str]]


@dataclass(slots=True)
class Collector:
    """Collects cases and events in file order.

    Equal texts are stored once, because a log has few actions and very many events.
    """

    _cases: dict[str, int] = field(default_factory=dict)
    _texts: dict[str, str] = field(default_factory=dict)
    _events: list[tuple[int, str, str]] = field(default_factory=list)
    _moments: list[Moment] = field(default_factory=list)

    def case(self, name: str) -> int:
        """Return the index of the case with that name, adding the case if it is new."""
        return self._cases.setdefault(name, len(self._cases))

    def add(self, case: int, event: LogEvent) -> None:
        """Add the next event of the file."""
        once = self._texts.setdefault
        self._events.append((case, once(event.action, event.action), once(event.state, event.state)))
        self._moments.append(event.moment)

    def count(self, name: str) -> int:
        """Return how many events the case of that name has so far; takes time in proportion to all events."""
        index = self._cases.get(name)
        return sum(event[0] == index for event in self._events)

    def result(self) -> EventLog:
        """Return the log in time order."""
        # `sorted` is stable, so events of equal time stay in file order.
        order = sorted(range(len(self._events)), key=self._moments.__getitem__)
        return EventLog(list(self._cases), [self._events[position] for position in order])


def check_actions(log: EventLog) -> None:
    """Check that no event has the reserved action of initialisations.

    Raises:
        LogError: One has; the text names the case, and the event in it.
    """
    for position, (case, action, _) in enumerate(log.events):
        if action == INITIALISATION:
            number = sum(event[0] == case for event in log.events[: position + 1])
            place = f"case {shown(log.cases[case])}, event {number} in time order"
            raise LogError(f"{place}: the action must not be the reserved {INITIALISATION!r}")
