"""A client without manners: it attaches as others do, and then writes whatever bytes it is told to."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import Any

from spex_shards.protocol import PROTOCOL_VERSION, Kind
from spex_shards.session import frame
from spex_shards.wire import FrameReader, read_available, receive_message, send_message, socket_address

from .conftest import wait_until


class RawClient:
    """Attached to the supervisor of a data directory, with the pipes of one shard.

    Args:
        data_dir: Whose.
        shard: Which shard.
        greet: Whether the hello is sent, so that requests may follow from number 1 on.
    """

    def __init__(self, data_dir: Path, shard: int = 0, *, greet: bool = True) -> None:
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with socket_address(data_dir / "run" / "socket") as address:
            self.connection.connect(address)
        send_message(self.connection, ["attach", PROTOCOL_VERSION, secrets.token_bytes(16)])
        self.expect("attached")
        send_message(self.connection, ["open", shard])
        self.ends = self.expect("channel")
        self.requests, self.replies, self.events = self.ends
        self._reader = FrameReader(1 << 30)
        if greet:
            self.send(0, 0, Kind.HELLO, os.getpid(), PROTOCOL_VERSION, 1, False, False)

    def expect(self, word: str) -> list[int]:
        """Wait for a message of the supervisor; return its descriptors."""
        message, descriptors = wait_until(lambda: receive_message(self.connection), f"the supervisor says {word!r}")
        assert message[0] == word, message
        return list(descriptors)

    def send(self, *plain: Any) -> None:
        """Write one frame."""
        os.write(self.requests, frame(plain))

    def answer(self) -> list[Any]:
        """Wait for what the shard writes; return its first frame."""
        frames: list[Any] = []

        def read() -> bool:
            frames.extend(self._reader.feed(read_available(self.replies) or b""))
            return bool(frames)

        wait_until(read, "the shard answers")
        return list(frames[0])

    def close(self) -> None:
        """Go without a word, as a killed process does."""
        self.connection.close()
        for descriptor in self.ends:
            os.close(descriptor)
