"""`Specification.tracking`: a block of code in which one instance is observed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from . import receiving
from .on_error import OnError

if TYPE_CHECKING:
    from types import TracebackType

    from .specification import Specification


class Tracking:
    """An instance that a block of code is about; see `Specification.tracking`."""

    __slots__ = ("_cls", "_failures", "_identifier", "_initial_state", "_wait", "_waits")

    def __init__(
        self, cls: type[Specification], identifier: Any, initial_state: Any, on_error: Any, wait: bool | None
    ) -> None:
        self._cls = cls
        self._identifier = identifier
        self._initial_state = initial_state
        self._failures = OnError(on_error, None)
        self._wait = wait
        self._waits = wait is not False

    def did(self, action: str, to_state: str) -> None:
        """Report that the instance went to `to_state` by `action`; it is created first if it does not exist.

        Raises:
            SpexError: As `spex_shards.transition` does: by default nothing, since the mode of module-level calls is
                "observe".
        """
        receiver = receiving.receiver
        if not receiver.off(self._cls):
            receiver.step(self._cls, self._identifier, action, to_state, self._initial_state, waits=self._waits)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self._failures and not receiving.receiver.off(self._cls):
            self._failures.report(self._cls, self._identifier, error, waits=self._waits)

    async def __aenter__(self) -> Self:
        self._waits = bool(self._wait)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)
