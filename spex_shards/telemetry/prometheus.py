"""Metrics as Prometheus reads them: the text format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from .. import __version__
from .metrics import METRICS, Kind, Metric
from .vitals import ShardVitals

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "spex_shards_"


def exposition(vitals: Sequence[ShardVitals]) -> str:
    """Return all metrics of all shards as text; a number that is not known is left out."""
    about = f'# TYPE {PREFIX}build_info gauge\n{PREFIX}build_info{{version="{_escaped(__version__)}"}} 1\n'
    lines = [f"# HELP {PREFIX}build_info The version of spex-shards.\n{about}"]
    lines += ["".join(f"{line}\n" for line in _lines(metric, vitals)) for metric in METRICS]
    return "".join(lines)


def _lines(metric: Metric, vitals: Iterable[ShardVitals]) -> Iterator[str]:
    name = PREFIX + metric.name + ("_total" if metric.kind is Kind.COUNTER else "")
    yield f"# HELP {name} {metric.help}"
    yield f"# TYPE {name} {metric.kind}"
    for one in vitals:
        for value, number in metric.numbers(one).items():
            label = f',{metric.label}="{_escaped(value)}"' if metric.label else ""
            yield f'{name}{{shard="{one.shard}"{label}}} {_number(number)}'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(float(number))
