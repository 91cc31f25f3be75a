"""The blocking manager behind an asyncio manager: its options, its start and end, and the checks of arguments."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from ..domain.impl_model import ImplModel
from ..domain.specification import OWN_MODES, Specification
from ..errors import ShardDown, SpexError
from ..runtime.aio.loop_client import LoopClient
from ..runtime.client.opening import MakeClient
from ..runtime.lifetime import Life
from ..runtime.transport import Transport
from .async_observer import AsyncObserver
from .base import InstanceManager

Request = tuple[bytes, tuple[Any, ...]]
"""A key, and the arguments of an operation for the shard of that key."""
_Result = TypeVar("_Result")


class Connect(Protocol):
    """Opens the transport of a manager."""

    def __call__(self, manager: InstanceManager, *, make: MakeClient) -> Transport:
        """Return the open transport; `make` creates its client."""


class ModelsWanted(Exception):
    """A check needs the models of the shards first; only the asyncio manager sees it."""


class Behind(InstanceManager):
    """The manager behind an asyncio manager; its client belongs to an event loop.

    `start` and `close` block, and are called on a thread of their own. The calls that observe and read are not used:
    they would block.

    Args:
        connect: Opens and returns the transport, with a client that a given function creates.
        options: The value of every option.

    Attributes:
        loop: The event loop; None before the start.
    """

    loop: asyncio.AbstractEventLoop | None = None
    _is_told = False

    def __init__(self, connect: Connect, options: dict[str, Any]) -> None:
        super().__init__(lambda _: connect(self, make=self._make), options)
        self._pid = os.getpid()
        self._models: list[ImplModel] | None = None
        self._knows_models = False
        self.observer = AsyncObserver(self, self.modes, self.ledger, options["observe_timeout"], options["sample"])
        self.observer.mode_changed()

    @property
    def place(self) -> str:
        """Where its shards are, for messages."""
        return str(self.data_dir)

    @property
    def _make(self) -> MakeClient:
        assert self.loop is not None
        return partial(LoopClient, self.loop)

    @property
    def client(self) -> LoopClient:
        """The client.

        Raises:
            ManagerClosed: The manager is not open.
            RuntimeError: This is a forked child, or a handler is running.
        """
        transport = self._open
        assert isinstance(transport, LoopClient)
        return transport

    @property
    def life(self) -> Life:
        """Where it is between its creation and its end."""
        return self._life

    def tell_unclosed(self, source: object) -> None:
        """Warn, once, that the asyncio manager `source` was not closed, if that is so."""
        if self._life is Life.STARTED and not self._is_told and os.getpid() == self._pid:
            self._is_told = True
            text = f"the asyncio manager of {self.place} was not closed: use `async with`, or await its close()"
            warnings.warn(text, ResourceWarning, source=source, stacklevel=2)

    def _at_exit(self) -> None:
        self.tell_unclosed(self)
        super()._at_exit()

    # ------------------------------------------------------------------ checks

    @property
    def is_plain(self) -> bool:
        """Whether calls need no observer; see `Observed`."""
        return not OWN_MODES and self._is_plain

    def all_impl_models(self) -> list[ImplModel]:
        """Return the models that `knowing` has given: a check of a state must not wait for shards.

        Raises:
            ModelsWanted: There are none.
            ShardDown: They are not to be had.
        """
        if not self._knows_models:
            raise ModelsWanted
        if self._models is None:
            raise ShardDown("the models are not known here", maybe_executed=False)
        return self._models

    def knowing(self, models: list[ImplModel] | None, check: Callable[[], _Result]) -> _Result:
        """Call a check that may look at the models; None: without them, it lets every state pass."""
        self._models, self._knows_models = models, True
        try:
            return check()
        finally:
            self._models, self._knows_models = None, False

    def unapplied(self, errors: list[SpexError]) -> None:
        """Raise the errors of what was sent without waiting, if the mode says so."""
        self._unapplied(errors)

    def init_request(self, specification: Any, identifier: Any, meta: Any, initial_state: Any) -> Request:
        """Check the arguments of `init_instance`, and return the request."""
        return self._init_arguments(specification, identifier, meta, initial_state)[1:]

    def transition_request(self, identifier: Any, action: Any, to_state: Any) -> Request:
        """Check the arguments of `transition`, and return the request."""
        return self._transition_arguments(identifier, action, to_state)[1:]

    def mock_request(self, specification: type[Specification], identifier: Any, state: Any, meta: Any) -> Request:
        """Check the arguments of `mock_instance`, and return the request."""
        return self._mock_arguments(specification, identifier, state, meta)[1:]

    def predicate(self, predicate: Any) -> Any:
        """Check the argument of `delete_instances`, and return it as the shards get it."""
        return self._predicate(predicate)

    def shard_index(self, index: Any) -> int:
        """Check the argument of `revive`."""
        return self._shard_index(index)

    def with_dropped(self, reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Complete the answer of `stats`."""
        return self._with_dropped(reports)


class BehindAttached(Behind):
    """The manager behind an asyncio manager that uses the shards of another process."""

    opens = False
