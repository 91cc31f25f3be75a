"""The console's answers to a browser."""

from __future__ import annotations

import json
import threading
import time
import zlib
from typing import Any, Final

from .. import __version__
from ..domain.instance import Deviation
from ..errors import encodable
from ..manager import InstanceManager
from ..render.html import section
from ..render.view import view_of
from ..telemetry import ShardVitals, Vitals
from ..telemetry.metrics import observations_of
from ..web import Asked, Response
from . import history
from .frame import FORM_POLICY, page, token_form
from .looking import Judged, Looking, Seen

MOST_DEVIATIONS: Final = 100
"""The newest deviations that are listed."""
MOST_STATES: Final = 40
_JSON: Final = "application/json; charset=utf-8"


class Console:
    """Answers requests for one manager's data directory; it only reads.

    Args:
        manager: The manager; it must be started.
        vitals: Reads the shards' counters.

    Attributes:
        pages: Path → the function that answers.
    """

    def __init__(self, manager: InstanceManager, vitals: Vitals) -> None:
        self._manager = manager
        self._vitals = vitals
        self._looking = Looking(manager, vitals)
        self._drawn: dict[str, tuple[str, str]] = {}
        self._drawing = threading.Lock()
        self._page = page(f"Console of {manager.data_dir}")
        self.pages = {"/": self._frame, "/state": self._state, "/view": self._view, "/instance": self._instance}

    def close(self) -> None:
        """Read no more."""
        self._looking.close()

    @staticmethod
    def refusal() -> Response:
        """Return the page that asks for the token."""
        return Response(token_form(), "text/html; charset=utf-8", 401, FORM_POLICY)

    # ------------------------------------------------------------------ inside

    def _frame(self, asked: Asked) -> Response:  # noqa: ARG002 - each page's function takes it
        text, policy = self._page
        return Response(text, "text/html; charset=utf-8", 200, f"{policy}; frame-ancestors 'none'; form-action 'none'")

    def _state(self, asked: Asked) -> Response:
        shards = self._vitals.read()
        seen = self._looking.newest()
        chosen = seen.counted.get(asked.query.get("model", ""))
        deviations = sorted(seen.deviations, key=lambda one: one.last_seen, reverse=True)
        return _json({
            "version": __version__,
            "at": time.time(),
            "trouble": seen.trouble,
            "shards": [_of_shard(one) for one in shards],
            "models": [
                {"name": name, "verdict": _verdict(model), "drawn": _version(model, seen)}
                for name, model in sorted(seen.models.items())
            ],
            "deviations": [_of_deviation(one) for one in deviations[:MOST_DEVIATIONS]],
            "deviating": len(deviations),
            "states": [] if chosen is None else chosen.states.most_common(MOST_STATES),
            "counted": 0 if chosen is None else chosen.instances,
            "extent": seen.extent,
        })  # fmt: skip

    def _view(self, asked: Asked) -> Response:
        name = asked.query.get("model", "")
        seen = self._looking.newest()
        model = seen.models.get(name)
        if model is None:
            return Response(f"there is no model of {name[:200]!r}\n", code=404)
        version = _version(model, seen)
        with self._drawing:  # one at a time, however many ask
            drawn = self._drawn.get(name)
            if drawn is None or drawn[0] != version:
                counted = seen.counted.get(name)
                frequencies = None if counted is None else counted.frequencies()
                shown = view_of(model.model, model.specification, model.result, frequencies=frequencies)
                drawn = self._drawn[name] = (version, section(shown))
        return _json({"drawn": drawn[0], "html": drawn[1]})

    def _instance(self, asked: Asked) -> Response:
        instance = history.found(self._manager, asked.query.get("identifier", ""))
        if instance is None:
            return _json({"found": False})
        return _json({"found": True, **history.plain_of(instance, self._looking.newest().deviations)})


def _json(plain: dict[str, Any]) -> Response:
    return Response(json.dumps(plain), _JSON)


def _verdict(model: Judged) -> str | None:
    return None if model.result is None else model.result.verdict.value


def _version(model: Judged, seen: Seen) -> str:
    counted = seen.counted.get(model.model.specification)
    counts = "" if counted is None else repr((counted.instances, sorted(counted.taken.items(), key=repr)))
    return f"{model.version}.{zlib.crc32(counts.encode(errors='backslashreplace')):x}"


def _of_shard(one: ShardVitals) -> dict[str, Any]:
    counters = one.counters or {}
    return {
        "shard": one.shard,
        "up": one.up,
        "status": one.status or "UNKNOWN",
        "pid": one.pid,
        "restarts": one.restarts,
        "last_exit": one.last_exit,
        "observations": observations_of(counters) if counters else None,
        "deviations": counters.get("deviations"),
        "timeouts": counters.get("timeouts"),
        "queue": counters.get("queue_depth"),
    }


def _of_deviation(one: Deviation) -> dict[str, Any]:
    source, action, target = one.transition
    return {
        "specification": encodable(one.specification),
        "step": [source, action, target],
        "verdict": one.verdict.value,
        "accepted": one.accepted,
        "count": one.count,
        "first_seen": one.first_seen.isoformat(timespec="milliseconds"),
        "last_seen": one.last_seen.isoformat(timespec="milliseconds"),
    }
