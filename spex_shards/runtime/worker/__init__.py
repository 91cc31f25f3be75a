"""The process of one shard: it receives requests, carries them out, commits once, and then replies."""

from .options import WorkerOptions
from .start import BOOT_FAILED, run
from .watch import PageWatch

__all__ = ["BOOT_FAILED", "PageWatch", "WorkerOptions", "run"]
