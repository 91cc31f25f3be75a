"""Queues that several threads empty at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import TypeVar

_Entry = TypeVar("_Entry")


def taken_from(queue: deque[_Entry]) -> Iterator[_Entry]:
    """Take the entries out of a queue, oldest first, until it is empty; each goes to one of those who take."""
    with suppress(IndexError):
        while True:
            yield queue.popleft()
