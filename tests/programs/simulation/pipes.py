"""Simulated pipes by descriptor numbers, and a poll over them."""

from __future__ import annotations

import select
from random import Random
from typing import Any

from spex_shards.runtime.protocol.control import TO_WORKER, Message
from spex_shards.runtime.system.helper_process import HelperFailed
from spex_shards.runtime.system.stream import Stream


class Pipe:
    """The bytes in a pipe: a bounded buffer, and whether each end is open."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.data = bytearray()
        self.reader_open = self.writer_open = True


class Net:
    """All descriptors of a simulated machine."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._ends: dict[int, tuple[Pipe, bool]] = {}
        self._next = 1_000_000
        self.later: list[int] = []
        """Ends that are closed some time: helpers that are still at work."""

    def pipe(self) -> tuple[int, int]:
        """Return the ends (reading, writing) of a new pipe, often a very small one."""
        made = Pipe(self._random.choice([64, 700, 65536]))
        self._ends[self._next], self._ends[self._next + 1] = (made, True), (made, False)
        self._next += 2
        return self._next - 2, self._next - 1

    def end_one(self) -> None:
        """End one helper, if any is at work."""
        if self.later:
            self.close(self.later.pop(0))

    def read(self, descriptor: int) -> bytes | None:
        """Read a part of what is there; None: nothing yet; empty: the other end is closed."""
        pipe, _ = self._ends[descriptor]
        if not pipe.data:
            return None if pipe.writer_open else b""
        size = self._random.choice([len(pipe.data), self._random.randint(1, len(pipe.data))])
        data = bytes(pipe.data[:size])
        del pipe.data[:size]
        return data

    def write(self, descriptor: int, data: Any) -> int:
        """Write what fits."""
        pipe, _ = self._ends[descriptor]
        if not pipe.reader_open:
            raise BrokenPipeError
        size = min(len(data), pipe.capacity - len(pipe.data))
        pipe.data += bytes(data[:size])
        return size

    def behind(self, descriptor: int) -> Pipe:
        """Return the pipe that a descriptor is an end of."""
        return self._ends[descriptor][0]

    def close(self, descriptor: int) -> None:
        """Close an end."""
        pipe, reads = self._ends.pop(descriptor)
        if reads:
            pipe.reader_open = False
        else:
            pipe.writer_open = False

    def readable(self, descriptor: int) -> bool:
        """Return whether a read would return something."""
        pipe, _ = self._ends[descriptor]
        return bool(pipe.data) or not pipe.writer_open

    def writable(self, descriptor: int) -> bool:
        """Return whether a write would accept something, or fail."""
        pipe, _ = self._ends[descriptor]
        return not pipe.reader_open or len(pipe.data) < pipe.capacity

    def has(self, descriptor: int) -> bool:
        """Return whether a descriptor is open."""
        return descriptor in self._ends


class SimStream:
    """One end of a simulated pipe."""

    def __init__(self, net: Net, descriptor: int) -> None:
        self._net = net
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def read(self) -> bytes | None:
        """Read a part of what is there."""
        return self._net.read(self._descriptor)

    def write(self, data: Any) -> int:
        """Write what fits."""
        return self._net.write(self._descriptor, data)

    def close(self) -> None:
        """Close this end."""
        self._net.close(self._descriptor)


class Poll:
    """An epoll over simulated descriptors and the control socket."""

    def __init__(self, net: Net, control: Control) -> None:
        self._net = net
        self._control = control
        self._watched: dict[int, int] = {}

    def register(self, descriptor: Any, events: int) -> None:
        """Watch a descriptor."""
        self._watched[descriptor if isinstance(descriptor, int) else descriptor.fileno()] = events

    def unregister(self, descriptor: Any) -> None:
        """Stop watching a descriptor."""
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        if self._watched.pop(number, None) is None:
            raise FileNotFoundError

    def modify(self, descriptor: Any, events: int) -> None:
        """Watch a descriptor for other events."""
        self.register(descriptor, events)

    def poll(self, timeout: float = 0) -> list[tuple[int, int]]:
        """Return the ready descriptors; never waits."""
        assert 0 <= timeout < 1 << 21, "longer than a system call takes, or for ever"
        ready = []
        for number, events in list(self._watched.items()):
            if number == self._control.fileno():
                if self._control.messages:
                    ready.append((number, events))
            elif not self._net.has(number):
                del self._watched[number]
            elif self._net.readable(number) if events & select.EPOLLIN else self._net.writable(number):
                ready.append((number, events))
        return ready


class Control:
    """The connection between supervisor and worker."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self.messages: list[tuple[list[Any], list[int]]] = []

    def fileno(self) -> int:
        """Return its number."""
        return 999_999

    def receive(self) -> tuple[Message, list[Stream]] | None:
        """Return the next message, with the ends of its pipes."""
        if not self.messages:
            return None
        plain, descriptors = self.messages.pop(0)
        return TO_WORKER.read(plain), [SimStream(self._net, descriptor) for descriptor in descriptors]

    def say(self, _message: Message) -> bool:
        """Take a message that nobody reads."""
        return True


class SimHelper:
    """A helper process that ends some time later; it may fail."""

    def __init__(self, net: Net, random: Random) -> None:
        self._net = net
        self._random = random
        self._words = ""
        self.descriptor = -1

    def start(self, work: Any) -> None:
        """Do the work; the result can be read later."""
        self._words = work(lambda: None)
        self.descriptor, end = self._net.pipe()
        self._net.close(end) if self._random.random() < 0.3 else self._net.later.append(end)

    def ended(self) -> str:
        """Return the result; called when the helper's pipe has ended."""
        self.die()
        if self._random.random() < 0.1:
            raise HelperFailed("killed")
        return self._words

    def die(self) -> None:
        """The parent has read its result, or is dead."""
        if self.descriptor >= 0:
            self._net.close(self.descriptor)
            self.descriptor = -1
