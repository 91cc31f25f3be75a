"""The managers that the module-level calls may use, and the one that several processes share by turns."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Unpack, cast

from ..runtime.client.opening import shared
from ..runtime.transport import Transport
from .base import InstanceManager
from .options import ENVIRONMENT_PREFIX, OPTIONS, UNSET, ManagerOptions, ModeOptions
from .settings import manager_options, options_from
from .sharded import HOST, AttachedInstanceManager, ShardedInstanceManager, client_options
from .simple import SimpleInstanceManager

CONNECT: Final = f"{ENVIRONMENT_PREFIX}CONNECT"
_TLS: Final = frozenset({"tls_authority", "tls_certificate", "tls_key"})
_OF_SHARDS: Final = frozenset({
    "distribution_factor", "data_dir", "impl_models_dir", "check_transition_timeouts_on_start", "prune_interval",
    "durability", "learning_mode", "max_restarts", "max_seconds", "retry_failed", "hang_timeout", "shutdown_timeout",
})  # fmt: skip
"""Options of the shards, which those decide who run them."""


class SharedInstanceManager(ShardedInstanceManager):
    """An instance manager for one of several equal processes, such as the workers of a web server.

    The first process that starts one on a data directory serves the directory, as a `ShardedInstanceManager` does. In
    the others it attaches. When the process that serves ends, however it ends, another one takes over: at once if one
    of its calls waits, else within about a second. Calls take longer meanwhile; nothing that was acknowledged is lost,
    and requests without an answer are sent again and applied once.

    A forked child is one more of these processes. Options of shards count from the process that serves.

    Args:
        **options: Those of `ShardedInstanceManager`.

    Raises:
        ValueError: A value breaks its option's rule.
    """

    def __init__(self, **options: Unpack[ManagerOptions]) -> None:
        InstanceManager.__init__(self, _share, manager_options(options))


def default_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option's value for the default manager, in which `given` counts before all other origins.

    Raises:
        TypeError: An option is unknown.
        ValueError: A value breaks its option's rule, or two options contradict each other.
    """
    options = options_from(given, mode="observe")
    served = options["connect"]
    if served is None and options["manager"] == "cluster":
        _check_of_cluster(given, options)
    # In the environment it is a deployment's decision about a program whose code serves elsewhere: it decides alone.
    if served is None or (given.get("connect", UNSET) is UNSET and CONNECT in os.environ):
        return options
    if options["manager"] != OPTIONS["manager"].default:
        does = "serves a directory itself" if options["manager"] == "sharded" else "uses a cluster"
        raise ValueError(
            f"the option connect={str(served)!r} uses what another process serves, and "
            f'manager="{options["manager"]}" {does}: give one of them'
        )
    if options["data_dir"] not in (Path(OPTIONS["data_dir"].default), served):
        raise ValueError(
            f"the options connect={str(served)!r} and data_dir={str(options['data_dir'])!r} name two directories: "
            "leave data_dir out"
        )
    return options


def _check_of_cluster(given: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    if options["store"] is None:
        raise ValueError(
            'the option manager="cluster" needs the option store: the URL of the PostgreSQL database with the state'
        )
    # If only the environment says that there is a cluster, a program's options of shards are for when there is none.
    if given.get("manager", UNSET) == "cluster":
        for name in given.keys() & _OF_SHARDS:
            if given[name] is not UNSET:
                raise ValueError(
                    f'the option {name} is one of the members that run the shards, and manager="cluster" uses shards '
                    "that others run: leave it out"
                )


def manager_for(given: Mapping[str, Any]) -> InstanceManager:
    """Return the default manager that the options ask for; it is not started.

    Raises:
        ValueError: A value breaks its option's rule, or two options contradict each other.
    """
    options = default_options(given)
    wanted = {name: value for name, value in given.items() if value is not UNSET}
    if options["connect"] is not None:
        return AttachedInstanceManager(
            options["connect"],
            specifications=options["specifications"],
            call_timeout=options["call_timeout"],
            on_message=options["on_message"],
            patient=True,
            **cast(ModeOptions, {name: options[name] for name in ModeOptions.__annotations__}),
        )
    wanted["mode"] = options["mode"]
    if options["manager"] == "cluster":
        from .clustered import ClusterInstanceManager  # only here is it needed

        tls = {name: wanted.pop(name) for name in _TLS & wanted.keys()}
        of_cluster = {name: value for name, value in wanted.items() if name not in _OF_SHARDS | {"manager", "connect"}}
        return ClusterInstanceManager(**of_cluster, tls=cast(Any, tls))
    wanted = {name: value for name, value in wanted.items() if name in ManagerOptions.__annotations__}
    return SharedInstanceManager(**wanted) if options["manager"] == "sharded" else SimpleInstanceManager(**wanted)


def _share(manager: InstanceManager) -> Transport:
    """Attach to the supervisor of another process, or start one if there is none; and so again whenever it ends."""
    of_client = client_options(manager, manager.options["distribution_factor"])
    host = HOST, manager.spex_options().plain()
    return shared(manager.directory, of_client, manager.mailbox, host, manager.options)
