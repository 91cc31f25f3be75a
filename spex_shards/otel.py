"""OpenTelemetry: metrics of a manager's shards, and one span for each deviation. Install ``spex-shards[otel]``.

Nothing of OpenTelemetry is imported before `instrument` is called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Self

from . import __version__
from .errors import show
from .manager import InstanceManager, default
from .telemetry import METRICS, Metric, Vitals
from .telemetry.metrics import Kind

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.trace import Tracer, TracerProvider

_NAME: Final = "spex_shards"
_DEVIATION: Final = "deviation_"
"""What the events of log records about deviations begin with."""
_READ_WITHIN: Final = 1.0


class Instrumentation:
    """What `instrument` has switched on; use `close`, or ``with``, to switch it off."""

    def __init__(self, handler: logging.Handler) -> None:
        self._handler = handler
        self.is_on = True

    def close(self) -> None:
        """Make no more spans, and report no more numbers. May be called again."""
        self.is_on = False
        logging.getLogger(_NAME).removeHandler(self._handler)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def instrument(
    manager: InstanceManager | None = None,
    meter_provider: MeterProvider | None = None,
    tracer_provider: TracerProvider | None = None,
    *,
    spans: bool = True,
    identifiers: bool = True,
) -> Instrumentation:
    """Report the state of a manager's shards as metrics, and each deviation as a span; return what switches it off.

    The metrics are those of ``serve --metrics``, named ``spex_shards.up`` and so on, with the attribute `shard`. They
    are read when the application's exporter collects them, at most once a second and for at most a second. The manager
    is not started by this.

    A span is made from the log record of a deviation, in the process and thread where that is logged. For a call that
    waits, that is inside of the span that is current at the call. Log records do not tell managers apart: if a process
    has several, instrument each of them, and all but one with ``spans=False``.

    Args:
        manager: The manager; None: the default manager of the module-level calls, whenever there is one.
        meter_provider: For the metrics; None: the global one.
        tracer_provider: For the spans; None: the global one.
        spans: Whether to make spans.
        identifiers: Whether spans tell the instance's identifier.

    Raises:
        TypeError: The manager is something else.
        ImportError: OpenTelemetry's API is not installed; says how to install it.
    """
    if manager is not None and not isinstance(manager, InstanceManager):
        raise TypeError(
            f"manager must be an InstanceManager (not one of spex_shards.aio) or None, got: {show(manager)}"
        )
    try:
        from opentelemetry import metrics, trace
    except ImportError as error:
        raise ImportError("spex_shards.otel needs OpenTelemetry: pip install 'spex-shards[otel]'") from error
    handler = _Spans(trace.get_tracer(_NAME, __version__, tracer_provider), identifiers=identifiers)
    instrumentation = Instrumentation(handler)
    meter = metrics.get_meter(_NAME, __version__, meter_provider)
    vitals = Vitals(lambda: default.current if manager is None else manager)
    for metric in METRICS:
        make = meter.create_observable_counter if metric.kind is Kind.COUNTER else meter.create_observable_gauge
        called = f"{_NAME}.{metric.name}"
        make(called, [_reading(instrumentation, vitals, metric)], metric.unit, metric.help)
    if spans:
        logging.getLogger(_NAME).addHandler(handler)
    return instrumentation


def _reading(
    instrumentation: Instrumentation, vitals: Vitals, metric: Metric
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    from opentelemetry.metrics import Observation

    def read(_: CallbackOptions) -> Iterable[Observation]:
        if not instrumentation.is_on:
            return
        for one in vitals.read(_READ_WITHIN):
            for value, number in metric.numbers(one).items():
                yield Observation(number, {"shard": one.shard, **({metric.label: value} if metric.label else {})})

    return read


class _Spans(logging.Handler):
    """Makes a span of each log record about a deviation."""

    def __init__(self, tracer: Tracer, *, identifiers: bool) -> None:
        super().__init__()
        self._tracer = tracer
        self._identifiers = identifiers

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._span(record.__dict__, int(record.created * 1e9))
        except Exception:
            self.handleError(record)

    def _span(self, known: dict[str, Any], at: int) -> None:
        from opentelemetry.trace import Status, StatusCode

        event = known.get("spex_event")
        if not isinstance(event, str) or not event.startswith(_DEVIATION):
            return
        source, action, target = known.get("transition") or (None, None, None)
        told = {
            "specification": known.get("specification"),
            "identifier": show(known.get("identifier")) if self._identifiers else None,
            "action": action,
            "source": source,
            "target": target,
            "verdict": known.get("verdict"),
            "kind": event.removeprefix(_DEVIATION),
            "shard": known.get("shard"),
            "call_site": known.get("call_site"),
        }
        attributes = {f"{_NAME}.{name}": value for name, value in told.items() if value is not None}
        span = self._tracer.start_span(f"{_NAME}.deviation", attributes=attributes, start_time=at)
        if told["kind"] != "still_equivalent":
            span.set_status(Status(StatusCode.ERROR, f"{told['kind']}: {told['verdict']}"))
        span.end(at)
