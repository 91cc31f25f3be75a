"""What a supervisor is told by its owner, as data."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

_PATHS: Final = ("data_dir", "impl_models_dir")


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorConfig:
    """The options of a supervisor; times in microseconds or seconds as named.

    `started_us` is when the owner started: timeouts due before it fell due while no supervisor ran. `embedded` says
    that the supervisor ends with its owner.
    """

    data_dir: str
    impl_models_dir: str
    shards: int
    durability: str
    check_timeouts: bool
    prune_interval_us: int | None
    learning_mode: bool
    max_restarts: int
    max_seconds: float
    retry_failed: float | None
    max_frame_bytes: int
    hang_timeout: float | None
    shutdown_timeout: float
    log_level: int
    started_us: int
    embedded: bool
    search_path: list[str]
    specifications: list[Any]

    def plain(self) -> dict[str, Any]:
        """Return the plain form, for a frame; paths are bytes there, as they need be no UTF-8."""
        paths = {name: os.fsencode(getattr(self, name)) for name in _PATHS}
        return {**asdict(self), **paths, "search_path": [os.fsencode(path) for path in self.search_path]}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Self:
        """Return what a plain form says."""
        paths = {name: os.fsdecode(plain[name]) for name in _PATHS}
        return cls(**{**plain, **paths, "search_path": [os.fsdecode(path) for path in plain["search_path"]]})
