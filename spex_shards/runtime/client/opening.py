"""Opening the way to shards of other processes: to those that somebody serves, or to a supervisor of one's own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ..data_dir import DataDir
from ..protocol.config import SupervisorConfig
from .core import Client, ClientOptions
from .courier import by_socket
from .mailbox import Mailbox
from .owner import search_path
from .ownership import Ownership

logger = logging.getLogger("spex_shards")


def attached(
    directory: DataDir,
    options: ClientOptions,
    mailbox: Mailbox,
    ownership: Ownership | None = None,
    hang_timeout: float | None = None,
) -> Client:
    """Return a client that is attached to the supervisor of a directory.

    Args:
        directory: The directory.
        options: The client's options.
        mailbox: Where messages go.
        ownership: For the process that the supervisor belongs to.
        hang_timeout: Seconds without a sign of life after which its owner replaces the supervisor; None: never.

    Raises:
        ShardDown: There is no supervisor, or it cannot be talked to.
    """
    client = Client(by_socket(directory.socket, hang_timeout), options, mailbox, ownership)
    try:
        client.start()
    except BaseException:
        client.shut(0)
        raise
    return client


def owned(
    directory: DataDir,
    client_options: ClientOptions,
    mailbox: Mailbox,
    host: tuple[str, list[Any]],
    options: Mapping[str, Any],
) -> Client:
    """Start a supervisor, and return a client of it that ends it when it is closed.

    Args:
        directory: Its data directory.
        client_options: The client's options; the supervisor has as many shards.
        mailbox: Where messages go.
        host: Where the function is that makes the `Host`, and what it is given.
        options: The supervisor's: `durability`, `max_restarts`, `max_seconds`, `retry_failed`, `max_frame_bytes`,
            `hang_timeout` and `shutdown_timeout`; others are not looked at.

    Raises:
        SpexError: It could not start; says why.
    """
    config = SupervisorConfig(
        data_dir=str(directory.path),
        shards=client_options.shards,
        durability=options["durability"],
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
    )
    ownership = Ownership(config, options["shutdown_timeout"])
    try:
        return attached(directory, client_options, mailbox, ownership, options["hang_timeout"])
    except BaseException:
        ownership.end()
        raise
