"""Measure what observing costs a request of a web service: ``python -m benchmarks.request``.

The same Flask application answers the same requests without the library's calls, with the mode off, and with the mode
observe, in alternating rounds in one process, through Flask's test client. Each request makes one observation, which
waits for its answer or does not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import flask

import spex_shards as spex


class Light(spex.Specification):
    """A traffic light."""

    name = "benchmarks.Request"
    transitions = [("red", "go", "green"), ("green", "stop", "red")]


def application(report: Callable[[int, str, str], None] | None) -> flask.Flask:
    """Return a service that switches lights, and reports each switch."""
    app = flask.Flask(__name__)
    states = {"go": "green", "stop": "red"}

    @app.post("/lights/<int:number>/<action>")
    def act(number: int, action: str) -> dict[str, str]:
        if report is not None:
            report(number, action, states[action])
        return {"state": states[action]}

    return app


def microseconds(app: flask.Flask, requests: int) -> float:
    """Return the median time of a request."""
    client, times = app.test_client(), []
    for number in range(requests):
        begun = time.perf_counter()
        answer = client.post(f"/lights/1/{('go', 'stop')[number % 2]}")
        times.append(time.perf_counter() - begun)
        assert answer.status_code == 200
    return statistics.median(times) * 1e6


def main() -> None:
    """Print the medians of all rounds, and the shares, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        places = {"data_dir": Path(name) / "data", "impl_models_dir": Path(name) / "models"}
        with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True) as manager:
            manager.init_instance(Light, 1)
            kinds: dict[str, tuple[str, Callable[[int, str, str], None] | None]] = {
                "without": ("off", None),
                "off": ("off", manager.transition),
                "observe": ("observe", manager.transition),
                "observe, nowait": ("observe", manager.transition_nowait),
            }
            found: dict[str, list[float]] = {kind: [] for kind in kinds}
            for _ in range(options.rounds):
                for kind, (mode, report) in kinds.items():
                    manager.mode = mode
                    found[kind].append(microseconds(application(report), options.requests))
                    manager.flush()
    medians = {kind: round(statistics.median(times), 1) for kind, times in found.items()}
    print(json.dumps({"microseconds a request": medians}))


if __name__ == "__main__":
    main()
