"""What a service tells its shard of work that may end the process, or take long."""

from __future__ import annotations


class Watch:
    """Receives notes about timed and long work of a service, and answers questions about it. This one does nothing."""

    def timing(self, key: bytes) -> None:
        """Note that the work due under `key` is about to run."""

    def clear(self) -> None:
        """Note that the work has ended."""

    def bump(self) -> None:
        """Note that long work makes progress."""

    def deaths(self, key: bytes) -> int:  # noqa: ARG002
        """Return how often the shard has died while running the work due under `key`."""
        return 0

    def refusal(self, key: bytes) -> str | None:  # noqa: ARG002
        """Return why the work due under `key` must not run any more, or None if it may."""
        return None


NOBODY = Watch()
