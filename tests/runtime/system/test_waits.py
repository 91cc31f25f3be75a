"""Waits that are longer than the system accepts: no option and no clock leads to one."""

from __future__ import annotations

import ast
import select
import subprocess
import sys
import time
from datetime import timedelta
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.manager.options import LONGEST_SECONDS, resolve
from spex_shards.runtime.system.waits import LONGEST_WAIT, capped, milliseconds
from tests.runtime.worker.test_worker_loop import FailingStore, Shard
from tests.support.helper_specs import Door
from tests.support.processes import descendants, wait_until

PACKAGE = Path(spex.__file__).parent
MONTH = 30 * 86400


@pytest.mark.parametrize(
    ("seconds", "waited"),
    [(-inf, 0.0), (-1, 0.0), (0, 0.0), (0.5, 0.5), (1e10, LONGEST_WAIT), (inf, LONGEST_WAIT), (nan, LONGEST_WAIT)],
)
def test_a_wait_is_neither_negative_nor_longer_than_the_system_takes(seconds: float, waited: float) -> None:
    """In milliseconds, it is not rounded down to nothing."""
    assert capped(seconds) == waited
    assert milliseconds(seconds) == waited * 1000
    assert (capped(None), milliseconds(0.000_01)) == (LONGEST_WAIT, 1)
    assert milliseconds(LONGEST_WAIT) < 2**31


@pytest.mark.parametrize("name", ["call_timeout", "hang_timeout", "shutdown_timeout", "max_seconds", "retry_failed"])
@pytest.mark.parametrize("value", [120 * 86400, 1e9, timedelta(days=31)])
def test_an_option_of_more_than_thirty_days_is_refused_by_its_rule(name: str, value: Any) -> None:
    """The error's rule has the limit; exactly thirty days are allowed."""
    with pytest.raises(ValueError, match=rf"the option {name} must be .* at most 2592000 \(30 days\).*, got: "):
        resolve({name: value}, {}, {}, "")
    assert resolve({name: timedelta(days=30)}, {}, {}, "")[name] == LONGEST_SECONDS == MONTH


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
def test_the_longest_values_of_all_options_work(places: dict[str, Path]) -> None:
    """They work from the start, over an observation and a death, to the close."""
    longest = dict.fromkeys(("call_timeout", "hang_timeout", "shutdown_timeout", "max_seconds", "retry_failed"), MONTH)
    with spex.ShardedInstanceManager(
        **places, distribution_factor=1, learning_mode=True, prune_interval=timedelta.max, **longest
    ) as manager:
        manager.init_instance(Door, 1)
        assert manager.shards()[0].restarts == 0
        manager.transition_nowait(1, "open", "opened")
        manager.flush()
        assert manager.get_instance(1).current_state == "opened"


@pytest.mark.parametrize("days", [30, 36500])
def test_a_wall_clock_that_is_set_back_lets_a_worker_wait_and_look_again(days: int) -> None:
    """The next due time is then further away than the longest wait of the system."""
    shard = Shard(FailingStore())
    try:
        shard.turn()
        back = time.time_ns() - days * 86_400_000_000_000
        shard.time_ns = lambda: back
        waits: list[float] = []

        class Poll:
            def poll(self, timeout: float) -> list[Any]:
                waits.append(timeout)
                select.epoll().poll(0 if timeout <= LONGEST_WAIT else timeout)
                return []

            close = unregister = register = staticmethod(lambda *_: None)

        shard.worker._epoll.close()
        shard.worker._epoll = Poll()  # type: ignore[assignment]
        shard.worker.turn()
        [wait] = waits
        assert 0 < wait <= LONGEST_WAIT
    finally:
        shard.close()


BACK = """
import time
now_ns, now = time.time_ns, time.time
def shift():
    import os
    return 30 * 86400 if os.path.exists({flag!r}) else 0
time.time_ns = lambda: now_ns() - shift() * 10**9
time.time = lambda: now() - shift()
"""
OWNER = """
import sys, spex_shards as spex
sys.path[:0] = {path!r}
from spex_shards.runtime.client import owner
owner._BOOTSTRAP = {back!r} + owner._BOOTSTRAP
from tests.support.helper_specs import Door
with spex.ShardedInstanceManager(
    data_dir={data!r}, impl_models_dir={models!r}, distribution_factor=1, learning_mode=True, call_timeout=20
) as manager:
    for word in sys.stdin:
        if word.strip() == "observe":
            manager.init_instance(Door, 1)
        print(len(manager.all_instances()), manager.shards()[0].restarts, flush=True)
"""


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
def test_no_worker_dies_when_the_wall_clock_is_set_back_by_a_month(places: dict[str, Path], tmp_path: Path) -> None:
    """The clock of a real supervisor and worker is set back while they run."""
    flag = tmp_path / "back"
    script = OWNER.format(
        path=[str(PACKAGE.parent)],
        back=BACK.format(flag=str(flag)),
        data=str(places["data_dir"]),
        models=str(places["impl_models_dir"]),
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdin is not None
        assert owner.stdout is not None

        def say(word: str) -> str:
            print(word, file=owner.stdin, flush=True)
            assert owner.stdout is not None
            return owner.stdout.readline()

        assert say("read") == "0 0\n"
        wait_until(lambda: len(descendants(owner.pid)) == 2, "supervisor and worker are there")
        processes = descendants(owner.pid)
        flag.touch()
        for _ in range(20):  # nothing was written, so no sync or checkpoint is due before the clock's timers
            assert say("read") == "0 0\n"
        assert say("observe") == "1 0\n"
        assert descendants(owner.pid) == processes
        owner.stdin.close()
        assert owner.wait(20) == 0


BOUNDED_OTHERWISE = {
    "runtime/client/": "callers and the courier wait for a second at most, or for a time that an option bounds",
    "runtime/aio/": "asyncio's own waits take any time",
    "runtime/cluster/": "asyncio's as well; the introducer polls for what `milliseconds` has capped",
    "manager/starting.py": "by the option `observe_timeout`",
    "runtime/local/": "by an option, or by `_LONGEST_WAIT`",
}


def test_every_wait_of_the_package_is_bounded() -> None:
    """The arguments of the system's waits are small constants or capped values."""
    unbounded = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        if name.startswith(tuple(BOUNDED_OTHERWISE)):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr not in ("poll", "wait", "select", "sigtimedwait"):
                continue
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                text = ast.unparse(argument)
                if not (
                    isinstance(argument, (ast.Constant, ast.Name, ast.List))
                    or text.startswith(("capped(", "milliseconds("))
                ):
                    unbounded.append(f"{name}:{node.lineno}: {node.func.attr}({text})")
    assert not unbounded
