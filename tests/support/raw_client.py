"""A client that breaks the rules: it attaches as others do, and then writes any bytes."""

from __future__ import annotations

import os
import secrets
import select
import socket
from collections import deque
from pathlib import Path
from typing import Any

from spex_shards.runtime.protocol.requests import PROTOCOL_VERSION
from spex_shards.runtime.protocol.session import ClientSession, frame
from spex_shards.runtime.protocol.wire import FrameReader, receive_message, send_message, socket_address
from spex_shards.runtime.system.stream import Descriptor
from tests.support.processes import wait_until


class RawClient:
    """A client attached to the supervisor of a data directory, with the pipes of one shard.

    Args:
        data_dir: The data directory.
        shard: The shard.
        greet: Whether to send the hello, so that requests may follow from number 1 on.
        client_id: Its id of 16 bytes; random if not given.
    """

    def __init__(self, data_dir: Path, shard: int = 0, *, greet: bool = True, client_id: bytes = b"") -> None:
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with socket_address(data_dir / "run" / "socket") as address:
            self.connection.connect(address)
        send_message(self.connection, ["attach", PROTOCOL_VERSION, client_id or secrets.token_bytes(16)])
        self.expect("attached")
        send_message(self.connection, ["open", shard])
        self.ends = self.expect("channel")
        self.requests, self.replies, self.events = self.ends
        self._reader = FrameReader(1 << 30)
        self._frames: deque[Any] = deque()
        if greet:
            os.write(self.requests, ClientSession().hello(os.getpid()))

    def expect(self, word: str) -> list[int]:
        """Wait for a message of the supervisor; return its descriptors."""
        message, descriptors = wait_until(lambda: receive_message(self.connection), f"the supervisor says {word!r}")
        assert message[0] == word, message
        return list(descriptors)

    def send(self, *plain: Any) -> None:
        """Write one frame."""
        os.write(self.requests, frame(plain))

    def answer(self) -> list[Any]:
        """Wait for the next frame that the shard writes."""
        poll = select.poll()
        poll.register(self.replies, select.POLLIN)
        while not self._frames:
            assert poll.poll(20_000), "waited 20 s in vain for an answer"
            self._frames += self._reader.feed(Descriptor(self.replies).read() or b"")
        return list(self._frames.popleft())

    def close(self) -> None:
        """Close everything without telling the other side, as a killed process does."""
        self.connection.close()
        for descriptor in self.ends:
            os.close(descriptor)
