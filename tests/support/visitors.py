"""Visitors of the example shops: they order, pay and ship over a Unix socket, and note what was answered."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

STEPS = (("", "new"), ("/pay", "paid"), ("/ship", "shipped"))


class Visitors:
    """Threads that place orders until they are told to stop.

    Args:
        path: The socket of the web server.
        count: How many visitors there are at once.

    Attributes:
        acknowledged: Order → the states that were answered.
        uncertain: Order → the state of a request that was cut off; the order gets no further ones.
        wrong: What the server answered in place of success.
    """

    def __init__(self, path: Path, count: int = 4) -> None:
        self._path = path
        self._stop = threading.Event()
        self.acknowledged: dict[str, list[str]] = {}
        self.uncertain: dict[str, str] = {}
        self.wrong: list[str] = []
        self._threads = [threading.Thread(target=self._visit, args=(f"v{index}",)) for index in range(count)]
        for thread in self._threads:
            thread.start()

    @property
    def served(self) -> int:
        """How many requests were answered with success."""
        return sum(len(states) for states in list(self.acknowledged.values()))

    def leave(self) -> None:
        """Have all visitors finish what they do, and wait for that."""
        self._stop.set()
        for thread in self._threads:
            thread.join(90)

    def _visit(self, name: str) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            self._order(f"{name}-{number}")

    def _order(self, order: str) -> None:
        for path, state in STEPS:
            try:
                status, body = self._post(f"/orders/{order}{path}")
            except (OSError, http.client.HTTPException):
                self.uncertain[order] = state
                self._stop.wait(0.02)
                return
            if status not in (200, 201):
                self.wrong.append(f"{order}{path}: {status} {body}")
                return
            self.acknowledged.setdefault(order, []).append(state)

    def _post(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("localhost", timeout=90)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.settimeout(90)
            connection.sock.connect(str(self._path))
            connection.request("POST", path, headers={"Connection": "close", "Content-Length": "0"})
            answer = connection.getresponse()
            return answer.status, answer.read(2000).decode(errors="replace")
        finally:
            connection.close()

    def compare(self, stored: Iterable[tuple[str, list[str]]]) -> Counter[str]:
        """Compare the answers with the stored histories; return what is wrong.

        Args:
            stored: Each order with the states of its history.
        """
        found = dict(stored)
        wrong: Counter[str] = Counter()
        every = [state for _, state in STEPS]
        for order in {*found, *self.acknowledged, *self.uncertain}:
            known, there = self.acknowledged.get(order, []), found.get(order, [])
            wrong["lost"] += there[: len(known)] != known
            wrong["doubled or out of order"] += there != every[: len(there)]
            more = there[len(known) :]
            wrong["of nobody"] += bool(more) and more != [self.uncertain.get(order)]
        return +wrong


def wait_for_socket(path: Path, within: float = 60.0) -> None:
    """Wait until a server accepts connections at a Unix socket."""
    deadline = time.monotonic() + within
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
                return
            except OSError:
                assert time.monotonic() < deadline, f"nobody listens at {path}"
                time.sleep(0.02)
