"""A manager of a cluster whose members all run in the test's process, with the constructor of the other managers."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from spex_shards.manager.clustered import ClusterInstanceManager, ClusterMember

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
        own = {name: value for name, value in options.items() if name in _OF_CLIENTS}
        theirs = {name: value for name, value in options.items() if name not in _OF_CLIENTS}
        theirs["specifications"] = own.get("specifications", ())
        super().__init__(store=store, token=TOKEN, allow_shipped_code=True, **own)
        self.options["impl_models_dir"] = theirs["impl_models_dir"]
        self.options["learning_mode"] = theirs.get("learning_mode", False)
        self.members = [
            ClusterMember(
                **theirs, store=store, data_dir=Path(data_dir) / f"member-{shard}", partitions=distribution_factor,
                hosts=[shard], token=TOKEN, allow_shipped_code=True,
            )
            for shard in range(distribution_factor)
        ]  # fmt: skip

    def start(self) -> Self:
        """Start the members, and then this manager."""
        for member in self.members:
            member.start()
        try:
            return super().start()
        except BaseException:
            self._stop_members()
            raise

    def close(self) -> None:
        """Close this manager, and then the members."""
        try:
            super().close()
        finally:
            self._stop_members()

    def _stop_members(self) -> None:
        with ExitStack() as stack:
            for member in self.members:
                stack.callback(member.close)
