"""A manager that is handed to a child process by pickle attaches there to the same shards."""

from __future__ import annotations

import ast
import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards import runtime
from tests.support.helper_specs import Door
from tests.support.places import ROOT
from tests.support.processes import wait_until
from tests.support.runtime_services import Counter

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]
POOL = """
import multiprocessing, multiprocess, sys
import spex_shards as spex
from tests.manager.test_sending import observe
from tests.support.helper_specs import Door
if __name__ == "__main__":
    module, method, data_dir, models = sys.argv[1:]
    with spex.ShardedInstanceManager(
        data_dir=data_dir, impl_models_dir=models, distribution_factor=2, learning_mode=True, call_timeout=20
    ) as served:
        pool = sys.modules[module].get_context(method).Pool(2)
        used = pool.starmap(observe, [(served, number) for number in range(40)], chunksize=5)
        pool.close()
        pool.join()
        print(len(set(used)) == len({pid for pid, _ in used}))
        print({instance.identifier: instance.current_state for instance in served.all_instances()})
"""


@pytest.fixture
def served(places: dict[str, Path]) -> Iterator[spex.ShardedInstanceManager]:
    """Return a started manager with two shards."""
    with spex.ShardedInstanceManager(
        **places, distribution_factor=2, learning_mode=True, call_timeout=20, specifications=[Door]
    ) as manager:
        yield manager


def observe(manager: Any, number: int) -> tuple[int, int]:
    """Observe in a child; return its process id and which manager object it has."""
    manager.init_instance(Door, number)
    manager.transition_nowait(number, "open", "opened")
    return os.getpid(), id(manager)


@pytest.mark.parametrize(
    ("module", "method"),
    [
        ("multiprocessing", "fork"),
        pytest.param("multiprocessing", "spawn", marks=pytest.mark.long),
        pytest.param("multiprocessing", "forkserver", marks=pytest.mark.long),
        pytest.param("multiprocess", "spawn", marks=pytest.mark.long),
        pytest.param("multiprocess", "fork", marks=pytest.mark.long),
    ],
)
def test_a_pool_uses_a_managers_shards(places: dict[str, Path], tmp_path: Path, module: str, method: str) -> None:
    """Each process attaches once, however many tasks it gets; what it only posted is kept when the pool ends."""
    program = tmp_path / "program.py"
    program.write_text(POOL)
    command = [sys.executable, str(program), module, method, *map(str, places.values())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.stderr, done.returncode) == ("", 0)
    told, stored = done.stdout.splitlines()
    assert told == "True"
    assert ast.literal_eval(stored) == dict.fromkeys(range(40), "opened")


def test_nothing_is_started_before_the_first_use(served: spex.ShardedInstanceManager, places: dict[str, Path]) -> None:
    """Whoever unpickles it gets a manager with the same options of a client, but without `on_message`."""
    with spex.connect(places["data_dir"], call_timeout=7, on_message=print) as attached:
        again = pickle.loads(pickle.dumps(attached))
    threads = threading.active_count()
    sent = pickle.loads(pickle.dumps(served))
    assert threading.active_count() == threads
    assert (sent.transport, sent.data_dir, sent.specifications) == (None, served.data_dir, ())
    assert (again.options["call_timeout"], again.options["on_message"]) == (7.0, None)
    sent.init_instance(Door, 1)
    assert sent.specifications == (Door,)
    assert served.get_instance(1).current_state == "closed"
    assert pickle.loads(pickle.dumps(sent)) is sent
    sent.close()
    with pickle.loads(pickle.dumps(served)) as other:
        assert other is not sent
        assert other.get_instance(1).current_state == "closed"


def test_a_sent_manager_outlives_its_supervisor(served: spex.ShardedInstanceManager) -> None:
    """It is a client as any other."""
    sent = copy.copy(served)
    sent.init_instance(Door, 1)
    before = served.transport.ownership.pid
    os.kill(before, signal.SIGKILL)
    sent.transition(1, "open", "opened")
    wait_until(lambda: served.transport.ownership.pid != before, "there is another supervisor")
    assert served.get_instance(1).current_state == "opened"
    sent.close()


def test_a_specification_that_the_other_process_cannot_import_is_left_out(
    served: spex.ShardedInstanceManager, caplog: pytest.LogCaptureFixture
) -> None:
    """That is logged; the shards know it already."""
    function, (path, options, _) = served.__reduce__()
    with function(path, options, ("nowhere:Nothing", "tests.support.helper_specs:Door")) as manager:
        assert manager.specifications == (Door,)
    assert "leaves a specification out: the specification nowhere:Nothing cannot be imported" in caplog.text


def test_what_cannot_be_sent_says_what_to_do_instead(places: dict[str, Path], tmp_path: Path) -> None:
    """An in-process manager, one that is not started or closed, and the object of the shard runtime."""
    with pytest.raises(TypeError, match=r"a SimpleInstanceManager cannot be sent .* use a ShardedInstanceManager"):
        pickle.dumps(spex.SimpleInstanceManager(**places))
    manager = spex.ShardedInstanceManager(**places, distribution_factor=1)
    with pytest.raises(
        TypeError, match="cannot be sent to another process unless it is started, and it is not started: start"
    ):
        pickle.dumps(manager)
    with manager:
        pass
    with pytest.raises(TypeError, match="unless it is started, and it is closed: create another one"):
        pickle.dumps(manager)
    with pytest.raises(TypeError, match=r"a Shards cannot be sent .* with spex_shards\.runtime\.connect"):
        pickle.dumps(runtime.Shards(Counter, data_dir=tmp_path / "counter"))
