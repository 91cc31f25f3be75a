"""The introducer of a cluster: a client's daemon thread that finds shards, connects with them, and finds them again.

For each shard, it asks the directory for the address, has a thread open the connections, asks for a channel on the
control connection, and makes the streams the channel's line. When the shard has moved, the gate is gone, or gives no
sign of life, it starts anew. What was not answered is sent again, on the next line, as on one machine.

# Guarantees:
#
# * It waits only for its descriptors, as a courier does: directories and connections that block are for other threads.
# * Callers hand over to it through deques and a descriptor that wakes it, so a signal handler may call it at any time.
"""

from __future__ import annotations

import select
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from ...errors import ManagerClosed, ShardDown
from ..client.channel import Channel
from ..client.events import EventPipes, Listener
from ..client.introducer import Introducer, MakeIntroducer
from ..client.lines import given_up
from ..client.ownership import Ownership
from ..client.pump import Pump
from ..protocol import control as say
from ..protocol.requests import OLDEST_PROTOCOL, PROTOCOL_VERSION, ProtocolError
from ..shard_info import ShardStatus, is_status_row
from ..system.threads import Helper
from ..system.waits import capped, milliseconds
from ..system.wakeup import Wakeup
from .connecting import Access, Joined
from .directory import Directory
from .joiners import Joiners
from .polls import Polls
from .way import Standing, Way

_NOBODY: Final = "no process has the shard"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an introducer waits, in seconds.

    Attributes:
        ping: After which a shard's supervisor is asked for a sign of life; after twice as long without, it is dead.
        takeover: How long calls wait for a shard that is nowhere, before they get an error.
    """

    ping: float = 2.0
    takeover: float = 60.0


def by_directory(directory: Directory, access: Access, patience: Patience) -> MakeIntroducer:
    """Return a function that creates a client's introducer, for shards that are found by a directory."""

    def introduce(
        client_id: bytes, channels: Sequence[Channel], listener: Listener, _ownership: Ownership | None
    ) -> Introducer:
        return ClusterIntroducer(directory, access, patience, client_id, channels, listener)

    return introduce


class ClusterIntroducer:
    """Connects the channels of one process with shards on any machine; see `Introducer`.

    Args:
        directory: Says where shards are.
        access: How this process is let in.
        patience: How long to wait.
        client_id: 16 random bytes.
        channels: The channels, by shard.
        listener: Receives events, in order per shard.
    """

    def __init__(
        self,
        directory: Directory,
        access: Access,
        patience: Patience,
        client_id: bytes,
        channels: Sequence[Channel],
        listener: Listener,
    ) -> None:
        self._client_id = client_id
        self._channels, self._listener = channels, listener
        self._patience = patience
        self._ways = [Way(channel.shard, patience.ping) for channel in channels]
        self._wanted: deque[int] = deque()
        self._wakeup = Wakeup()
        self._poll = select.poll()
        self._poll.register(self._wakeup.descriptor, select.POLLIN)
        self._by_descriptor: dict[int, Way] = {}
        self._joiners = Joiners(directory, access, self.wake)
        self._polls = Polls()
        self._events = EventPipes(self._poll, listener)
        self._pump = Pump(self._poll, channels)
        self._stop = False
        self._decided = threading.Event()
        self._refusal: ShardDown | None = None
        self._thread: Helper | None = None

    def start(self, within: float | None, *, patient: bool = False) -> None:
        """Start the thread, and wait up to `within` seconds until a shard has attached this process.

        Raises:
            ShardDown: No shard can be reached, or this process is refused.
            RuntimeError: The system gives no thread.
        """
        self._stop = False
        thread = Helper(self._run, "spex-shards-introducer")
        thread.start()
        self._thread = thread
        if patient or within is None:
            return
        for channel in self._channels:
            channel.lines.open()
        if not self._decided.wait(capped(within)):
            why = next((way.why for way in self._ways if way.why), "no answer")
            self.stop()
            raise ShardDown(f"no shard of the cluster could be reached within {within} s: {why}", maybe_executed=False)
        refusal = self._refusal
        if refusal is not None:
            self.stop()
            raise refusal

    def want(self, shard: int) -> None:
        """Ask for a channel to be opened; never blocks."""
        self._wanted.append(shard)
        self.wake()

    def blocked(self, shard: int) -> None:
        """Ask for a channel's unwritten requests to be written; never blocks."""
        self._pump.blocked(shard)
        self.wake()

    def status(self, timeout: float) -> list[Any]:
        """Return the status rows, one per shard; a shard that is nowhere has the row of one that is being restarted.

        Raises:
            ShardDown: Not all that could answer did so in time.
        """
        return list(self._ask(None, timeout))

    def revive(self, shard: int, timeout: float) -> None:
        """Ask for a shard that was given up to be restarted.

        Raises:
            ShardDown: There was no answer in time.
        """
        self._ask(shard, timeout)

    def _ask(self, revived: int | None, timeout: float) -> Any:
        question = self._polls.ask(revived, len(self._ways))
        self.wake()
        if self._stop:  # by a call that this one interrupts, or that interrupts it: nobody would answer
            self._polls.end()
        if not question.answered.wait(capped(timeout)):
            raise ShardDown(f"there was no answer within {timeout} s", maybe_executed=revived is not None)
        if question.ended:
            raise ManagerClosed("the manager was closed before the shards had answered")
        return question.answer

    def stop(self) -> None:
        """End the thread, read the events that have arrived, and close everything. It may be called again."""
        self._stop = True
        self._joiners.stop()
        self.wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.wait()
            self._events.read_all()
        self._polls.end()
        self._let_go()

    def _let_go(self) -> None:
        for way in self._ways:
            way.drop()
        self._by_descriptor.clear()
        self._events.close()

    def forget(self) -> None:
        """In a forked child: close this process's descriptors without telling the other side."""
        self._joiners.forget()
        self._let_go()
        self._wakeup.close()

    def wake(self) -> None:
        """Have the loop check everything; never blocks."""
        self._wakeup.wake()

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stop:
            ready = self._poll.poll(self._timeout())
            self._pump.unwatch()
            for descriptor, _ in ready:
                self._ready(descriptor)
            self._events.read_again()
            self._take_joined()
            self._join_wanted()
            self._look_at_all()
            self._polls.send(self._ways, self._lost)
            self._pump.work()

    def _timeout(self) -> int:
        times = [at for way in self._ways if (at := way.next_look) is not None]
        if self._pump.next_look is not None:
            times.append(self._pump.next_look)
        return milliseconds(min(times) - monotonic() if times else None)

    def _ready(self, descriptor: int) -> None:
        way = self._by_descriptor.get(descriptor)
        if descriptor == self._wakeup.descriptor:
            self._wakeup.clear()
        elif descriptor in self._events:
            self._events.read(descriptor)
        elif way is not None:
            self._hear(way)

    def _join_wanted(self) -> None:
        while self._wanted:
            way = self._ways[self._wanted.popleft()]
            if self._channels[way.shard].lines.wants_pipes and way.standing in (Standing.IDLE, Standing.OPEN):
                self._drop(way)
                self._join(way)

    def _join(self, way: Way) -> None:
        way.join()
        try:
            self._joiners.join(way.shard)
        except RuntimeError as error:  # the system gives no thread
            way.wait(f"no thread could be started: {error}")

    def _take_joined(self) -> None:
        for shard, joined, why in self._joiners.taken():
            way = self._ways[shard]
            if joined is None:
                way.wait(why or _NOBODY)
                if self._joiners.refused:
                    self._decide(ShardDown(way.why, maybe_executed=False))
                continue
            attach = say.Attach(PROTOCOL_VERSION, self._client_id, OLDEST_PROTOCOL)
            try:
                way.take(joined, [attach, say.Open(shard)])
            except OSError as error:
                self._lost(way, str(error))
                continue
            self._by_descriptor[way.descriptor] = way
            self._poll.register(way.descriptor, select.POLLIN)

    def _look_at_all(self) -> None:
        now = monotonic()
        for way in self._ways:
            try:
                if way.look(lambda way=way: way.say(say.AskStatus())):  # type: ignore[misc]
                    self._lost(way, f"no sign of life for {2 * self._patience.ping:g} s")
            except OSError as error:
                self._lost(way, str(error))
            if way.standing is Standing.WAITING and way.again_at <= now:
                self._join(way)
            if way.lost_at is not None and not way.told and now > way.lost_at + self._patience.takeover:
                self._tell(way)

    def _tell(self, way: Way) -> None:
        """Answer the calls that have waited long enough for a shard that is nowhere."""
        if way.standing is not Standing.ASKING:  # else its supervisor is there, and says how the shard is
            way.told = True
            text = f"shard {way.shard} could not be reached for {self._patience.takeover:g} s: {way.why}"
            self._channels[way.shard].lines.fail(ShardDown(text, shard=way.shard, maybe_executed=True))

    def _unwatch(self, way: Way) -> None:
        # A connection that broke while its first messages were sent was never watched.
        if self._by_descriptor.pop(way.descriptor, None) is not None:
            self._poll.unregister(way.descriptor)

    def _drop(self, way: Way) -> None:
        self._unwatch(way)
        way.drop()
        self._polls.lost(way)

    def _lost(self, way: Way, why: str) -> None:
        """Start anew with a shard: its gate is gone, or the shard is somewhere else."""
        self._unwatch(way)
        way.wait(why)
        self._polls.lost(way)
        if not way.told:
            self._channels[way.shard].lines.lose()

    # ------------------------------------------------------------------ what supervisors say

    def _hear(self, way: Way) -> None:
        try:
            for plain in way.hear():
                if say.TO_CLIENT.knows(plain) and way.joined is not None:
                    self._take(way, way.joined, say.TO_CLIENT.read(plain))
        except (EOFError, OSError, ProtocolError, ValueError) as error:
            self._lost(way, str(error))

    def _take(self, way: Way, joined: Joined, message: say.Message) -> None:
        lines, shard = self._channels[way.shard].lines, way.shard
        match message:
            case say.Attached(shards, _, version, limit):
                self._take_in(way, shards, version, limit)
            case say.Refused(oldest, newest):
                text = f"the gate at {joined.address} speaks protocol versions {oldest} to {newest}, and this process "
                text += f"{OLDEST_PROTOCOL} to {PROTOCOL_VERSION}: use the same version of spex_shards on both sides"
                self._decide(ShardDown(text, maybe_executed=False))
                lines.fail(ShardDown(text, maybe_executed=False))
            case say.Ends(index, generation, pid) if index == shard and joined.streams:
                self._install(way, joined, generation, pid)
            case say.Down(index, generation, _, exit_text) if index == shard:
                lines.break_if(generation, exit_text)
            case say.Failed(index, pid, exit_text) if index == shard:
                lines.fail(given_up(shard, pid, exit_text, self._channels[shard].last_request))
                way.failed()
            case say.Moved(index, why) if index == shard:
                self._lost(way, why)
            case say.Up(index) if index == shard:
                lines.revive()
            case say.Revived(index) if index == shard:
                lines.revive()
                self._polls.revived(shard)
            case say.Status(rows) if not all(map(is_status_row, rows)):
                raise ProtocolError("a malformed status row")
            case say.Status(rows) if rows and all(row[2] == ShardStatus.STOPPED for row in rows):
                self._lost(way, "its supervisor has stopped")
            case say.Status(rows):
                self._polls.answered(way, rows)

    def _take_in(self, way: Way, shards: int, version: int, limit: int | None) -> None:
        if shards != len(self._channels):
            text = f"the cluster has {shards} shards, and this process routes by {len(self._channels)}"
            failure = ShardDown(f"{text}; make a new manager", maybe_executed=True)
            self._decide(failure)
            for channel in self._channels:
                channel.lines.fail(failure)
            return
        self._channels[way.shard].lines.agree(version, limit)
        self._decide(None)

    def _install(self, way: Way, joined: Joined, generation: int, pid: int) -> None:
        lines = self._channels[way.shard].lines
        requests, replies, events = joined.streams
        joined.streams = []
        self._events.add(events, way.shard, pid)
        lines.revive()
        try:
            lines.install(generation, pid, requests, replies)
        except OSError as error:  # no descriptor is left
            self._listener.say(f"the channel to shard {way.shard} could not be opened: {error}", "channel_failed")
            self._lost(way, str(error))
            return
        way.opened()

    def _decide(self, refusal: ShardDown | None) -> None:
        if not self._decided.is_set():
            self._refusal = refusal
            self._decided.set()
