"""`ShardedInstanceManager`: a supervisor process, one worker per shard, and a client in each process that uses it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from time import monotonic, sleep
from typing import Any, Final, Unpack

from ..domain.specification import Specification
from ..errors import DataDirError
from ..messages.specifications import declaration_arguments, undeclared_handlers
from ..runtime.client import ClientOptions
from ..runtime.client.core import Client
from ..runtime.client.opening import MakeClient, attached, owned
from ..runtime.transport import Transport
from .base import InstanceManager
from .options import UNSET, ManagerOptions, ModeOptions, Unset
from .settings import manager_options, options_from

HOST: Final = "spex_shards.engine.hosting:prepare"
"""The function that creates the host, for the supervisor; this process does not import it."""


_LOOK: Final = 0.05
"""Seconds between two looks for a data directory that does not exist yet."""


class ShardedInstanceManager(InstanceManager):
    """An instance manager with several processes; it has the same calls as `SimpleInstanceManager`.

    The constructor checks its arguments and starts nothing; ``with`` or `start` does, once. A forked child uses the
    same object as a new client of the same shards.

    Args:
        distribution_factor: The number of shards, 1 to 1024; fixed for a data directory. Default 4.
        data_dir: The directory that holds all state. Default ``./spex_data``.
        impl_models_dir: The directory that model files are read from. Default ``./spex_impl_models``.
        check_transition_timeouts_on_start: Whether to report timeouts that fell due while no process ran.
        prune_interval: Time between pruning passes; None: only one at the start. Default 6 hours.
        durability: ``"process"`` (changes survive the death of any process) or ``"disk"`` (also a power loss); with
            `store` also ``"remote_apply"`` (also the loss of the database's machine, if it has a synchronous replica).
        store: The URL of a PostgreSQL database that holds the shards' state, ``postgresql://user@host/database``; None:
            the data directory holds it. See ``docs/postgres.md``.
        namespace: The name of the schema there. Default: the URL's parameter ``namespace``, or "spex_shards".
        specifications: Classes or ``"module:Name"``. They are imported at once, so that import errors appear early, and
            their stored data is updated at the start.
        learning_mode: Whether every model learns, and missing models are created without asking the handler.
        max_restarts, max_seconds: A shard that dies more than `max_restarts` times within `max_seconds` becomes FAILED.
        retry_failed: Seconds after which a FAILED shard is started again, doubled each time up to 60; None: never.
        call_timeout: Seconds that a call waits for its answer.
        max_unacknowledged: The most requests without a waiting caller that may be on their way to a shard.
        max_frame_bytes: The most bytes of one request.
        spin: Seconds that a call looks for its answer before it sleeps (see docs/performance.md); 0: it sleeps at once.
            Default 0.000050.
        hang_timeout: Seconds without progress after which a shard counts as hung; None: never.
        shutdown_timeout: Seconds that shards get to finish when the manager closes.
        on_message: Called with each message that a handler sends.
        mode: What an observation does to the program: ``"off"`` (nothing), ``"observe"`` (never raises, waits at most
            `observe_timeout`), ``"warn"`` (as observe, with a Python warning for each distinct deviation) or
            ``"enforce"`` (raises; the default). The environment variable ``SPEX_SHARDS_MODE`` comes before this.
        observe_timeout: Seconds that a call waits at most with ``"observe"`` and ``"warn"``. Default 0.05.
        sample: The share of instances that are observed, 0 to 1; the same instances in every process. Default 1.
        report_interval: Seconds between two log records about observations that were not kept. Default 60.

    Raises:
        ValueError: A value breaks its option's rule; names the option, the rule, the value and its origin.
    """

    def __init__(self, **options: Unpack[ManagerOptions]) -> None:
        super().__init__(own, manager_options(options))

    def _sent(self) -> tuple[Any, ...]:
        from .sending import form_of

        return form_of(self)


class ShardServer(ShardedInstanceManager):
    """A manager whose shards are for other processes; one that opens the directory as well is told so at once."""


class AttachedInstanceManager(InstanceManager):
    """An instance manager that uses the shards of another process's supervisor; create it with `connect`.

    It attaches when it is started, and detaches when it is closed. When the supervisor is replaced, it attaches to the
    new one by itself and sends its unanswered requests again.

    Args:
        data_dir: The data directory that the other process serves.
        specifications: Classes or ``"module:Name"``, declared to the shards from the start.
        call_timeout: Seconds that a call waits for its answer.
        on_message: Called with each message that a handler sends.
        patient: Whether to start even if no process serves the directory now; then calls wait for one. A directory that
            does not exist yet is waited for up to `call_timeout`.
        **modes: `mode`, `observe_timeout`, `sample` and `report_interval`; see `ShardedInstanceManager`.

    Raises:
        ValueError: A value breaks its option's rule.
    """

    opens = False

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        *,
        specifications: Iterable[type[Specification] | str] = (),
        call_timeout: float | timedelta | Unset = UNSET,
        on_message: Callable[[Any], None] | None = None,
        patient: bool = False,
        **modes: Unpack[ModeOptions],
    ) -> None:
        given = {"data_dir": data_dir, "call_timeout": call_timeout, "on_message": on_message, **modes}
        super().__init__(partial(attach, patient=patient), options_from({**given, "specifications": specifications}))

    def _sent(self) -> tuple[Any, ...]:
        from .sending import form_of

        return form_of(self)


def connect(
    data_dir: str | os.PathLike[str],
    *,
    specifications: Iterable[type[Specification] | str] = (),
    call_timeout: float | timedelta = 5.0,
    on_message: Callable[[Any], None] | None = None,
    **modes: Unpack[ModeOptions],
) -> AttachedInstanceManager:
    """Return a started manager that uses the shards of another process; its `close` detaches.

    Args:
        data_dir: The data directory that ``spex-shards serve``, or a manager in another process, has open.
        specifications: Classes or ``"module:Name"``, declared to the shards from the start.
        call_timeout: Seconds that a call waits for its answer.
        on_message: Called with each message that a handler sends.
        **modes: `mode`, `observe_timeout`, `sample` and `report_interval`; see `ShardedInstanceManager`.

    Raises:
        DataDirError: There is no data directory.
        ShardDown: No process serves it.
    """
    return AttachedInstanceManager(
        data_dir, specifications=specifications, call_timeout=call_timeout, on_message=on_message, **modes
    ).start()


def own(manager: InstanceManager, *, make: MakeClient = Client) -> Transport:
    """Start a supervisor, and return a client that is attached to it; `make` creates it."""
    of_client = client_options(manager, manager.options["distribution_factor"])
    host = HOST, manager.spex_options().plain()
    options = {**manager.options, "serves": isinstance(manager, ShardServer)}
    return owned(manager.directory, of_client, manager.mailbox, host, options, make)


def attach(manager: InstanceManager, *, patient: bool = False, make: MakeClient = Client) -> Transport:
    """Return a client that is attached to the supervisor of another process, or, if `patient`, to the next one."""
    deadline = monotonic() + (manager.options["call_timeout"] if patient else 0)
    while (shards := manager.directory.shards()) is None:
        if monotonic() >= deadline:
            path = manager.directory.path
            raise DataDirError(
                f"there is no data directory at {path}: serve it first, by spex-shards serve --data-dir {path}"
            )
        sleep(_LOOK)
    options = replace(client_options(manager, shards), patient=patient)
    return attached(manager.directory, options, manager.mailbox, make=make)


def client_options(manager: InstanceManager, shards: int) -> ClientOptions:
    """Return the options of a manager's client."""
    options = manager.options
    return ClientOptions(
        shards=shards,
        call_timeout=options["call_timeout"],
        max_unacknowledged=options["max_unacknowledged"],
        max_frame_bytes=options["max_frame_bytes"],
        spin=options["spin"],
        declared=[(cls.name, declaration_arguments(cls, ships=True)) for cls in manager.specifications],
        undeclared=undeclared_handlers,
    )
