"""The process of one shard: receive, carry out, commit once, then reply."""

from .loop import BOOT_FAILED, WorkerOptions, run

__all__ = ["BOOT_FAILED", "WorkerOptions", "run"]
