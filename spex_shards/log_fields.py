"""The fields of the package's log records: stable names, for formatters and filters of the application.

Each record of the logger ``spex_shards`` has all of them as attributes; None stands for what it is not about. So a
formatter may name any of them, and a formatter that writes JSON needs no list of its own.
"""

from __future__ import annotations

import logging
import os
from typing import Any, Final

from .errors import SpexError

FIELDS: Final = (
    "spex_event",
    "spex_reason",
    "shard",
    "pid",
    "specification",
    "identifier",
    "transition",
    "verdict",
    "count",
    "call_site",
)
"""The names. They must never change; `docs/cli.md` says what each of them holds."""
CARRIED: Final = tuple(name for name in FIELDS if name not in ("shard", "pid", "call_site"))
"""Those that a shard sends with its records; the application's process knows the others."""
OTHER: Final = "other"
"""The event of a record that no place in the package has named."""


def about(event: str, **fields: Any) -> dict[str, Any]:
    """Return the argument `extra` of a logging call.

    Args:
        event: What has happened, a stable name in snake_case.
        **fields: Others of `FIELDS`.
    """
    return {"spex_event": event, **fields}


def about_error(error: SpexError, event: str | None = None) -> dict[str, Any]:
    """Return the argument `extra` of a logging call about an error.

    Args:
        error: The error; its context gives the fields.
        event: The event; by default the error's reason.
    """
    context = error.context if isinstance(error.context, dict) else {}
    instance = context.get("instance")
    step, verdict = context.get("deviating_transition"), context.get("verdict")
    return {
        "spex_event": event or error.reason,
        "spex_reason": error.reason,
        "shard": context.get("shard"),
        "specification": getattr(instance, "specification_name", context.get("specification")),
        "identifier": getattr(instance, "identifier", context.get("identifier")),
        "transition": tuple(step) if isinstance(step, tuple) else None,
        "verdict": None if verdict is None else str(getattr(verdict, "value", verdict)),
    }


def complete(record: logging.LogRecord) -> bool:
    """Give a record the fields that it lacks; a logging filter, which lets every record pass."""
    known = record.__dict__
    for name in FIELDS:
        known.setdefault(name, None)
    if known["spex_event"] is None:
        known["spex_event"] = OTHER
    if known["pid"] is None:
        known["pid"] = os.getpid()
    return True
