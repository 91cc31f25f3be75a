"""OpenTelemetry: metrics of shards, and a span for each deviation, read back by its own exporters."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import spex_shards as spex
from spex_shards import otel
from tests.support.processes import wait_until

pytestmark = pytest.mark.usefixtures("specifications_as_before")


class Collected:
    """The providers of a test, and what they have exported."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))

    def instrument(self, manager: spex.InstanceManager | None, **options: Any) -> otel.Instrumentation:
        """Instrument a manager with these providers."""
        return otel.instrument(manager, self.meters, self.tracers, **options)

    def numbers(self) -> dict[str, dict[tuple[Any, ...], float]]:
        """Return name → values of the attributes → number."""
        data = self.reader.get_metrics_data()
        found: dict[str, dict[tuple[Any, ...], float]] = {}
        for resource in [] if data is None else data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points = {tuple(point.attributes.values()): point.value for point in metric.data.data_points}
                    found[metric.name] = points
        return found


@pytest.fixture
def collected() -> Iterator[Collected]:
    """Return the providers of the test; they are shut down."""
    one = Collected()
    yield one
    one.meters.shutdown()
    one.tracers.shutdown()


def order(**options: Any) -> type[spex.Specification]:
    """Return a specification."""
    return spex.Specification.define("otel.Order", [("new", "pay", "paid"), ("paid", "ship", "shipped")], **options)


def test_metrics_are_read_when_they_are_collected(collected: Collected, places: dict[str, Path]) -> None:
    """By shard; nothing is told before the manager is started, and after `close`."""
    manager = spex.SimpleInstanceManager(learning_mode=True, **places)
    with collected.instrument(manager) as instrumentation:
        assert "spex_shards.up" not in collected.numbers()
        otel_first = otel.instrument(manager, collected.meters, collected.tracers, spans=False)
        otel_first.close()
        instrumentation.close()
    with manager:
        manager.init_instance(order(), 1)
        manager.transition(1, "pay", "paid")
        other = Collected()
        with other.instrument(manager):
            numbers = other.numbers()
            assert numbers["spex_shards.up"] == {(0,): 1}
            assert numbers["spex_shards.observations"] == {(0,): 2}
            assert numbers["spex_shards.requests"][0, "transition"] == 1
            assert numbers["spex_shards.status"][0, "ready"] == 1
        assert other.numbers() == {}
        other.meters.shutdown()
    assert collected.numbers() == {}


@pytest.mark.parametrize("kind", ["run", "model"])
def test_a_deviation_is_a_span_in_the_span_of_its_call(
    collected: Collected, places: dict[str, Path], kind: str
) -> None:
    """With what it is about; a violation has the status of an error."""
    tracer = collected.tracers.get_tracer("application")
    places["impl_models_dir"].mkdir()
    steps = [(None, spex.INITIALISATION, "new"), ("new", "pay", "paid"), ("paid", "ship", "shipped")]
    model = spex.ImplModel(specification="otel.Order", transitions=steps, learning_mode=False)
    (places["impl_models_dir"] / "otel.Order.spex").write_text(model.serialise())
    with spex.SimpleInstanceManager(**places) as manager, collected.instrument(manager):
        manager.init_instance(order(judge=kind), ("order", 17))
        collected.exporter.clear()
        with tracer.start_as_current_span("request") as request:
            manager.try_transition(("order", 17), "steal", "gone")
    spans = [one for one in collected.exporter.get_finished_spans() if one.name == "spex_shards.deviation"]
    assert len(spans) == 1
    told = dict(spans[0].attributes or {})
    assert spans[0].parent is not None
    assert spans[0].parent.span_id == request.get_span_context().span_id
    assert told.pop("spex_shards.call_site").startswith(__file__)
    assert told.pop("spex_shards.shard", 0) == 0
    assert told == {
        "spex_shards.specification": "otel.Order",
        "spex_shards.identifier": "('order', 17)",
        "spex_shards.source": "new",
        "spex_shards.action": "steal",
        "spex_shards.target": "gone",
        "spex_shards.verdict": "violation",
        "spex_shards.kind": "from_specification" if kind == "run" else "not_equivalent",
    }
    assert spans[0].status.status_code is StatusCode.ERROR
    assert spans[0].start_time == spans[0].end_time


def test_identifiers_and_spans_can_be_left_out(collected: Collected, places: dict[str, Path]) -> None:
    """Identifiers may be personal data."""
    with spex.SimpleInstanceManager(**places) as manager:
        manager.init_instance(order(judge="run"), 17)
        with collected.instrument(manager, identifiers=False), collected.instrument(manager, spans=False):
            manager.try_transition(17, "steal", "gone")
        manager.try_transition(17, "steal", "gone")
    [span] = [one for one in collected.exporter.get_finished_spans() if one.name == "spex_shards.deviation"]
    assert "spex_shards.identifier" not in (span.attributes or {})
    assert "17" not in str(span.attributes)


@pytest.mark.process
def test_a_deviation_in_a_shard_is_a_span_of_the_application(collected: Collected, places: dict[str, Path]) -> None:
    """Also if nobody waits for the answer; then it belongs to no span."""
    with spex.ShardedInstanceManager(distribution_factor=2, **places) as manager, collected.instrument(manager):
        for identifier in (17, 18):
            manager.init_instance(order(judge="run"), identifier)
        manager.transition_nowait(17, "steal", "gone")
        manager.try_transition(18, "steal", "gone")
        manager.flush()
        wait_until(lambda: len(collected.exporter.get_finished_spans()) == 2, "the log record has arrived as well")
    spans = [one for one in collected.exporter.get_finished_spans() if one.name == "spex_shards.deviation"]
    assert len(spans) == 2
    assert all(one.parent is None for one in spans)


def test_what_is_no_blocking_manager_is_refused() -> None:
    """The error says what may be given."""
    with pytest.raises(
        TypeError, match=r"^manager must be an InstanceManager \(not one of spex_shards\.aio\) or None, got: 7$"
    ):
        otel.instrument(7)


def test_nothing_of_it_is_imported_before_it_is_used() -> None:
    """Neither by the package nor by the module; without the API, the error says what to install."""
    code = """
import sys, spex_shards
assert not {"spex_shards.otel", "spex_shards.telemetry", "spex_shards.web"} & set(sys.modules)
import spex_shards.otel
assert "opentelemetry" not in sys.modules
sys.modules["opentelemetry"] = None
try:
    spex_shards.otel.instrument()
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "spex_shards.otel needs OpenTelemetry: pip install 'spex-shards[otel]'\n"
