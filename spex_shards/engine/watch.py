"""Who is told what an engine executes: so that what kills or stops a shard can be found and refused."""

from __future__ import annotations


class Watch:
    """Told, and asked, about the handlers of timers and about long work. This one does nothing: nobody watches."""

    def timing(self, key: bytes) -> None:
        """The handler of this deadline is about to be asked."""

    def clear(self) -> None:
        """Nothing is executed any more."""

    def bump(self) -> None:
        """Long work gets on."""

    def deaths(self, key: bytes) -> int:  # noqa: ARG002
        """Return how often the shard has died while the handler of this deadline was asked."""
        return 0

    def refusal(self, key: bytes) -> str | None:  # noqa: ARG002
        """Return why the handler of this deadline is not to be asked any more, or None."""
        return None


NOBODY = Watch()
