"""What a run needs of the managers that it tests: a deployment, and the faults that can be made in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Protocol

from .history import Stored

NOTHING: Final[Callable[[], None]] = lambda: None  # noqa: E731 - a default that is called


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and is put right again.

    Attributes:
        inject: Makes it happen.
        heal: Puts right what does not heal by itself.
        lasts: Between how many and how many seconds lie between the two.
        until_progress: Whether all clients must have got on before it is healed, because others do the work meanwhile.
        quiet: Whether no client writes while it is injected, so that only reads are on their way.
        ends: How many applications that log reports of timeouts end by it, beside the clients.
        loses: Whether committed batches are lost, so that the loss must be noticed.
    """

    inject: Callable[[Random], None]
    heal: Callable[[], None] = NOTHING
    lasts: tuple[float, float] = (0.0, 0.3)
    until_progress: bool = False
    quiet: bool = False
    ends: int = 0
    loses: bool = False


class Deployment(Protocol):
    """Managers over a namespace in PostgreSQL, on however many machines.

    Attributes:
        faults: Name → a fault that can be made; the plan draws from them.
    """

    @property
    def faults(self) -> Mapping[str, Fault]:
        """The faults that can be made."""

    def start(self) -> None:
        """Start everything; it serves when this returns."""

    def connect(self) -> Any:
        """Return a started manager for one client, of whatever serves now.

        Its calls must end within a few seconds, so that a client notices that another place serves.
        """

    def place(self) -> object:
        """Return a value that changes when clients must connect anew, because another place serves."""

    def tend(self) -> int:
        """Start again what has ended by itself, as a service manager does; return how many applications had ended.

        It is called again and again while operations are waited for, and must return soon where all is well.
        """

    def stored(self, instances: Sequence[str]) -> Stored:
        """Return what the store holds of these instances, and the batches since the last look."""

    def noticed(self) -> set[int]:
        """Return the shards whose owners have said, since the last look, that the store has lost batches."""

    def heard(self) -> Sequence[str]:
        """Return the instances whose timeouts were logged elsewhere than in this process, one for each time."""

    def remarks(self) -> Mapping[str, int]:
        """Return what else was seen, as a count for each name: for the table."""

    def stop(self) -> None:
        """Stop everything, also if `start` has failed."""


@dataclass
class Remarks:
    """Counts of what was seen."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, count: int = 1) -> None:
        """Count something."""
        self.counts[name] = self.counts.get(name, 0) + count
