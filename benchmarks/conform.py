"""Conformance of real event logs, compared with pm4py: ``python -m benchmarks.conform`` writes results/conform.json.

The specifications are learned: from the most frequent variants of a log, as many as have a share of its cases, with the
state after each event called as its action. pm4py gets the same system as a Petri net: a place for each state, a
transition for each step, and a silent transition to one final place from each state in which a case may end. Rounds
alternate between the two. pm4py is no dependency of the project; without it, only our own times are measured.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import spex_shards as spex
from spex_shards.checking.alignment import Aligner
from spex_shards.checking.precision import precision
from spex_shards.checking.runs import RunChecker
from spex_shards.event_log import Attributes, Conformance, EventLog, conform, read_log

LOGS = Path(__file__).resolve().parents[2] / "shared" / "data"
RESULTS = Path(__file__).parent / "results"
FILES = {
    "helpdesk": ("helpdesk.xes.gz", None),
    "bpic2013": ("bpic2013_incidents.xes.gz", "concept:name+lifecycle:transition"),
}
MISSING = """pm4py is not installed, so nothing is compared. To compare, make an environment of its own for it:
  python -m venv pm4py-env && pm4py-env/bin/pip install pm4py --editable .
  pm4py-env/bin/python -m benchmarks.conform"""


class Question(NamedTuple):
    name: str
    log: EventLog
    specification: type[spex.Specification]
    complete: bool


def questions(shares: list[float]) -> list[Question]:
    """Return what is asked: each log with each of its specifications, and complete cases where there are any."""
    found = []
    for name, (file, action) in FILES.items():
        log = read_log(LOGS / file, Attributes.of(LOGS / file, action=action))
        for share in shares:
            cls = learned(f"{name} {share:.0%}", log, share)
            found += [Question(cls.name, log, cls, complete=False)]
            if cls.terminal_states:
                found += [Question(f"{cls.name}, complete", log, cls, complete=True)]
    return found


def learned(name: str, log: EventLog, share: float) -> type[spex.Specification]:
    """Return a specification with the steps of the most frequent variants that together have a share of all cases."""
    cases: list[list[str]] = [[] for _ in log.cases]
    for case, action, _ in log.events:
        cases[case].append(action)
    steps: dict[tuple[str, str, str], None] = {}
    have = 0
    for actions, count in Counter(map(tuple, cases)).most_common():
        if have >= share * len(cases):
            break
        have += count
        steps |= {(before, after, after): None for before, after in zip(("start", *actions), actions, strict=False)}
    return spex.Specification.define(name, list(steps), initial_state="start")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    done = work()
    return time.perf_counter() - started, done


def align_all(question: Question, variants: list[tuple[str, ...]]) -> list[int]:
    """Align each variant once; return the costs."""
    aligner = Aligner(question.specification.lts, complete=question.complete)
    return [aligner.align(actions).cost for actions in variants]


class Peer:
    """What pm4py answers to the same question."""

    def __init__(self, question: Question, found: Conformance) -> None:
        with redirect_stdout(sys.stderr):
            from pm4py.algo.conformance.alignments.petri_net import algorithm as alignments
            from pm4py.algo.evaluation.precision.variants import align_etconformance
            from pm4py.algo.evaluation.replay_fitness.variants import alignment_based

        self.alignments, self.fitness, self.precision = alignments, alignment_based, align_etconformance
        self.net = self._net(question)
        self.counts = [len(variant.cases) for variant in found.variants]
        self.variants = self._log([variant.actions for variant in found.variants])
        runs = [(v.alignment.run, len(v.cases)) for v in found.variants if v.alignment.run]
        self.runs = self._log([run for run, count in runs for _ in range(count)])
        self.cases = self._log([v.actions for v in found.variants for _ in v.cases])

    @staticmethod
    def _log(sequences: list[tuple[str, ...]]) -> Any:
        from pm4py.objects.log.obj import Event, EventLog, Trace

        return EventLog([Trace([Event({"concept:name": action}) for action in actions]) for actions in sequences])

    @staticmethod
    def _net(question: Question) -> tuple[Any, Any, Any]:
        from pm4py.objects.petri_net.obj import Marking, PetriNet
        from pm4py.objects.petri_net.utils.petri_utils import add_arc_from_to

        lts = question.specification.lts
        assert lts is not None
        net = PetriNet(question.name)
        states = dict.fromkeys(s for source, _, target in lts.transitions for s in (source, target))
        places = {state: PetriNet.Place(str(state)) for state in states}
        end = PetriNet.Place("(end)")
        net.places.update([*places.values(), end])
        sources = {source for source, _, _ in lts.transitions}
        ends = [state for state in states if not question.complete or state not in sources]
        arcs = [(places[s], None if a == spex.INTERNAL else a, places[t]) for s, a, t in lts.transitions]
        for number, (before, label, after) in enumerate([*arcs, *((places[state], None, end) for state in ends)]):
            step = PetriNet.Transition(f"t{number}", label)
            net.transitions.add(step)
            add_arc_from_to(before, step, net)
            add_arc_from_to(step, after, net)
        return net, Marking({places[lts.initial_state]: 1}), Marking({end: 1})

    def align(self) -> list[dict[str, Any]]:
        """Align each variant once."""
        found: list[dict[str, Any]] = self.alignments.apply_log(self.variants, *self.net, {"show_progress_bar": False})
        return found

    def fit(self, aligned: list[dict[str, Any]]) -> dict[str, float]:
        """Return the fitness of the log."""
        pairs = zip(aligned, self.counts, strict=True)
        found: dict[str, float] = self.fitness.evaluate([one for one, count in pairs for _ in range(count)])
        return found

    def precise(self, log: Any) -> float:
        """Return the precision of the specification by a log."""
        return float(self.precision.apply(log, *self.net, {"show_progress_bar": False}))


def compare(question: Question, rounds: int, *, peer_is_there: bool) -> dict[str, Any]:
    """Return times and results for one question."""
    found = conform(question.log, question.specification, complete=question.complete)
    variants = [variant.actions for variant in found.variants]
    times: dict[str, list[float]] = {}
    peer = Peer(question, found) if peer_is_there else None
    aligned: list[dict[str, Any]] = []
    for _ in range(rounds):
        taken, costs = timed(lambda: align_all(question, variants))
        assert costs == [variant.alignment.cost for variant in found.variants]
        times.setdefault("align", []).append(taken)
        taken, _ = timed(lambda: conform(question.log, question.specification, complete=question.complete))
        times.setdefault("conform", []).append(taken)
        if peer is not None:
            taken, aligned = timed(peer.align)
            times.setdefault("pm4py_align", []).append(taken)
    result = {
        "question": question.name,
        "states": len(question.specification.states),
        "steps": len(question.specification.transitions),
        "variants": len(variants),
        "allowed_cases": found.allowed,
        "seconds": {name: statistics.median(each) for name, each in times.items()},
        "trace_fitness": found.trace_fitness,
        "log_fitness": found.log_fitness,
        "precision": found.precision.ratio,
        "precision_of_fitting_beginnings": unaligned(question, found),
    }
    if peer is not None:
        result["pm4py"] = compared(found, peer, aligned)
    return result


def unaligned(question: Question, found: Conformance) -> float:
    """Return the precision along what was observed, as far as it fits, which is what pm4py computes for a log."""
    checker = RunChecker(question.specification.lts)
    return precision(checker, [(variant.actions, len(variant.cases)) for variant in found.variants]).ratio


def compared(found: Conformance, peer: Peer, aligned: list[dict[str, Any]]) -> dict[str, Any]:
    """Return pm4py's results, and where its costs differ."""
    costs = [one["cost"] // 10_000 for one in aligned]
    fitness = peer.fit(aligned)
    seconds, of_runs = timed(lambda: peer.precise(peer.runs))
    return {
        "trace_fitness": fitness["average_trace_fitness"],
        "log_fitness": fitness["log_fitness"],
        "precision_of_aligned_runs": of_runs,
        "precision_of_the_log": peer.precise(peer.cases),
        "precision_seconds": seconds,
        "variants_of_other_cost": sum(
            cost != variant.alignment.cost for cost, variant in zip(costs, found.variants, strict=True)
        ),
    }


def shown(result: dict[str, Any]) -> str:
    seconds, count = result["seconds"], result["variants"]
    each = f"{seconds['align']:.3f} s ({1e6 * seconds['align'] / count:.0f} µs a variant)"
    lines = [
        f"{result['question']}: {result['states']} states, {result['steps']} steps, {count} variants",
        f"  alignments {each}, conform as a whole {seconds['conform']:.3f} s",
    ]
    figures = ("trace_fitness", "log_fitness", "precision", "precision_of_fitting_beginnings")
    theirs = result.get("pm4py")
    if theirs is None:
        return "\n".join([*lines, *(f"  {name} {result[name]:.6f}" for name in figures)])
    slower = f"{seconds['pm4py_align'] / seconds['align']:.0f} times as long"
    each = f"{seconds['pm4py_align']:.2f} s ({1e6 * seconds['pm4py_align'] / count:.0f} µs a variant, {slower})"
    lines += [
        f"  pm4py: alignments {each}, precision {theirs['precision_seconds']:.1f} s",
        f"  variants whose alignment has another cost: {theirs['variants_of_other_cost']}",
    ]
    keys = ("trace_fitness", "log_fitness", "precision_of_aligned_runs", "precision_of_the_log")
    for name, key in zip(figures, keys, strict=True):
        lines.append(
            f"  {name} {result[name]:.6f}, pm4py {theirs[key]:.6f}, difference {result[name] - theirs[key]:+.1e}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conform", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.8])
    arguments = parser.parse_args()
    if not LOGS.is_dir():
        raise SystemExit("not run: the event logs beside the project (../shared/data) are absent")
    peer_is_there = importlib.util.find_spec("pm4py") is not None
    if not peer_is_there:
        print(MISSING)
    results = []
    for question in questions(arguments.shares):
        results.append(compare(question, arguments.rounds, peer_is_there=peer_is_there))
        print(shown(results[-1]), flush=True)
    RESULTS.mkdir(exist_ok=True)
    versions = {"python": platform.python_version(), "cores": os.cpu_count()}
    if peer_is_there:
        versions["pm4py"] = importlib.metadata.version("pm4py")
    (RESULTS / "conform.json").write_text(json.dumps({"machine": versions, "results": results}, indent=1))


if __name__ == "__main__":
    main()
