"""The options that an owner sends to its supervisor."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)  # the URL of the store may contain a password
class SupervisorConfig:
    """The options of a supervisor; times in seconds.

    Attributes:
        host: The function that creates the `Host`, as ``module:function``; importing the module must start nothing.
        host_options: The first argument of that function.
        store: The URL of the database that the shards' stores are in; None: they are files of the directory.
        embedded: Whether the supervisor ends together with its owner.
        lock: The descriptor of the directory's lock, if the owner has taken it already; else -1.
        serves: Whether its owner runs it for other processes alone.
        hosts: In a cluster: the shards that this supervisor runs, of all; None: all, and nobody else runs any.
        known_as: In a cluster: how the database names this supervisor as the owner of its shards.
        resumes: Whether it takes the place of a supervisor that died, so that a database which another manager
            holds now, or in a cluster a shard which another member has claimed since, stays theirs.
    """

    data_dir: str
    shards: int
    durability: str
    host: str
    host_options: list[Any]
    max_restarts: int
    max_seconds: float
    retry_failed: float | None
    max_frame_bytes: int
    hang_timeout: float | None
    shutdown_timeout: float
    log_level: int
    embedded: bool
    search_path: list[str]
    store: str | None = None
    lock: int = -1
    serves: bool = False
    hosts: list[int] | None = None
    known_as: str = ""
    resumes: bool = False

    @property
    def joins(self) -> str | None:
        """In a cluster: the name as an owner; else None."""
        return None if self.hosts is None else self.known_as

    @property
    def claim(self) -> int:
        """What a shard's first store here resumes; see `StoreOptions`."""
        return -1 if self.resumes and self.hosts is not None else 0

    def plain(self) -> dict[str, Any]:
        """Return the plain form, for a frame. Paths become bytes there, because they need not be valid UTF-8."""
        path = os.fsencode(self.data_dir)
        return {**asdict(self), "data_dir": path, "search_path": [os.fsencode(place) for place in self.search_path]}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Self:
        """Return the options that a plain form stands for."""
        places = [os.fsdecode(place) for place in plain["search_path"]]
        return cls(**{**plain, "data_dir": os.fsdecode(plain["data_dir"]), "search_path": places})
