"""The command ``serve``: runs shards for many application processes until it is told to stop."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from ..errors import ShardDown
from ..manager import ShardedInstanceManager
from ..manager.options import ManagerOptions
from ..manager.sharded import ShardServer
from .output import UNUSABLE, command, report

LOOK_EVERY = 1.0
"""Seconds between two looks at the shards' status."""


def serve(
    data_dir: Annotated[Path | None, typer.Option(help="The data directory. Default: the option data_dir.")] = None,
    models_dir: Annotated[
        Path | None, typer.Option(help="Where model files are read from. Default: the option impl_models_dir.")
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="The number of shards. Default: the option distribution_factor."),
    ] = None,
    durability: Annotated[str | None, typer.Option(help='"process" or "disk".')] = None,
    learn: Annotated[bool, typer.Option("--learn", help="Have all models learn.")] = False,
) -> None:
    """Serve a data directory to application processes, which attach with ``spex_shards.connect``.

    Runs in the foreground. A line of JSON on stderr says when it is ready, and when it has stopped. SIGTERM and SIGINT
    stop it, after the requests that have arrived are carried out. Exits with 0 when it was stopped, with 2 when it
    could not start or its supervisor could not be kept running.
    """
    stop = (signal.SIGTERM, signal.SIGINT)
    given: ManagerOptions = {}
    if data_dir:
        given["data_dir"] = data_dir
    if models_dir:
        given["impl_models_dir"] = models_dir
    if shards is not None:
        given["distribution_factor"] = shards
    if durability:
        given["durability"] = cast(Literal["process", "disk"], durability)  # the manager says what it may be
    if learn:
        given["learning_mode"] = True
    with command() as output:
        # The signals are blocked before any thread or process starts, so that only `sigtimedwait` below receives them.
        signal.pthread_sigmask(signal.SIG_BLOCK, stop)
        with ShardServer(**given) as manager:
            _say("ready", data_dir=str(manager.data_dir), **_state(manager))
            code = _wait(manager, stop)
        _say("stopped")
        if code:
            output.fail("the supervisor could not be kept running", code)


def _wait(manager: ShardedInstanceManager, stop: tuple[int, ...]) -> int:
    before = _state(manager)
    # If this process was stopped (SIGSTOP) until the timeout was over, CPython returns a value that is not a signal.
    while (told := signal.sigtimedwait(stop, LOOK_EVERY)) is None or told.si_signo not in stop:
        try:
            state = _state(manager)
        except ShardDown:
            return UNUSABLE
        if state != before:
            _say("shards", **state)
            before = state
    _say("stopping")
    return 0


def _state(manager: ShardedInstanceManager) -> dict[str, Any]:
    return {"shards": [[shard.status, shard.pid, shard.restarts, shard.last_exit] for shard in manager.shards()]}


def _say(event: str, **facts: Any) -> None:
    report(json.dumps({"event": event, "pid": os.getpid(), **facts}))
