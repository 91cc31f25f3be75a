"""Concurrent clients: they write and read the same instances, and record what they did and what came of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from random import Random
from time import monotonic
from typing import Any, Final

import spex_shards as spex

from .deployment import Deployment
from .history import Outcome, Read, Write

FAILURES: Final = (spex.SpexError, ExceptionGroup, OSError)
"""What may come out of a call when processes die."""
SHOWN: Final = 6
"""How many entries a read asks for."""
DEPTH: Final = 300
"""How many observations a client that does not wait has on their way."""
_GONE: Final = (spex.ShardDown, spex.ShardFailed, spex.ManagerClosed)


class Board:
    """What all clients know: whether they work, and on which instances.

    Attributes:
        instances: The instances of this round.
        quiet: Whether all but stubborn clients make no operations for a while.
        faulty: Whether a fault is being made. Stubborn clients keep their managers meanwhile.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working = False
        self._ended = False
        self._round = 0
        self.instances: tuple[str, ...] = ()
        self.quiet = self.faulty = False

    @property
    def working(self) -> bool:
        """Whether clients make operations."""
        return self._working

    def begin(self, instances: tuple[str, ...]) -> None:
        """Have the clients work on some instances."""
        with self._changed:
            self.instances, self._working, self._round = instances, True, self._round + 1
            self._changed.notify_all()

    def settle(self) -> None:
        """Have the clients end their operations, and wait."""
        with self._changed:
            self._working = False
            self._changed.notify_all()

    def end(self) -> None:
        """Have the clients end."""
        with self._changed:
            self._working, self._ended = False, True
            self._changed.notify_all()

    def wait_for_work(self, done: int) -> int:
        """Wait for a round after `done`; return its number, or 0 if there is none any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or (self._working and self._round > done))
            return 0 if self._ended else self._round

    def pause(self, seconds: float) -> None:
        """Wait for a while, or until the clients must end their operations."""
        with self._changed:
            self._changed.wait_for(lambda: not self._working, seconds)


class Client(threading.Thread):
    """A client: a thread with a manager of its own.

    Args:
        deployment: Where it connects to.
        board: What it has in common with the others.
        name: Its name, which its labels begin with.
        seed: Decides what it does.

    Attributes:
        writes: What it has written in this round.
        reads: What it has read in this round.
        progress: How many operations were acknowledged to it or answered.
        settled: The round that it has ended.
        ended: How many of its managers were closed: what they had logged may not have been confirmed.
        idle: Whether it makes no operations, because the board is quiet.
        stubborn: Whether it keeps its manager while a fault is made, and does not notice that another place serves.
        error: What ended the thread, and should not have.
    """

    stubborn = False

    def __init__(self, deployment: Deployment, board: Board, name: str, seed: str) -> None:
        super().__init__(name=f"client {name}", daemon=True)
        self._deployment, self._board = deployment, board
        self.label, self._random = name, Random(seed)
        self._manager: Any = None
        self._place: object = None
        self._retired: list[Any] = []
        self._closing: list[threading.Thread] = []
        self._session = self._count = 0
        self.writes: list[Write] = []
        self.reads: list[Read] = []
        self.progress = self.settled = self.ended = 0
        self.idle = False
        self.error: BaseException | None = None

    def run(self) -> None:
        """Work until the end."""
        done = 0
        try:
            while done := self._board.wait_for_work(done):
                while self._board.working:
                    self.idle = self._board.quiet and not self.stubborn and not self.waits
                    if self.idle:
                        self._board.pause(0.02)
                    elif self._connected():
                        self.turn()
                self._settle()
                self.settled = done
        except BaseException as error:
            self.error = error
        finally:
            self._leave()
            self._close_retired()
            for closing in self._closing:
                closing.join(10)

    def turn(self) -> None:
        """Make some operations."""
        raise NotImplementedError

    @property
    def waits(self) -> bool:
        """Whether operations are on their way between two turns."""
        return False

    def taken(self) -> tuple[list[Write], list[Read]]:
        """Return what was recorded, and forget it; only while the client waits."""
        writes, self.writes = self.writes, []
        reads, self.reads = self.reads, []
        return writes, reads

    # ------------------------------------------------------------------ the manager

    def _connected(self) -> bool:
        place = self._deployment.place()
        if self._manager is not None and place != self._place and not (self.stubborn and self._board.faulty):
            self._leave()
        if self._manager is None:
            try:
                self._manager, self._place = self._deployment.connect(), place
            except FAILURES:
                self._board.pause(0.1)
                return False
            self._session += 1
        return True

    def _leave(self) -> None:
        """Use the manager no more. It is not closed yet: what it has sent must have its chance to be applied late."""
        if self._manager is not None:
            self._retired.append(self._manager)
            self._manager = None

    def _after(self, error: BaseException) -> None:
        """Decide whether the manager can be used after an error."""
        errors = error.exceptions if isinstance(error, ExceptionGroup) else [error]
        if any(isinstance(one, _GONE) for one in errors) or not isinstance(error, (spex.SpexError, ExceptionGroup)):
            self._leave()
            self._board.pause(0.05)

    def _close_retired(self) -> None:
        """Close the managers that are not used any more, on threads: one whose owner is dead waits for it a while."""
        retired, self._retired = self._retired, []
        for manager in retired:
            self.ended += 1
            self._closing.append(threading.Thread(target=_close, args=(manager,), daemon=True))
            self._closing[-1].start()

    def _settle(self) -> None:
        """End what is on its way."""
        self._close_retired()

    # ------------------------------------------------------------------ operations

    def _next(self) -> tuple[str, str]:
        self._count += 1
        return self._random.choice(self._board.instances), f"{self.label}.{self._count}"

    def _wrote(self, instance: str, label: str, invoked: float, outcome: Outcome) -> None:
        write = Write(self.label, self._session, instance, label, invoked, outcome=outcome)
        self.writes.append(write if outcome is Outcome.UNKNOWN else write._replace(completed=monotonic()))
        self.progress += outcome is Outcome.ACKNOWLEDGED


def _close(manager: Any) -> None:
    with suppress(*FAILURES):
        manager.close()


def outcome_of(error: BaseException) -> Outcome:
    """Return what an error of a call says about that call."""
    if isinstance(error, spex.ShardError):
        return Outcome.UNKNOWN if error.maybe_executed else Outcome.REFUSED
    return Outcome.REFUSED if isinstance(error, spex.SpexError) else Outcome.UNKNOWN


class Blocking(Client):
    """Writes, and waits for each answer."""

    def turn(self) -> None:
        """Make one write."""
        instance, label = self._next()
        invoked = monotonic()
        try:
            self._manager.transition(instance, "go", label)
        except FAILURES as error:
            self._wrote(instance, label, invoked, outcome_of(error))
            self._after(error)
        else:
            self._wrote(instance, label, invoked, Outcome.ACKNOWLEDGED)


class Pipelined(Client):
    """Writes without waiting, many at a time: at any moment, its shards have many requests before them."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: list[tuple[str, str, float]] = []

    @property
    def waits(self) -> bool:
        """Whether posts are open."""
        return bool(self._open)

    def turn(self) -> None:
        """Post many writes and flush them, or send them together."""
        if self._open:
            self._flush()
            return
        (self._send_together if self._random.random() < 0.3 else self._post)()
        self._board.pause(self._random.uniform(0, 0.3))

    def _post(self) -> None:
        for _ in range(DEPTH):
            instance, label = self._next()
            invoked = monotonic()
            try:
                self._manager.transition_nowait(instance, "go", label)
            except FAILURES as error:
                self._wrote(instance, label, invoked, outcome_of(error))
                self._flush()
                if self._manager is not None:
                    self._after(error)
                return
            self._open.append((instance, label, invoked))
        self._flush()

    def _flush(self, within: float = 2.5) -> None:
        """Wait until all posts are applied; if that takes too long, they remain open."""
        try:
            self._manager.flush(within)
        except spex.CallTimeout:
            if self._deployment.place() != self._place:
                self._resolve(Outcome.UNKNOWN)
                self._leave()
        except FAILURES as error:
            self._resolve(Outcome.UNKNOWN)
            self._after(error)
        else:
            self._resolve(Outcome.ACKNOWLEDGED)

    def _resolve(self, outcome: Outcome) -> None:
        posts, self._open = self._open, []
        for post in posts:
            self._wrote(*post, outcome)

    def _send_together(self) -> None:
        sent = [(*self._next(), monotonic()) for _ in range(DEPTH // 2)]
        try:
            self._manager.transition_many((instance, "go", label) for instance, label, _ in sent)
        except FAILURES as error:
            outcome = Outcome.UNKNOWN
            self._open = sent
            self._resolve(outcome)
            self._after(error)
        else:
            self._open = sent
            self._resolve(Outcome.ACKNOWLEDGED)

    def _leave(self) -> None:
        self._resolve(Outcome.UNKNOWN)
        super()._leave()

    def _settle(self) -> None:
        deadline = monotonic() + 60
        while self._open and self._manager is not None and monotonic() < deadline:
            self._flush()
        self._resolve(Outcome.UNKNOWN)
        super()._settle()


class Reader(Client):
    """Reads the newest entries of instances."""

    def turn(self) -> None:
        """Make one read."""
        instance = self._random.choice(self._board.instances)
        invoked = monotonic()
        try:
            found = self._manager.get_instance(instance, history_limit=SHOWN)
        except spex.InstanceNotFound:
            self._saw(instance, (), invoked)
        except FAILURES as error:
            self._after(error)
        else:
            self._saw(instance, tuple(entry.to_state for entry in found.history), invoked)
        self._board.pause(0.003)

    def _saw(self, instance: str, labels: tuple[str, ...], invoked: float) -> None:
        self.reads.append(Read(self.label, instance, labels, invoked, monotonic()))
        self.progress += 1


class Stubborn(Reader):
    """Reads through the manager that it has, also while another place serves: a replaced owner must not answer it."""

    stubborn = True

    def _after(self, error: BaseException) -> None:
        if not self._board.faulty:
            super()._after(error)


ROLES: Final[dict[str, Callable[..., Client]]] = {"w": Blocking, "p": Pipelined, "r": Reader, "s": Stubborn}
