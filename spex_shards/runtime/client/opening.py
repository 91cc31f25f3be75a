"""Creates clients: of shards that another process serves, or of a supervisor that this process starts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from ..data_dir import DataDir
from ..protocol.config import SupervisorConfig
from .candidacy import Candidacy
from .client_options import ClientOptions
from .core import Client
from .courier import by_socket
from .introducer import MakeIntroducer
from .mailbox import Mailbox
from .owner import search_path
from .ownership import Ownership

MakeClient = Callable[[MakeIntroducer, ClientOptions, Mailbox, Ownership | None], Client]
"""Creates a client that is not started yet."""
logger = logging.getLogger("spex_shards")


def attached(
    directory: DataDir,
    options: ClientOptions,
    mailbox: Mailbox,
    ownership: Ownership | None = None,
    hang_timeout: float | None = None,
    make: MakeClient = Client,
) -> Client:
    """Return a client that is attached to the supervisor of a directory.

    Args:
        directory: The directory.
        options: The client's options.
        mailbox: Receives the messages.
        ownership: For an owner: the ownership of the supervisor.
        hang_timeout: Seconds without a sign of life after which an owner replaces the supervisor; None: never.
        make: Creates the client.

    Raises:
        ShardDown: There is no supervisor, or this process cannot attach to it.
    """
    return started(make(by_socket(directory.socket, hang_timeout), options, mailbox, ownership))


def started(client: Client) -> Client:
    """Start a client, and return it; if that fails, nothing of it is left.

    Raises:
        ShardDown: It cannot reach its shards.
    """
    try:
        client.start()
    except BaseException:
        client.shut(0)
        raise
    return client


def shared(
    directory: DataDir,
    client_options: ClientOptions,
    mailbox: Mailbox,
    host: tuple[str, list[Any]],
    options: Mapping[str, Any],
) -> Client:
    """Return a client that starts a supervisor whenever no other process has one for the directory.

    Args:
        directory: The data directory.
        client_options: The client's options; they also give the number of shards.
        mailbox: Receives the messages.
        host: As for `owned`.
        options: As for `owned`; they count while this process has the supervisor.

    Raises:
        LayoutMismatch: The directory has another number of shards.
        DataDirLocked: A process has the directory open that does not serve it.
        SpexError: The supervisor could not start; the text says why.
    """
    config = _config(directory, client_options, host, options)
    candidacy = Candidacy(directory, config, options["shutdown_timeout"])
    try:
        return attached(directory, client_options, mailbox, candidacy, options["hang_timeout"])
    except BaseException:
        candidacy.end()
        raise


def owned(
    directory: DataDir,
    client_options: ClientOptions,
    mailbox: Mailbox,
    host: tuple[str, list[Any]],
    options: Mapping[str, Any],
    make: MakeClient = Client,
) -> Client:
    """Start a supervisor, and return a client that ends it when the client is closed.

    Args:
        directory: The data directory.
        client_options: The client's options; they also give the number of shards.
        mailbox: Receives the messages.
        host: The function that creates the `Host`, as ``module:function``, and its first argument.
        options: The supervisor's options: `store`, `durability`, `max_restarts`, `max_seconds`, `retry_failed`,
            `max_frame_bytes`, `hang_timeout`, `shutdown_timeout`, for a server `serves`, and for a member of a cluster
            `hosts` and `known_as`; others are ignored.
        make: Creates the client.

    Raises:
        SpexError: It could not start; the text says why.
    """
    config = _config(directory, client_options, host, options)
    ownership = Ownership(config, options["shutdown_timeout"])
    try:
        return attached(directory, client_options, mailbox, ownership, options["hang_timeout"], make)
    except BaseException:
        ownership.end()
        raise


def _config(
    directory: DataDir, client_options: ClientOptions, host: tuple[str, list[Any]], options: Mapping[str, Any]
) -> SupervisorConfig:
    return SupervisorConfig(
        data_dir=str(directory.path),
        shards=client_options.shards,
        durability=options["durability"],
        store=options["store"],
        host=host[0],
        host_options=host[1],
        max_restarts=options["max_restarts"],
        max_seconds=options["max_seconds"],
        retry_failed=options["retry_failed"],
        max_frame_bytes=options["max_frame_bytes"],
        hang_timeout=options["hang_timeout"],
        shutdown_timeout=options["shutdown_timeout"],
        log_level=min(logging.WARNING, logger.getEffectiveLevel()) or logging.WARNING,
        embedded=True,
        search_path=search_path(),
        serves=options.get("serves", False),
        hosts=options.get("hosts"),
        known_as=options.get("known_as", ""),
    )
