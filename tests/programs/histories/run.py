"""One run: rounds, each with instances of its own, one fault, and a verdict."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from random import Random
from time import monotonic
from typing import Any, Final, Self

import spex_shards as spex
from tests.support.processes import wait_until

from .clients import FAILURES, ROLES, Board, Client
from .deployment import Deployment, Fault
from .history import Entry, Outcome, Read, Violation, Write
from .serving import TIMED_OUT
from .specs import Chain, Timed
from .verdict import LOST, judge, judge_loss, longest_pause, wrong_timers

CLIENTS: Final = "wwwpprs"
"""The roles of the clients."""
INSTANCES: Final = 6
TIMED: Final = 2
PROGRESS: Final = 15
"""So many operations must each client make before a fault, and after it."""
PATIENCE: Final = 120.0
_wait = threading.Event().wait


def plan(faults: Sequence[str], count: int, seed: int) -> list[str]:
    """Return the names of the faults of a run: each as often as the others, in an order that the seed decides."""
    random, order = Random(seed), []
    while len(order) < count:
        order += random.sample(list(faults), len(faults))
    return order[:count]


@dataclass
class Row:
    """What came of one round.

    Attributes:
        fault: The fault.
        longest_pause: The longest time, in seconds, in which a writer was not acknowledged anything.
        acknowledged, refused, unknown: How many writes had this outcome.
        stored: How many entries the store has.
        reads: How many reads were judged.
        batches: How many batches and claims were judged.
        lost: How many acknowledged writes are not stored, where that was to be expected.
        violations: What was found.
    """

    fault: str
    longest_pause: float = 0.0
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    stored: int = 0
    reads: int = 0
    batches: int = 0
    lost: int = 0
    violations: list[Violation] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "violations": [one._asdict() for one in self.violations]}


class Ear(logging.Handler):
    """A logging handler that notes which timeouts are reported to this process."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note the instance."""
        self.heard += TIMED_OUT.findall(record.getMessage())


@dataclass
class _Ended:
    """What must still be so at the end of the run: of the instances of one round."""

    digests: dict[str, tuple[int, bytes]]
    unknown: frozenset[str]
    timed: tuple[str, ...]
    ends_before: int
    fault: Fault


class Run:
    """A deployment that was started, and its clients; use it in a ``with`` block.

    Args:
        deployment: The deployment; it is started and stopped here.
        seed: Decides what clients and faults do, as far as times allow.
        clients: The role of each client.
    """

    def __init__(self, deployment: Deployment, seed: int, clients: str = CLIENTS) -> None:
        self._deployment, self._seed = deployment, seed
        self._board = Board()
        self._clients: list[Client] = [
            ROLES[role](deployment, self._board, f"{role}{number}", f"{seed} {number}")
            for number, role in enumerate(clients)
        ]
        self._ear = Ear()
        self._heard: Counter[str] = Counter()
        self._manager: Any = None
        self._place: object = None
        self._ends = self._rounds = 0
        self._past: list[_Ended] = []

    def __enter__(self) -> Self:
        logging.getLogger("spex_shards").addHandler(self._ear)
        try:
            self._deployment.start()
        except BaseException:
            self._stop()
            raise
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._board.end()
        for client in self._clients:
            client.join(30)
        self._let_go()
        self._stop()

    def _stop(self) -> None:
        self._deployment.stop()
        logging.getLogger("spex_shards").removeHandler(self._ear)

    # ------------------------------------------------------------------ a round

    def round(self, name: str, *, timers: bool | None = None) -> Row:
        """Let the clients work on new instances, make a fault meanwhile, and judge what came of it.

        Args:
            name: The fault.
            timers: Whether there are instances whose timeouts are due; None: the seed decides. A paused owner that goes
                on looks at timers first, and learns from the store that it is none any more, before it has written what
                waits in its pipes. Without them, it writes that first.
        """
        self._rounds += 1
        fault, random = self._deployment.faults[name], Random(f"{self._seed} {self._rounds}")
        instances = tuple(f"r{self._rounds}-{number}" for number in range(INSTANCES))
        count = TIMED if (random.random() < 0.5 if timers is None else timers) else 0
        timed = tuple(f"t{self._rounds}-{number}" for number in range(count))
        ends = self._all_ends()
        self._create(instances, timed)
        began = monotonic()
        self._board.begin(instances)
        self._progress("before the fault")
        self._make(fault, random)
        self._ends += fault.ends + fault.loses
        self._progress("after the fault")
        self._board.settle()
        wait_until(self._settled, "all clients have settled", within=PATIENCE)
        self._hear(timed)
        return self._judged(Row(name), fault, instances, timed, ends, began)

    def _make(self, fault: Fault, random: Random) -> None:
        self._board.quiet, self._board.faulty = fault.quiet, True
        if fault.quiet:
            wait_until(lambda: all(client.idle or client.stubborn for client in self._clients), "the clients are quiet")
        fault.inject(random)
        self._board.quiet = False
        _wait(random.uniform(*fault.lasts))
        if fault.until_progress:
            self._progress("during the fault", stubborn=False)
        fault.heal()
        self._board.faulty = False

    def _progress(self, when: str, *, stubborn: bool = True) -> None:
        before = [(client, client.progress) for client in self._clients if stubborn or not client.stubborn]

        def enough() -> bool:
            self._tend()
            return all(client.progress >= was + PROGRESS for client, was in before)

        def how() -> str:
            made = {client.label: client.progress - was for client, was in before}
            return f"each client makes {PROGRESS} operations {when}: {made}"

        wait_until(enough, how, within=PATIENCE)

    def _settled(self) -> bool:
        self._tend()
        return all(client.settled == self._rounds for client in self._clients)

    def _tend(self) -> None:
        self._ends += self._deployment.tend()
        for client in self._clients:
            if client.error is not None:
                raise RuntimeError(f"client {client.label} has ended") from client.error

    # ------------------------------------------------------------------ what the run itself asks for

    def _create(self, instances: Sequence[str], timed: Sequence[str]) -> None:
        for cls, names in ((Chain, instances), (Timed, timed)):
            for name in names:
                with suppress(spex.IdentifierInUse):  # an attempt before was carried out, and its answer was lost
                    self._ask(lambda manager, cls=cls, name=name: manager.init_instance(cls, name))

    def _ask(self, call: Callable[[Any], Any]) -> Any:
        """Return what a call of the run's own manager returns, once it is answered."""
        deadline = monotonic() + PATIENCE
        while True:
            place = self._deployment.place()
            if place != self._place:
                self._let_go()
            try:
                if self._manager is None:
                    self._manager, self._place = self._deployment.connect(), place
                return call(self._manager)
            except (spex.IdentifierInUse, spex.InstanceNotFound):
                raise
            except FAILURES:
                self._let_go()
                if monotonic() > deadline:
                    raise
                _wait(0.1)

    def _let_go(self) -> None:
        manager, self._manager = self._manager, None
        if manager is not None:
            self._ends += 1
            with suppress(*FAILURES):
                manager.close()

    def _final_reads(self, instances: Sequence[str]) -> Iterator[Read]:
        """Read whole histories through a manager: what it shows must be what the rows are."""
        for instance in instances:
            invoked = monotonic()
            with suppress(spex.InstanceNotFound):
                found = self._ask(lambda manager, instance=instance: manager.get_instance(instance, 8000))
                labels = tuple(entry.to_state for entry in found.history)
                yield Read("the run", instance, labels, invoked, monotonic())

    # ------------------------------------------------------------------ timers

    def _all_ends(self) -> int:
        return self._ends + sum(client.ended for client in self._clients)

    def _listen(self) -> Counter[str]:
        heard, self._ear.heard = self._ear.heard, []
        self._heard.update(heard)
        self._heard.update(self._deployment.heard())
        return self._heard

    def _hear(self, timed: Sequence[str]) -> None:
        deadline = monotonic() + 30
        while not all(self._listen()[name] for name in timed) and monotonic() < deadline:
            _wait(0.05)

    # ------------------------------------------------------------------ the verdict

    def _judged(
        self, row: Row, fault: Fault, instances: Sequence[str], timed: tuple[str, ...], ends: int, began: float
    ) -> Row:
        writes: list[Write] = []
        reads = list(self._final_reads(instances))
        for client in self._clients:
            written, read = client.taken()
            writes += written
            reads += read
        stored = self._deployment.stored(instances)
        found = judge(writes, reads, stored)
        noticed = self._deployment.noticed()
        if fault.loses:
            row.lost = sum(one.rule == LOST for one in found)
            found = judge_loss(found, stored.shards, noticed)
            if not row.lost:
                found.append(Violation(LOST, "the round", "nothing was lost, so nothing was tried"))
        elif noticed:
            found.append(Violation(LOST, f"shards {sorted(noticed)}", "an owner says that the store lacks batches"))
        found += wrong_timers(timed, self._listen(), lambda _: 1 + self._all_ends() - ends)
        outcomes = Counter(write.outcome for write in writes)
        row.acknowledged, row.refused = outcomes[Outcome.ACKNOWLEDGED], outcomes[Outcome.REFUSED]
        row.unknown = outcomes[Outcome.UNKNOWN]
        row.stored = sum(len(entries) - 1 for entries in stored.entries.values())
        row.reads, row.batches = len(reads), len(stored.batches)
        row.longest_pause, row.violations = longest_pause(writes, began, monotonic()), found
        unknown = frozenset(write.label for write in writes if write.outcome is Outcome.UNKNOWN)
        digests = {name: _digest(entries) for name, entries in stored.entries.items()}
        self._past.append(_Ended(digests, unknown, timed, ends, fault))
        return row

    def last_look(self) -> Row:
        """Check that the histories of all rounds are as they were, and that no timeout was reported again."""
        row = Row("(all rounds, at the end)")
        for past in self._past:
            stored = self._deployment.stored(list(past.digests))
            for name, (count, digest) in past.digests.items():
                entries = stored.entries.get(name, [])
                row.stored += len(entries) - 1
                if _digest(entries[:count]) != (count, digest):
                    row.violations.append(Violation(LOST, name, "its history is not what it was after its round"))
                late = {entry.label for entry in entries[count:]} - past.unknown
                if late:
                    row.violations.append(Violation(LOST, name, f"{late} were added after its round"))
            most = 1 + self._all_ends() - past.ends_before
            row.violations += wrong_timers(past.timed, self._listen(), lambda _, most=most: most)
        return row


def _digest(entries: Sequence[Entry]) -> tuple[int, bytes]:
    text = "\n".join(f"{entry.seq} {entry.label}" for entry in entries)
    return len(entries), hashlib.blake2b(text.encode(), digest_size=16).digest()
