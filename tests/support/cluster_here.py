"""Managers of a cluster whose members all run in the test's process, with the constructor of the other managers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from spex_shards.aio import AsyncClusterInstanceManager, AsyncInstanceManager
from spex_shards.manager.clustered import ClusterInstanceManager, ClusterMember

from .loop_manager import LoopManager

TOKEN = "a token of the tests"
_OF_CLIENTS = ("call_timeout", "specifications", "on_message", "mode", "observe_timeout", "sample", "report_interval")


class ClusterHere(ClusterInstanceManager):
    """A cluster of as many members as there are shards, and a manager that uses them.

    Args:
        data_dir: The folder under which each member has a data directory.
        store: The URL of the database.
        distribution_factor: The number of shards.
        **options: The options of both sides.
    """

    opens = True  # unlike a manager elsewhere, it knows the options of its shards

    def __init__(self, *, data_dir: Path, store: str, distribution_factor: int, **options: Any) -> None:
        own, theirs = _divided(options)
        super().__init__(store=store, token=TOKEN, allow_shipped_code=True, **own)
        self.options["impl_models_dir"] = theirs["impl_models_dir"]
        self.options["learning_mode"] = theirs.get("learning_mode", False)
        self.members = _members(data_dir, store, distribution_factor, theirs)

    def start(self) -> Self:
        """Start the members, and then this manager."""
        with _started(self.members):
            return super().start()

    def close(self) -> None:
        """Close this manager, and then the members."""
        try:
            super().close()
        finally:
            _close(self.members)


class ClusterOnALoop(LoopManager):
    """A cluster as `ClusterHere`, and a manager of it on a thread's event loop."""

    def __init__(self, *, data_dir: Path, store: str, distribution_factor: int, **options: Any) -> None:
        own, theirs = _divided(options)
        super().__init__(store=store, token=TOKEN, allow_shipped_code=True, **own)
        self.inner.options["impl_models_dir"] = theirs["impl_models_dir"]
        self.inner.options["learning_mode"] = theirs.get("learning_mode", False)
        self.inner._behind.opens = True
        self.members = _members(data_dir, store, distribution_factor, theirs)

    @staticmethod
    def _make(**options: Any) -> AsyncInstanceManager:
        return AsyncClusterInstanceManager(**options)

    def start(self) -> Self:
        """Start the members, and then the manager."""
        with _started(self.members):
            return super().start()

    def close(self) -> None:
        """Close the manager, and then the members."""
        try:
            super().close()
        finally:
            _close(self.members)


def _divided(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    own = {name: value for name, value in options.items() if name in _OF_CLIENTS}
    theirs = {name: value for name, value in options.items() if name not in _OF_CLIENTS}
    return own, {**theirs, "specifications": own.get("specifications", ())}


def _members(data_dir: Path, store: str, shards: int, options: dict[str, Any]) -> list[ClusterMember]:
    return [
        ClusterMember(
            **options, store=store, data_dir=Path(data_dir) / f"member-{shard}", partitions=shards, hosts=[shard],
            token=TOKEN, allow_shipped_code=True,
        )
        for shard in range(shards)
    ]  # fmt: skip


@contextmanager
def _started(members: list[ClusterMember]) -> Iterator[None]:
    """Start the members; stop them again if the block fails."""
    try:
        for member in members:
            member.start()
        yield
    except BaseException:
        _close(members)
        raise


def _close(members: list[ClusterMember]) -> None:
    with ExitStack() as stack:
        for member in members:
            stack.callback(member.close)
