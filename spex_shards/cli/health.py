"""A socket that answers ``GET /healthz``: whether all shards are ready."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ..errors import SpexError

PATH: Final = b"/healthz"
_ANSWER_WITHIN: Final = 1.0
"""Seconds that a client has to send its request and to take the answer; meanwhile no other client is answered."""
_LONGEST_REQUEST: Final = 8192
_REASONS: Final = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Health:
    """Answers on a socket of its own until it is closed; 503 until `watch` is called.

    Args:
        address: The path of an AF_UNIX socket, or ``host:port`` with a host of the loopback.

    Raises:
        ValueError: The address is neither.
        OSError: The address is in use, or the socket cannot be made.
    """

    def __init__(self, address: str) -> None:
        self._state: Callable[[], dict[str, Any]] | None = None
        self._path: Path | None = None
        self._socket = self._bound(address)
        self._socket.listen(16)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="spex-shards-health", daemon=True)
        self._thread.start()

    def watch(self, state: Callable[[], dict[str, Any]] | None) -> None:
        """From now on, answer with what `state` returns: an object whose `status` is "ok" or something else."""
        self._state = state

    def close(self) -> None:
        """Stop answering, and remove the socket's file."""
        self._closed = True
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread out of `accept`
        self._thread.join(2 * _ANSWER_WITHIN)
        self._socket.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    # ------------------------------------------------------------------ inside

    def _bound(self, address: str) -> socket.socket:
        host, colon, port = address.rpartition(":")
        if "/" in address or not colon:
            self._path = Path(address)
            _remove_left(self._path)
            return _listening(socket.AF_UNIX, address, address)
        host = host.removeprefix("[").removesuffix("]")
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"--health must have a port from 1 to 65535 after the colon, got: {address!r}")
        try:
            found = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        except ValueError:
            found = None
        if found is None or not found.is_loopback:
            rule = "the path of a socket, or 127.0.0.1:PORT or [::1]:PORT: it is for this machine only"
            raise ValueError(f"--health must be {rule}, got: {address!r}")
        family = socket.AF_INET if found.version == 4 else socket.AF_INET6
        return _listening(family, (str(found), int(port)), address)

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                if self._closed:
                    return
                threading.Event().wait(0.1)  # no descriptor is left for now
                continue
            with client:
                try:
                    client.settimeout(_ANSWER_WITHIN)
                    client.sendall(self._answer(_request_line(client)))
                except OSError:
                    pass  # the client has gone, or is too slow

    def _answer(self, line: bytes) -> bytes:
        method, _, rest = line.partition(b" ")
        if method not in (b"GET", b"HEAD"):
            return _response(405, {"error": "only GET and HEAD are answered"})
        if rest.split(b" ")[0].split(b"?")[0] != PATH:
            return _response(404, {"error": f"there is only {PATH.decode()}"})
        try:
            state = {"status": "starting"} if self._state is None else self._state()
        except SpexError as error:
            state = {"status": "unavailable", "error": str(error)}
        code = 200 if state["status"] == "ok" else 503
        answer = _response(code, {**state, "pid": os.getpid()})
        return answer if method == b"GET" else answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def _listening(family: socket.AddressFamily, address: Any, given: str) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        if family != socket.AF_UNIX:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(address)
    except OSError as error:
        one.close()
        raise OSError(f"--health {given}: {error.strerror or error}") from None
    return one


def _remove_left(path: Path) -> None:
    """Remove a socket on which nobody listens any more.

    Raises:
        OSError: Something else is there, or someone listens.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(f"--health {path}: something else is there already; name another path")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        if one.connect_ex(str(path)) == 0:
            raise FileExistsError(f"--health {path}: another process listens there; name another path")
    path.unlink(missing_ok=True)


def _request_line(client: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received and b"\n\n" not in received and len(received) < _LONGEST_REQUEST:
        more = client.recv(_LONGEST_REQUEST)
        if not more:
            break
        received += more
    return received.partition(b"\n")[0].rstrip(b"\r")


def _response(code: int, plain: dict[str, Any]) -> bytes:
    body = json.dumps(plain).encode() + b"\n"
    head = (
        f"HTTP/1.0 {code} {_REASONS[code]}\r\nContent-Type: application/json\r\n"
        f"Cache-Control: no-store\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
