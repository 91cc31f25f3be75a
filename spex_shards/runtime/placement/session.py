"""This process's connection to a Ray cluster."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from ...errors import ShardDown, SpexError
from ..cluster.address import Address

RAY_NAMESPACE: Final = "spex_shards"
"""The namespace of all actors; not to be confused with a namespace of the database."""
ANSWER: Final = 30.0
_REACHED_WITHIN: Final = 5.0
_one_at_a_time = threading.RLock()


def _after_fork_in_child() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def imported() -> Any:
    """Return the module ray.

    Raises:
        ShardDown: It is not installed.
    """
    try:
        import ray
    except ImportError as error:
        text = "placement by Ray needs ray: install spex-shards[cluster]"
        raise ShardDown(f"{text} ({error})", maybe_executed=False) from error
    return ray


@contextmanager
def session(address: str) -> Iterator[Any]:
    """Return the module ray within a ``with`` block, connected to a cluster.

    If the application is connected already, that connection is used and left open. Otherwise one is opened for the
    block; it leaves the process's signal handlers as they were.

    Args:
        address: As for ``ray.init``: ``"auto"``, ``"HOST:PORT"`` or ``"ray://HOST:PORT"``.

    Raises:
        ShardDown: Ray is not installed, or the cluster cannot be reached.
    """
    ray = imported()
    # One block at a time: the first of two that overlap would close the connection that the second is using.
    with _one_at_a_time:
        if ray.is_initialized():
            yield ray
            return
        _check_reachable(address)
        try:
            with _handlers_kept():
                ray.init(address=address, namespace=RAY_NAMESPACE, log_to_driver=False, configure_logging=False)
        except Exception as error:  # Ray raises many kinds, ConnectionError and RuntimeError among them
            text = f"the Ray cluster at {address} cannot be reached: {error}"
            raise ShardDown(text, maybe_executed=False) from error
        try:
            yield ray
        finally:
            with _handlers_kept():
                ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise `ShardDown` if nothing listens at an address: Ray itself would try for many minutes."""
    try:
        host, port = Address.of(address.removeprefix("ray://"))
    except ValueError:
        return  # "auto": Ray looks on this machine, and says at once if there is nothing
    try:
        socket.create_connection((host, port), _REACHED_WITHIN).close()
    except OSError as error:
        text = f"the Ray cluster at {address} cannot be reached: {error}"
        raise ShardDown(text, maybe_executed=False) from error


@contextmanager
def _handlers_kept() -> Iterator[None]:
    # `ray.init` replaces the handler of SIGTERM, which is the application's.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def director_of(ray: Any, name: str) -> Any:
    """Return the director of a cluster.

    Args:
        ray: The module.
        name: The name of the database's namespace.

    Raises:
        ShardDown: There is none.
    """
    try:
        return ray.get_actor(director_name(name), namespace=RAY_NAMESPACE)
    except ValueError:
        text = f"the Ray cluster runs no shards of the namespace {name}: start them, by spex-shards cluster up"
        raise ShardDown(text, maybe_executed=False) from None


def director_name(name: str) -> str:
    """Return the name of the director's actor."""
    return f"director of {name}"


def actor_name(name: str, shard: int, number: int) -> str:
    """Return the name of a shard's actor; of two actors of a shard, the one with the greater number is the younger."""
    return f"{name}/{shard}/{number}"


def actors_of(ray: Any, name: str) -> dict[int, list[tuple[int, str]]]:
    """Return for each shard of a cluster that has actors their numbers and names, the youngest last."""
    found: dict[int, list[tuple[int, str]]] = {}
    for one in ray.util.list_named_actors(all_namespaces=True):
        parts = one["name"].split("/")
        if one["namespace"] == RAY_NAMESPACE and len(parts) == 3 and parts[0] == name:
            found.setdefault(int(parts[1]), []).append((int(parts[2]), one["name"]))
    return {shard: sorted(actors) for shard, actors in found.items()}


def note(ray: Any, name: str, value: Any) -> None:
    """Have Ray's head remember a value under a name: for as long as Ray remembers its detached actors."""
    ray.experimental.internal_kv._internal_kv_put(name, json.dumps(value), overwrite=True, namespace=RAY_NAMESPACE)


def noted(ray: Any, name: str) -> Any:
    """Return the value under a name; None: there is none."""
    found = ray.experimental.internal_kv._internal_kv_get(name, namespace=RAY_NAMESPACE)
    return None if found is None else json.loads(found)


def answer(ray: Any, question: Any, within: float = ANSWER) -> Any:
    """Wait for what an actor answers, and return it.

    Raises:
        ShardDown: The actor is gone, or does not answer in time; else its own exception.
    """
    try:
        return ray.get(question, timeout=within)
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError) as error:
        raise ShardDown(f"an actor of the cluster does not answer: {error}", maybe_executed=True) from error
    except ray.exceptions.RayTaskError as error:
        # Ray's own form of it has the actor's traceback in its text.
        raise error.cause if isinstance(error.cause, SpexError) else error.as_instanceof_cause() from None


def token_of(address: str, name: str) -> bytes:
    """Return the token of a cluster, which travels only through Ray.

    Raises:
        ShardDown: The cluster cannot be reached, or runs no shards of that namespace.
    """
    with session(address) as ray:
        return bytes(answer(ray, director_of(ray, name).token.remote()))
