"""Runs each target in a process of its own, and watches its memory, time and failures."""

from __future__ import annotations

import faulthandler
import json
import resource
import subprocess
import sys
import time
import traceback
from base64 import b64decode, b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from .mutate import LONGEST, Mutator
from .targets import TARGETS

MOST_MEMORY: Final = 512
"""Megabytes by which a target may grow."""
HANGS_AFTER: Final = 60.0
"""Seconds that one thousand inputs may take, before the process says where it stands and ends."""
_MOST_FAILURES: Final = 20


@dataclass(slots=True)
class Result:
    """The result of one target.

    Attributes:
        failures: The place of a failure → an input that causes it.
        slowest: Seconds of the slowest input.
    """

    target: str
    inputs: int
    refused: int = 0
    accepted: int = 0
    failures: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0
    slowest: float = 0.0
    peak_mb: float = 0.0


class Counter:
    """Gives inputs to a target, and counts the outcomes.

    Args:
        name: The target.
        done: Called with the result after `inputs` inputs.
    """

    def __init__(self, name: str, inputs: int, done: Callable[[Result], None]) -> None:
        self.result = Result(name, inputs)
        self._function = TARGETS[name].make()
        self._left = inputs
        self._done = done
        self._began = time.perf_counter()
        self._first_mb = _peak_mb()

    def __call__(self, data: bytes) -> None:
        """Give the target one input."""
        result, began = self.result, time.perf_counter()
        try:
            if self._function(data):
                result.accepted += 1
            else:
                result.refused += 1
        except Exception as error:
            if len(result.failures) < _MOST_FAILURES:
                result.failures.setdefault(_where(error), data)
        result.slowest = max(result.slowest, time.perf_counter() - began)
        self._left -= 1
        if self._left % 1000 == 0:
            faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
        if not self._left:
            self._end()

    def _end(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        self.result.seconds = time.perf_counter() - self._began
        self.result.peak_mb = _peak_mb()
        grown = self.result.peak_mb - self._first_mb
        if grown > MOST_MEMORY:
            self.result.failures[f"it has grown by {grown:.0f} MB"] = b""
        self._done(self.result)


def run_mutations(name: str, inputs: int, seed: int) -> Result:
    """Give a target `inputs` mutations, in this process."""
    results: list[Result] = []
    counter = Counter(name, inputs, results.append)
    corpus = TARGETS[name].corpus()
    mutator = Mutator(corpus, seed)
    for data in corpus[:inputs]:
        counter(data)
    for _ in range(inputs - len(corpus[:inputs])):
        accepted = counter.result.accepted
        data = mutator.next()
        counter(data)
        if counter.result.accepted > accepted and len(data) < 1024 and counter.result.accepted % 97 == 0:
            mutator.keep(data)  # so that changes add up
    return results[0]


def has_atheris() -> bool:
    """Return whether the coverage-guided engine is installed."""
    return find_spec("atheris") is not None


def run_atheris(name: str, inputs: int, seed: int, folder: Path, done: Callable[[Result], None]) -> None:
    """Give a target `inputs` inputs that follow its coverage. Never returns: `done` must end the process.

    New inputs that it finds are stored in `folder`.
    """
    import atheris

    counter = Counter(name, inputs, done)
    for number, data in enumerate(TARGETS[name].corpus()):
        (folder / str(number)).write_bytes(data)
    atheris.Setup(["fuzz", f"-seed={seed}", f"-max_len={LONGEST}", "-verbosity=0", str(folder)], counter)
    atheris.Fuzz()


def run_all(inputs: dict[str, int], seed: int, engine: str, jobs: int) -> list[Result]:
    """Run each target in a process, `jobs` at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda name: _run_apart(name, inputs[name], seed, engine), inputs))


def _run_apart(name: str, inputs: int, seed: int, engine: str) -> Result:
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.programs.fuzz.child", name, str(inputs), str(seed), engine, folder]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        result = Result(name, inputs)
        result.failures[f"the process ended with {done.returncode}: {done.stderr[-4000:]}"] = b""
        return result
    plain = json.loads(lines[-1])
    plain["failures"] = {place: b64decode(data) for place, data in plain["failures"].items()}
    return Result(**plain)


def told(result: Result) -> str:
    """Return a result as a line."""
    plain: dict[str, Any] = asdict(result)
    plain["failures"] = {place: b64encode(data).decode() for place, data in result.failures.items()}
    return json.dumps(plain)


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[1:]
    path = " > ".join(f"{Path(f.filename).name}:{f.lineno}" for f in frames)
    return f"{path}: {type(error).__name__}: {str(error)[:3000]}" if len(frames) < 40 else f"{type(error).__name__}"


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
