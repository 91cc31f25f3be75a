"""The port that says where shards are, and the directories that need no cluster manager: a file, and the database."""

from __future__ import annotations

import os
import socket
import threading
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from ...errors import DataDirError
from ..store.postgres.namespace import Namespace
from ..store.postgres.places import PostgresStores
from .address import Address

_AT: Final = " at "
_LONGEST_QUESTION: Final = 15.0
_FRESH: Final = 0.2
"""Seconds for which an answer of the database counts: many shards ask at the same time."""


class Directory(Protocol):
    """Says where the gate is that leads to a shard. Any thread may ask; a question may take some seconds."""

    def find(self, shard: int) -> Address | None:
        """Return the address of a shard's gate; None: no process has the shard now.

        Raises:
            SpexError: The directory cannot be asked.
        """


def known_as(address: Address) -> str:
    """Return how the database names the owner of a shard, so that clients can find it."""
    return f"process {os.getpid()} on {socket.gethostname()}{_AT}{address}"


def address_in(owner: str) -> Address | None:
    """Return the address in an owner's name, or None: its manager lets no clients of other machines in."""
    _, at, text = owner.rpartition(_AT)
    try:
        return Address.of(text) if at else None
    except ValueError:
        return None


class OwnersDirectory:
    """Looks in the database who has claimed the shard.

    Args:
        namespace: The namespace.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._stores = PostgresStores(namespace)
        self._asking, self._process = threading.Lock(), os.getpid()
        self._owners: Mapping[int, str] = {}
        self._asked = float("-inf")

    def find(self, shard: int) -> Address | None:
        """Return the address that the owner of a shard has recorded with its claim; see `Directory.find`."""
        if self._process != os.getpid():  # forked, perhaps while a thread of the parent was asking
            self._asking, self._process = threading.Lock(), os.getpid()
        if not self._asking.acquire(timeout=_LONGEST_QUESTION):
            raise DataDirError("the database with the owners of the shards does not answer")
        try:
            if time.monotonic() > self._asked + _FRESH:
                self._owners = self._stores.owners()
                self._asked = time.monotonic()
        finally:
            self._asking.release()
        return address_in(self._owners.get(shard, ""))


class FileDirectory:
    """Reads in a file which gate leads to which shards; the file is read again whenever it has changed.

    A TOML file with a table for each gate::

        [gates]
        "10.0.0.1:7711" = "0-31"
        "10.0.0.2:7711" = "32-63"

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: tuple[int, int] | None = None
        self._gates: dict[int, Address] = {}

    def find(self, shard: int) -> Address | None:
        """Return the address of a shard's gate; see `Directory.find`."""
        try:
            state = self._path.stat()
            if self._read_at != (state.st_mtime_ns, state.st_ino):
                self._gates = gates_in(tomllib.loads(self._path.read_text("utf-8")), str(self._path))
                self._read_at = state.st_mtime_ns, state.st_ino
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise DataDirError(f"the list of gates cannot be read: {error}", path=str(self._path)) from None
        return self._gates.get(shard)


def gates_in(table: Mapping[str, Any], origin: str) -> dict[int, Address]:
    """Return shard → address of its gate, from the content of a file.

    Args:
        table: The content.
        origin: The file's name, for errors.

    Raises:
        DataDirError: It is malformed; names the entry.
    """
    gates = table.get("gates")
    if not isinstance(gates, dict) or not gates:
        raise DataDirError(f'{origin} must have a table [gates] with entries like "10.0.0.1:7711" = "0-31"')
    found: dict[int, Address] = {}
    for text, shards in gates.items():
        try:
            address, numbers = Address.of(text), numbers_in(shards)
        except ValueError as error:
            raise DataDirError(f"{origin}: the entry {text!r} in [gates]: {error}") from None
        twice = sorted(numbers & found.keys())
        if twice:
            raise DataDirError(f"{origin}: shard {twice[0]} is in [gates] twice, at {found[twice[0]]} and {address}")
        found |= dict.fromkeys(numbers, address)
    return found


_RANGES: Final = 'numbers and ranges like "0-31,40"'


def numbers_in(text: Any) -> set[int]:
    """Return the numbers in a text like "0-31,40".

    Raises:
        ValueError: It is none.
    """
    found: set[int] = set()
    for part in text.split(",") if isinstance(text, str) else ():
        low, _, high = (one.strip() for one in part.partition("-"))
        ends = (low, high or low)
        if not all(one.isascii() and one.isdecimal() and len(one) < 6 for one in ends) or int(low) > int(ends[1]):
            raise ValueError(f"shards must be {_RANGES}, got: {text!r}")
        found |= set(range(int(low), int(ends[1]) + 1))
    if not found:
        raise ValueError(f"shards must be {_RANGES}, got: {text!r}")
    return found
