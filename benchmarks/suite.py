"""Makes all measures in rounds, in which they take turns, and compares them with the targets."""

from __future__ import annotations

import compileall
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .machine import BIAS, METHOD, machine, revision
from .measures import MEASURES
from .targets import TARGETS, Figure, Target
from .timing import Figures

ROOT = Path(__file__).resolve().parents[1]
COMPILED = ROOT / "build" / "compiled"
PEERS = "peers"
"""The form under which measures are kept that the package takes no part in."""
TIMEOUT = 1800


def forms() -> dict[str, Path]:
    """Return where each form of the package lies: the pure one, and a compiled one that was made from this source.

    Raises:
        RuntimeError: The compiled form was made from other source, or compiled modules lie beside the pure ones.
    """
    beside = list((ROOT / "spex_shards").rglob("*.so"))
    if beside:
        raise RuntimeError(f"the pure form cannot be measured: delete {beside[0]} and the other compiled modules there")
    found = {"pure": ROOT}
    if (COMPILED / "spex_shards").is_dir():
        for path in (ROOT / "spex_shards").rglob("*.py"):
            other = COMPILED / path.relative_to(ROOT)
            if not other.exists() or other.read_bytes() != path.read_bytes():
                raise RuntimeError(
                    f"{COMPILED} was made from other source: `make wheel` makes it again ({other} differs)"
                )
        found["compiled"] = COMPILED
    for place in found.values():  # else the first one to import it would lose
        compileall.compile_dir(place / "spex_shards", quiet=1)
    return found


def made(measure: str, place: Path, python: str = sys.executable) -> dict[str, Any]:
    """Make a measure in a process of its own, with the package in a folder; return its figures, or what is missing."""
    command = [python, "-P", "-m", "benchmarks.measures", measure]
    environment = {**os.environ, "PYTHONPATH": f"{place}:{ROOT}"}
    started = time.monotonic()
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    making = subprocess.Popen(command, env=environment, cwd="/", start_new_session=True, **pipes)
    try:
        output, errors = making.communicate(timeout=TIMEOUT)
    except BaseException as error:  # its servers as well, also after Ctrl-C
        os.killpg(making.pid, signal.SIGKILL)
        making.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            return {"missing": f"it did not end within {TIMEOUT} s"}
        raise
    if making.returncode:
        return {"missing": f"it failed: {' '.join(errors.strip().splitlines()[-1:]) or making.returncode}"}
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return found if "missing" in found else {**found, "seconds": time.monotonic() - started}


class Suite:
    """Measures that are made in rounds.

    Args:
        names: The measures' names.
        places: Form → the folder with the package in that form.

    Attributes:
        figures: Form → measure → the figures of each round.
        missing: Measure → why it was not made.
        loads: The machine's load before each measure.
    """

    def __init__(self, names: Sequence[str], places: Mapping[str, Path]) -> None:
        self._work = [(name, form) for name in names for form in (places if MEASURES[name].ours else [PEERS])]
        self._places = {**places, PEERS: ROOT}
        self.figures: dict[str, dict[str, list[Figures]]] = {form: {} for form in self._places}
        self.missing: dict[str, str] = {}
        self.loads: list[float] = []

    def run(self, rounds: int) -> None:
        """Make all rounds, and print progress; after Ctrl-C, what was made until then is kept."""
        try:
            self._run(rounds)
        except KeyboardInterrupt:
            say("stopped: the result has what was measured until now")

    def _run(self, rounds: int) -> None:
        order, begun = random.Random(1), time.monotonic()
        for number in range(rounds):
            work = [(name, form) for name, form in self._work if number < (MEASURES[name].rounds or rounds)]
            order.shuffle(work)
            for count, (name, form) in enumerate(work):
                if name in self.missing:
                    continue
                gone = time.monotonic() - begun
                say(f"{gone:4.0f} s, round {number + 1} of {rounds}, {count + 1} of {len(work)}: {name} ({form})")
                self._make(name, form)

    def _make(self, name: str, form: str) -> None:
        self.loads.append(os.getloadavg()[0])
        found = made(name, self._places[form])
        if "missing" in found:
            self.missing[name] = found["missing"]
            say(f"left out: {name}: {found['missing']}")
        else:
            self.figures[form].setdefault(name, []).append(found)

    def result(self) -> dict[str, Any]:
        """Return everything, as JSON."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        about = {"when": when, "revision": revision(), "load": summary(self.loads)}
        entries = {
            form: {name: {**about, "rounds": len(found), "figures": _summaries(found), "values": found}
                   for name, found in measures.items()}
            for form, measures in self.figures.items()
        }  # fmt: skip
        rounds = max((len(found) for measures in self.figures.values() for found in measures.values()), default=0)
        return {
            "machine": machine(), "method": METHOD, "bias": BIAS, **about, "rounds": rounds,
            "measures": entries, "missing": self.missing,
        }  # fmt: skip


def merged(before: dict[str, Any] | None, result: dict[str, Any]) -> dict[str, Any]:
    """Return a result that also has the measures of an earlier run which this one did not make."""
    for form, measures in (before or {}).get("measures", {}).items():
        entries = result["measures"].setdefault(form, {})
        for name, entry in measures.items():
            if name in MEASURES and name not in result["missing"]:
                entries.setdefault(name, entry)
    result["targets"] = [row for target in TARGETS for row in compared(target, result["measures"])]
    return result


def compared(target: Target, measures: Mapping[str, Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Return a row for each form of the package in which a target was measured."""
    for form in measures:
        entries = [_entry(figure, form, measures) for figure in (target.over, target.under) if figure is not None]
        if form == PEERS or None in entries or not any(MEASURES[name].ours for name in target.measures):
            continue
        ratios = _ratios(target, [entry["values"] for entry in entries if entry is not None])
        limit = target.compiled if form == "compiled" else target.pure
        value = statistics.median(ratios)
        unit = "" if target.unit == "times" else f" {target.unit}"
        yield {
            "target": target.name, "what": target.what, "form": form, "limit": f"{target.sense} {limit:g}{unit}",
            "met": value <= limit if target.sense == "≤" else value >= limit, **summary(ratios),
            "one_run": len({entry["when"] for entry in entries if entry is not None}) == 1,
        }  # fmt: skip


def _entry(figure: Figure, form: str, measures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    found = measures.get(form if MEASURES[figure.measure].ours else PEERS, {}).get(figure.measure)
    return found if found is not None and figure.name in found["figures"] else None


def _ratios(target: Target, values: list[list[Figures]]) -> list[float]:
    over = [one[target.over.name] for one in values[0]]
    if target.under is None:
        return over
    under = [one[target.under.name] for one in values[1]]
    return [a / b for a, b in zip(over, under, strict=False)]


def _summaries(found: list[Figures]) -> dict[str, dict[str, float]]:
    return {name: summary([one[name] for one in found]) for name in found[0]}


def summary(values: list[float]) -> dict[str, float]:
    """Return the median, the least and the greatest of some values."""
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)
