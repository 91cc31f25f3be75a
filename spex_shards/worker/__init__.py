"""The process of one shard: receive, carry out, commit once, then reply."""

from .loop import BOOT_FAILED, WorkerOptions, run
from .watch import PageWatch

__all__ = ["BOOT_FAILED", "PageWatch", "WorkerOptions", "run"]
