"""Shows a result: as tables for the documentation, and as plots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

NAMES = {
    "shards": "**one shard**", "in-process": "**in-process manager**", "redis": "Redis, hiredis",
    "redis-py": "Redis, redis-py's parser", "sqlite": "SQLite, in-process", "cache": "diskcache, in-process",
    "postgres": "PostgreSQL, psycopg 3", "actor": "Ray actor, SQLite", "manager": "multiprocess.Manager, SQLite",
}  # fmt: skip
FIGURES = {
    "p50_us": "p50, µs", "p99_us": "p99", "p999_us": "p99.9", "processor_us": "CPU (caller's), µs",
    "posted_per_second": "pipelined, a second", "posted_processor_us": "CPU (caller's), µs",
}  # fmt: skip
FORMS = ("pure", "compiled", "peers")


def tables(result: dict[str, Any]) -> str:
    """Return the targets, and library and peers beside each other, in Markdown."""
    load, cores = result["load"], result["machine"]["cores"]
    about = (
        f"{result['when'][:10]}, revision {result['revision']}, {result['rounds']} rounds, {cores} cores, "
        f"{result['machine']['processor']}, Python {result['machine']['python']}, kernel "
        f"{result['machine']['kernel']}; load {load['least']} to {load['most']} (median {load['median']})."
    )
    lines = [about, "", *_targets(result["targets"]), ""]
    for durability in ("process", "disk"):
        lines += [*_kinds(result["measures"], durability), ""]
    lines += [*_one_by_one(result["measures"]), ""]
    for durability in ("process", "disk"):
        lines += [*_counters(result["measures"], durability), ""]
    lines += [*_rest(result["measures"]), ""]
    lines += [f"Not measured: {name}: {why}." for name, why in result["missing"].items()]
    return "\n".join(lines).rstrip() + "\n"


def _targets(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "| what | form | target | measured: median (least to most of the rounds) | met |"
    yield "|---|---|---|---|---|"
    for row in rows:
        run = "" if row["one_run"] else ", not of one run"
        measured = f"{_short(row['median'])} ({_short(row['least'])} to {_short(row['most'])}{run})"
        yield f"| {row['what']} | {row['form']} | {row['limit']} | {measured} | {'yes' if row['met'] else '**no**'} |"


def _kinds(measures: dict[str, Any], durability: str) -> Iterator[str]:
    yield f"| durability `{durability}` | {' | '.join(FIGURES.values())} |"
    yield "|---" * (1 + len(FIGURES)) + "|"
    for name, form, entry in entries(measures, durability):
        yield _row(NAMES[name], form, entry, FIGURES)


def _one_by_one(measures: dict[str, Any]) -> Iterator[str]:
    figures = {"nowait_per_second": "a second", "nowait_processor_us": "CPU (caller's), µs"}
    yield f"| pipelined one by one (`transition_nowait`) | {' | '.join(figures.values())} |"
    yield "|---" * (1 + len(figures)) + "|"
    for durability in ("process", "disk"):
        for name, form, entry in entries(measures, durability):
            if "nowait_per_second" in entry["figures"]:
                yield _row(f"{NAMES[name]}, `{durability}`", form, entry, figures)


def _counters(measures: dict[str, Any], durability: str) -> Iterator[str]:
    figures = {**FIGURES, "callers_per_second": "4 callers, a second"}
    del figures["p999_us"]
    yield f"| counters, `{durability}` | {' | '.join(figures.values())} |"
    yield "|---" * (1 + len(figures)) + "|"
    for form in FORMS:
        for name, entry in measures.get(form, {}).items():
            first, *kind = name.split(", ")
            if first == "counters" and kind[-1] == durability:
                yield _row(kind[0], form, entry, figures)


def _rest(measures: dict[str, Any]) -> Iterator[str]:
    """Return all other measures, each with all its figures."""
    yield "| other measures | form | medians |"
    yield "|---|---|---|"
    for form in FORMS:
        for name, entry in measures.get(form, {}).items():
            if name.split(", ")[0] not in (*NAMES, "counters"):
                figures = {figure: values for figure, values in entry["figures"].items() if figure != "seconds"}
                shown = [f"{figure} {_short(values['median'])}" for figure, values in figures.items()]
                yield f"| {name} | {form} | {', '.join(shown)} |"


def _row(name: str, form: str, entry: dict[str, Any], figures: Iterable[str]) -> str:
    found = {figure: _short(values["median"]) for figure, values in entry["figures"].items()}
    for whole, part in (
        ("processor_us", "caller_us"),
        ("posted_processor_us", "posted_caller_us"),
        ("nowait_processor_us", "nowait_caller_us"),
    ):
        if part in found:
            found[whole] += f" ({found[part]})"
    cells = [found.get(figure, "") for figure in figures]
    return f"| {name}{f' ({form})' if form != 'peers' else ''} | {' | '.join(cells)} |"


def entries(measures: dict[str, Any], durability: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Iterate over what was measured of the library and its peers: name, form, entry."""
    for name in NAMES:
        for form in FORMS:
            entry = measures.get(form, {}).get(f"{name}, {durability}")
            if entry is not None:
                yield name, form, entry


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def put_into(page: Path, name: str, text: str) -> None:
    """Replace what stands in a page between the comments of a name.

    Raises:
        ValueError: The page has no such comments.
    """
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->\n"
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no comments {begin.strip()} and {end.strip()}")
    page.write_text(f"{before}{begin}\n{text.strip()}\n\n{end}{after}")


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw latencies, rates, processor time and targets; raise ImportError if matplotlib is not installed."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(15, 13), height_ratios=(1, 1.4))
    for axis, durability in zip(axes[0], ("process", "disk"), strict=True):
        _latencies(axis, result["measures"], durability)
    _processor_time(axes[1][0], result["measures"])
    _met(axes[1][1], result["targets"])
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _labels(measures: dict[str, Any], durability: str) -> tuple[list[str], list[dict[str, Any]], list[str]]:
    found = list(entries(measures, durability))
    labels = [f"{NAMES[name].strip('*')}{f' ({form})' if form != 'peers' else ''}" for name, form, _ in found]
    colours = [{"pure": "#4c78a8", "compiled": "#1f4e79", "peers": "#b0b0b0"}[form] for _, form, _ in found]
    return labels, [entry["figures"] for *_, entry in found], colours


def _latencies(axis: Any, measures: dict[str, Any], durability: str) -> None:
    """Draw for each kind a line from p50 over p99 to p99.9."""
    labels, figures, colours = _labels(measures, durability)
    for place, (found, colour) in enumerate(zip(figures, colours, strict=True)):
        values = [found[name]["median"] for name in ("p50_us", "p99_us", "p999_us")]
        axis.plot(values, [place] * 3, color=colour, linewidth=2)
        for value, mark in zip(values, "o|x", strict=True):
            axis.plot([value], [place], marker=mark, color=colour, markersize=9, markeredgewidth=2)
        axis.annotate(f"{values[0]:.0f}", (values[0], place), xytext=(0, 7), textcoords="offset points", ha="center")
    axis.set_yticks(range(len(labels)), labels)
    axis.invert_yaxis()
    axis.set_xscale("log" if labels else "linear")  # what was not measured leaves its picture empty
    axis.set_title(f"blocking, {durability}: p50 (o), p99 (|) and p99.9 (x), µs", loc="left")
    axis.grid(visible=True, axis="x", alpha=0.3)


def _processor_time(axis: Any, measures: dict[str, Any]) -> None:
    labels, figures, colours = _labels(measures, "process")
    for shift, (name, alpha) in enumerate((("processor_us", 1.0), ("posted_processor_us", 0.5))):
        values = [found[name]["median"] for found in figures]
        places = [place + shift * 0.4 for place in range(len(values))]
        axis.barh(places, values, height=0.38, color=colours, alpha=alpha)
        for place, value in zip(places, values, strict=True):
            axis.annotate(f"{value:.1f}", (value, place), xytext=(3, -4), textcoords="offset points")
    axis.set_yticks([place + 0.2 for place in range(len(labels))], labels)
    axis.invert_yaxis()
    axis.set_xscale("log" if labels else "linear")  # what was not measured leaves its picture empty
    axis.set_title("processor time of both sides, µs: blocking (dark), pipelined (light)", loc="left")


def _met(axis: Any, rows: list[dict[str, Any]]) -> None:
    """Draw how far each target is reached: to the right of the line it is met."""
    shown = [
        row for row in rows if row["form"] == ("compiled" if any(r["form"] == "compiled" for r in rows) else "pure")
    ]
    reached = []
    for row in shown:
        sense, limit, *_ = row["limit"].split()
        reached.append(float(limit) / max(row["median"], 1e-9) if sense == "≤" else row["median"] / float(limit))
    places = range(len(shown))
    axis.barh(places, [min(value, 4) for value in reached], color=["#59a14f" if r["met"] else "#e15759" for r in shown])
    axis.axvline(1, color="black", linewidth=1)
    axis.set_yticks(places, [row["target"] for row in shown])
    axis.invert_yaxis()
    form = shown[0]["form"] if shown else "neither"
    axis.set_title(f"targets, {form} form: met from 1 on, cut at 4", loc="left")
