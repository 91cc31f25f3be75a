"""The metrics of shards, in one table for all systems that collect them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, Final, NamedTuple

from ..runtime.shard_info import ShardStatus
from .vitals import ShardVitals

OBSERVATIONS: Final = ("init", "transition", "transition_if_known")
"""The requests that are observations."""
_NOT_COUNTED: Final = ("stats",)
"""Requests that collecting metrics makes itself."""


class Kind(StrEnum):
    """What a number does: a counter only grows, except that a worker's begins at 0 again after a restart."""

    COUNTER = "counter"
    GAUGE = "gauge"


class Metric(NamedTuple):
    """A metric.

    Attributes:
        name: Its name without prefix and ending, with underscores.
        kind: What its numbers do.
        unit: The unit, "" for a plain number.
        help: What it tells.
        label: The name of a second label beside `shard`, or "".
        numbers: Returns the numbers of a shard, by the value of the second label; none if they are not known.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    label: str
    numbers: Callable[[ShardVitals], dict[str, float]]


def observations_of(counters: dict[str, Any]) -> int:
    """Return how many observations a shard's counters tell of."""
    return sum(counters["requests"].get(kind, 0) for kind in OBSERVATIONS)


def _counter(key: str) -> Callable[[ShardVitals], dict[str, float]]:
    return lambda one: {"": one.counters[key]} if one.counters is not None and key in one.counters else {}


def _requests(one: ShardVitals) -> dict[str, float]:
    counted = {} if one.counters is None else one.counters["requests"]
    return {kind: number for kind, number in sorted(counted.items()) if kind not in _NOT_COUNTED}


def _status(one: ShardVitals) -> dict[str, float]:
    return {status.value.lower(): float(one.status == status) for status in ShardStatus}


def _table() -> Iterator[Metric]:
    def counter(name: str, key: str, text: str, unit: str = "") -> Metric:
        return Metric(name, Kind.COUNTER, unit, text, "", _counter(key))

    def gauge(name: str, key: str, text: str, unit: str = "") -> Metric:
        return Metric(name, Kind.GAUGE, unit, text, "", _counter(key))

    yield Metric("up", Kind.GAUGE, "", "Whether the shard is ready and answers.", "", lambda one: {"": float(one.up)})
    yield Metric("status", Kind.GAUGE, "", "1 for the status that the shard has, else 0.", "status", _status)
    yield Metric(
        "restarts", Kind.COUNTER, "", "Restarts of the shard's worker.", "", lambda one: {"": float(one.restarts)}
    )
    yield Metric("requests", Kind.COUNTER, "", "Requests carried out, by operation.", "operation", _requests)
    yield Metric(
        "observations", Kind.COUNTER, "", "Initialisations and transitions among the requests.", "",
        lambda one: {} if one.counters is None else {"": observations_of(one.counters)},
    )  # fmt: skip
    yield counter("deviations", "deviations", "Transitions that the model does not have.")
    yield counter("timeouts", "timeouts", "Transition timeouts.")
    yield counter("batches", "batches", "Batches of requests that were committed.")
    yield gauge("queue_depth", "queue_depth", "Requests that waited when the newest batch began.")
    yield gauge("outbox_records", "outbox", "Log records that no application has taken yet.")
    yield counter("processor_seconds", "processor_seconds", "Processor time of the shard's worker.", "s")
    yield counter("received_bytes", "bytes_in", "Bytes of requests.", "By")
    yield counter("sent_bytes", "bytes_out", "Bytes of answers.", "By")
    yield gauge("store_bytes", "store_size", "Size of the shard's files.", "By")


METRICS: Final = tuple(_table())
