"""What all tests share: managers of each kind, deadlines instead of sleeps, and the proof that no child is left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.domain.specification import _registered

SHARED = Path(__file__).resolve().parents[2] / "shared"
_not_run: dict[str, list[str]] = {}


def pytest_configure() -> None:
    """Take Ctrl-C even where it was ignored, as behind a shell's ``&``: what the tests start inherits that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs files or tools that are not here, and say so."""
    import shutil

    for item in items:
        if item.get_closest_marker("shared") and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason="needs the data that lies beside the project (../shared)"))
        for marker in item.iter_markers("tool"):
            name = marker.args[0]
            if shutil.which(name) is None:
                item.add_marker(pytest.mark.skip(reason=f"needs the system tool {name}"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was not run, and why."""
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _not_run.setdefault(reason.removeprefix("Skipped: "), []).append(report.nodeid)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """End with a table of what was not run and why."""
    terminalreporter.section("not run, and why")
    if not _not_run:
        terminalreporter.write_line("everything was run")
    for reason, tests in sorted(_not_run.items()):
        terminalreporter.write_line(f"{len(tests):5}  {reason}")


def wait_until(condition: Callable[[], Any], what: str, within: float = 20.0) -> Any:
    """Return the first true value of `condition`; fail when there is none by the deadline."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"waited {within} s in vain until {what}")
        time.sleep(0.005)


def children() -> set[int]:
    """Return the process ids of this process's children, zombies included."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found |= {int(pid) for pid in (task / "children").read_text().split()}
        except OSError:
            continue
    return found


def descendants(pid: int | None = None) -> set[int]:
    """Return the process ids of everything below `pid` (this process by default)."""
    below: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            below.setdefault(parent, []).append(int(folder.name))
    found: set[int] = set()
    todo = [os.getpid() if pid is None else pid]
    while todo:
        for child in below.get(todo.pop(), []):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def is_gone(pid: int) -> bool:
    """Whether no process of that id runs (a zombie does not run)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def kill_worker(manager: spex.ShardedInstanceManager, index: int) -> int:
    """SIGKILL a shard's worker; return its process id once the process is gone."""

    def living() -> int:
        found = manager.shards()[index].pid  # the supervisor may not have seen yet that it is dead
        return found if found is not None and not is_gone(found) else 0

    pid = wait_until(living, f"shard {index} has a process")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_gone(pid), f"worker {pid} is gone")
    return int(pid)


@contextmanager
def traced(pid: int, output: Path, *rules: str) -> Iterator[None]:
    """Have strace write a process's system calls to a file, or make them fail."""
    command = ["strace", "-f", "-p", str(pid), *(part for rule in rules for part in ("-e", rule)), "-o", str(output)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    assert "attached" in tracer.stderr.readline()
    try:
        yield
    finally:
        tracer.terminate()
        tracer.communicate(timeout=20)


@pytest.fixture
def specifications_as_before() -> Iterator[None]:
    """Forget the specifications that a test registers."""
    before = dict(_registered)
    yield
    _registered.clear()
    _registered.update(before)


@pytest.fixture
def no_process_left() -> Iterator[None]:
    """Prove that the test leaves no child process and no zombie behind."""
    before = children()
    yield
    wait_until(lambda: children() <= before, "all child processes are gone", within=10)


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Return fresh data and model directories, as options."""
    return {"data_dir": tmp_path / "data", "impl_models_dir": tmp_path / "models"}


KINDS = {
    "in-process": (spex.SimpleInstanceManager, {}),
    "1 shard": (spex.ShardedInstanceManager, {"distribution_factor": 1}),
    "3 shards": (spex.ShardedInstanceManager, {"distribution_factor": 3}),
}


@pytest.fixture(params=KINDS, ids=lambda name: name.replace(" ", "-"))
def make_manager(
    request: pytest.FixtureRequest, places: dict[str, Path], no_process_left: None
) -> Iterator[Callable[..., Any]]:
    """Return a function that starts a manager of each kind over the same directories; all are closed at the end."""
    cls, fixed = KINDS[request.param]
    made: list[Any] = []

    def make(**options: Any) -> Any:
        manager = cls(**{**places, **fixed, "call_timeout": 20.0, **options}).start()
        made.append(manager)
        return manager

    yield make
    for manager in made:
        manager.close()


@pytest.fixture
def manager(make_manager: Callable[..., Any]) -> Any:
    """Return a started manager of each kind."""
    return make_manager()
