"""The process of one shard: receive, carry out, commit once, then reply."""

from .loop import BOOT_FAILED, run
from .options import WorkerOptions
from .watch import PageWatch

__all__ = ["BOOT_FAILED", "PageWatch", "WorkerOptions", "run"]
