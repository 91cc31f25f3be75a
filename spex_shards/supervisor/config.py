"""What a supervisor is told by its owner, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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
        """Return the plain form, for a frame."""
        return asdict(self)
