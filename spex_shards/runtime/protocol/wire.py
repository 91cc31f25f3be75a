"""The bytes that processes exchange: frames on pipes, and messages with descriptors on sockets.

A frame on a pipe::

    ┌────────────────┬───────────────────────────────┐
    │ length, 4 B BE │ msgpack, `length` bytes       │
    └────────────────┴───────────────────────────────┘

A message on a ``SOCK_SEQPACKET`` socket is one msgpack list, which descriptors may accompany (``SCM_RIGHTS``).
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ...errors import DataDirError
from ..system.descriptors import lifted
from ..system.stream import CHUNK
from . import codec
from .requests import ProtocolError
from .sent import LENGTH

MAX_MESSAGE: Final = 65536
MAX_DESCRIPTORS: Final = 8
_LONGEST_PATH: Final = 107
_HEADER = struct.Struct(">I")
_SUCCESS: Final = struct.Struct(">IBBQB")
_SUCCESS_FORM: Final = (_SUCCESS.size - LENGTH, 0x92, 0xCF, 0x90)


def success(upto: int) -> bytes:
    """Return the frame of a reply without answers: all requests up to a number have succeeded.

    Unlike what msgpack makes of it, it has the same length for each number. So `FrameReader` reads it without msgpack.
    """
    length, pair, number, nothing = _SUCCESS_FORM
    return _SUCCESS.pack(length, pair, number, upto, nothing)


class FrameReader:
    """Splits a stream of bytes into frames.

    Args:
        limit: Most bytes of one frame.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """Add bytes; return the plain values of all frames that are complete now.

        Raises:
            ProtocolError: A frame is too long or malformed; the rest of the stream cannot be read.
        """
        try:
            if len(data) >= LENGTH and not self._buffer:
                if len(data) == _SUCCESS.size:
                    length, pair, number, upto, nothing = _SUCCESS.unpack(data)
                    if (length, pair, number, nothing) == _SUCCESS_FORM and length <= self._limit:
                        return [[upto, []]]
                (length,) = _HEADER.unpack_from(data)
                if length == len(data) - LENGTH and length <= self._limit:  # nearly always: exactly one frame
                    return [codec.unpack(data[LENGTH:])]
            return self._cut(data)
        except ProtocolError:
            raise
        except ValueError as error:
            raise ProtocolError(f"a malformed frame: {error}") from None

    def _cut(self, data: bytes) -> list[Any]:
        buffer: bytes | bytearray = data
        if self._buffer:
            self._buffer += data
            buffer = self._buffer
        frames, start, size = [], 0, len(buffer)
        while size - start >= LENGTH:
            (length,) = _HEADER.unpack_from(buffer, start)
            if length > self._limit:
                raise ProtocolError(f"a frame of {length} bytes where at most {self._limit} are allowed")
            end = start + LENGTH + length
            if end > size:
                break
            frames.append(codec.unpack(buffer[start + LENGTH : end]))
            start = end
        if buffer is data:
            if start < size:
                self._buffer += data[start:]
        else:
            del self._buffer[:start]
        return frames


def receive_frame(connection: socket.socket, limit: int) -> Any:
    """Wait for the first frame on a stream socket; return its plain value. What follows it is not read.

    Raises:
        EOFError: The other end was closed before a frame was complete.
        ProtocolError: The bytes are not a frame.
    """
    reader, header = FrameReader(limit), _exactly(connection, LENGTH)
    (length,) = _HEADER.unpack(header)
    frames = reader.feed(header) if length > limit else reader.feed(header + _exactly(connection, length))
    return frames[0]


def _exactly(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        data = connection.recv(min(CHUNK, size - len(received)))
        if not data:
            raise EOFError
        received += data
    return bytes(received)


def pipe() -> tuple[int, int]:
    """Return the reading and the writing end of a new non-blocking pipe, which is closed in other programs (`exec`)."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    return lifted(reading), lifted(writing)


def send_message(to: socket.socket, message: list[Any], descriptors: tuple[int, ...] = ()) -> bool:
    """Send a message without waiting; return False if the socket is full, so that nothing was sent.

    Raises:
        OSError: The other side is gone.
    """
    data = codec.pack(message)
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    try:
        to.sendmsg([data], ancillary, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except BlockingIOError:
        return False
    return True


def receive_message(sender: socket.socket) -> tuple[list[Any], list[int]] | None:
    """Return the next message and its descriptors, without waiting, or None if there is no message yet.

    Raises:
        EOFError: The other side is closed.
        ProtocolError: The message is malformed; its descriptors are closed.
    """
    space = socket.CMSG_SPACE(MAX_DESCRIPTORS * struct.calcsize("i"))
    how = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    try:
        try:
            data, ancillary, flags, _ = sender.recvmsg(MAX_MESSAGE, space, how)
        except ConnectionResetError:
            # Said once, before what has arrived: the other side closed before it had read everything.
            data, ancillary, flags, _ = sender.recvmsg(MAX_MESSAGE, space, how)
    except BlockingIOError:
        return None
    except ConnectionError:
        raise EOFError from None
    descriptors = _descriptors(ancillary)
    if not data and not descriptors:
        raise EOFError
    try:
        if flags & socket.MSG_TRUNC:
            raise ValueError("it is too long")
        if flags & socket.MSG_CTRUNC:
            raise ValueError("its descriptors are too many, or this process has none left")
        message = codec.unpack(data)
        if type(message) is not list or not message or type(message[0]) is not str:
            raise ValueError("it is not a list that starts with a word")
    except ValueError as error:
        for descriptor in descriptors:
            os.close(descriptor)
        raise ProtocolError(f"a malformed message: {error}") from None
    return message, descriptors


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return the process id and the user id on the other side of a Unix socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    return pid, uid


def check_peer(connection: socket.socket, path: Path) -> None:
    """Raise an error if the other side is another user's process. Call it before anything is sent.

    Args:
        connection: A connected Unix socket.
        path: The socket's path, for the error.

    Raises:
        DataDirError: The process on the other side belongs neither to this user nor to root.
        OSError: The system does not say whose process it is.
    """
    pid, uid = peer(connection)
    if uid not in (os.geteuid(), 0):
        raise DataDirError(
            f"the process that listens at {path} (pid {pid}) belongs to user {uid}, and this process to user "
            f"{os.geteuid()}: nothing is sent there",
            path=str(path),
            pid=pid,
        )


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """Give an address for a Unix socket at `path`, also if the path is too long for one."""
    text = str(path)
    if len(os.fsencode(text)) <= _LONGEST_PATH:
        yield text
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return [lifted(descriptor) for descriptor in found]
