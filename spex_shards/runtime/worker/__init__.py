"""The process of one shard: receive, carry out, commit once, then reply."""

from .options import WorkerOptions
from .start import BOOT_FAILED, run
from .watch import PageWatch

__all__ = ["BOOT_FAILED", "PageWatch", "WorkerOptions", "run"]
