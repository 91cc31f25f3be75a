"""The errors by which a store says that it takes nothing more."""

from __future__ import annotations

from ...errors import StoreError


class StoreFull(StoreError):
    """The store takes no batch before a checkpoint is written; see `LoggedStore.make_room`."""


class StoreLost(StoreError):
    """It is not known any more what the store holds, or another process owns it.

    Whoever uses the store ends and answers nothing. The next user of the shard reads what is stored, and clients send
    their unanswered requests again.
    """


class Fenced(StoreLost):
    """Another process has claimed the shard, and everything of this one is refused from now on."""


class LogBroken(StoreLost):
    """The log could not be synced. It is unknown which batches are on the disk, so no more requests may be answered."""
