"""Counts what transitions cost, and compares that with recorded counts. Unlike times, they hardly change with load."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import spex_shards as spex
from spex_shards.runtime.system.form import COMPILED
from tests.support.places import DATA, ROOT
from tests.support.processes import traced

from .driven import MARK, STEPS, TIMES, WORK, Light

RECORDED = DATA / "costs.json"
ALLOWED = 0.05
"""By how much a count may grow, as a share of the recorded one."""
SLACK = 0.005
"""By how much it may grow besides: a handful of system calls in 1,000 transitions depends on chance."""
BLOCKING, POSTED = 100, 1000
_TRIES = 5


def instructions(only: Collection[str] = tuple(WORK), *, slowed: bool = False) -> dict[str, float]:
    """Return how many instructions a transition takes on each side, by Valgrind; `slowed`: with the dearer way."""
    command = [sys.executable, "-m", "tests.programs.costs.driven", "--only", *only, *(["--slowed"] if slowed else [])]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        valgrind = ["valgrind", "--tool=callgrind", f"--dump-before={MARK}", f"--callgrind-out-file={out}"]
        env = {
            **os.environ,
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        done = subprocess.run(
            [*valgrind, *command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            raise RuntimeError(f"the work failed under Valgrind: {done.stderr[-2000:]}")
        # The dump before each second mark has the instructions since the first one.
        return {name: _total(Path(f"{out}.{2 * number}")) / TIMES for number, name in enumerate(only, start=1)}


def _total(dump: Path) -> int:
    found = re.search(r"^totals: (\d+)", dump.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def system_calls() -> dict[str, float]:
    """Return the system calls of a blocking transition, and of one of 1,000 posted ones, on both sides, by strace.

    Only those of the thread that makes the calls, and of the worker's loop. The least of a few tries is returned: now
    and then something that is due adds to them.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        places = {"data_dir": folder / "data", "impl_models_dir": folder / "models"}
        options = {"distribution_factor": 1, "learning_mode": True, "hang_timeout": None}
        with spex.ShardedInstanceManager(**places, **options, spin=0) as manager:  # type: ignore[arg-type]
            manager.init_instance(Light, 1)
            worker = manager.shards()[0].pid
            assert worker is not None
            found: dict[str, float] = {}
            for side, thread in (("client", threading.get_native_id()), ("worker", worker)):
                blocking = [_calls(thread, folder / "trace", lambda: _blocking(manager)) for _ in range(_TRIES)]
                posted = [_calls(thread, folder / "trace", lambda: _posted(manager, worker)) for _ in range(_TRIES)]
                found |= {f"{side}, blocking": min(blocking) / BLOCKING, f"{side}, posted": min(posted) / POSTED}
    return found


def _blocking(manager: spex.ShardedInstanceManager) -> None:
    for number in range(BLOCKING):
        manager.transition(1, *STEPS[number % 2])


def _posted(manager: spex.ShardedInstanceManager, worker: int) -> None:
    """Post all while the worker is stopped, so that the number of its turns does not depend on chance."""
    with _stopped(worker):
        for number in range(POSTED):
            manager.transition_nowait(1, *STEPS[number % 2])
    manager.flush()


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _calls(thread: int, trace: Path, work: Callable[[], None]) -> int:
    with traced(thread, trace, "trace=all"):
        work()
    return len(re.findall(rf"^{thread}\s+\w+\(", trace.read_text(), re.MULTILINE))


def measured() -> dict[str, float]:
    """Return all counts."""
    return {
        **{f"instructions, {name}": round(count) for name, count in instructions().items()},
        **{f"system calls, {name}": round(count, 3) for name, count in system_calls().items()},
    }


def platform_key() -> str:
    """Return what recorded counts are valid for: the Python and how it was built, the processor, the package's form."""
    built = "optimised" if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "") else "plain"
    form = "compiled" if COMPILED else "pure"
    return f"{sys.implementation.name}-{platform.python_version()}-{built}-{os.uname().machine}-{form}"


def recorded() -> dict[str, float] | None:
    """Return the counts that were recorded for this platform, or None."""
    found: dict[str, dict[str, float]] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    return found.get(platform_key())


def record(counts: dict[str, float]) -> None:
    """Keep counts as what later ones on this platform are compared with."""
    everything = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    RECORDED.write_text(json.dumps({**everything, platform_key(): counts}, indent=1, sort_keys=True) + "\n")


def grown(counts: dict[str, float], before: dict[str, float]) -> list[str]:
    """Return a line for each count that has grown by more than is allowed."""
    return [
        f"{name}: {counts[name]:,.10g}, where {count:,.10g} was recorded ({counts[name] / count - 1:+.1%})"
        for name, count in before.items()
        if name in counts and counts[name] > count * (1 + ALLOWED) + SLACK
    ]
