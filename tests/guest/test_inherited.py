"""Properties that an application's processes inherit, and processes that they leave to it when they die."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]

_HEAD = """
import ctypes, logging, os, signal, sys, time
from pathlib import Path
logging.basicConfig(stream=sys.stdout, format="%(message)s")
import spex_shards as spex
from tests.support.processes import descendants, is_gone, kill_worker, wait_until
class Light(spex.Specification):
    name = "tests.Light"
    transitions = [("red", "go", "green"), ("green", "stop", "red")]
def make(**options):
    return spex.ShardedInstanceManager(data_dir=sys.argv[1] + "/data", impl_models_dir=sys.argv[1] + "/models",
        learning_mode=True, call_timeout=20, **{"distribution_factor": 2, **options})
def ready(manager):
    return all(shard.status == "READY" for shard in manager.shards())
def replace_supervisor(manager, number=signal.SIGKILL):
    pid = manager.transport.ownership.pid
    os.kill(pid, number)
    wait_until(lambda: manager.transport.ownership.pid != pid and ready(manager), "there is another supervisor")
"""


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user, whom limits bind")


LIMITED = """
import ctypes, resource
for capability in (21, 24):  # the two that are above the limit
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
resource.setrlimit(resource.RLIMIT_NPROC, (40, 40))
os.setresuid(50_000 + os.getpid() % 10_000, 0, 0)  # the limit is the real user's; rights are the effective one's
"""


@needs_root
@pytest.mark.alone  # the limit counts all processes of its user
def test_a_second_without_new_processes_or_threads_costs_nothing(tmp_path: Path) -> None:
    """No worker dies, no shard is given up, and writing continues; a dead process is replaced afterwards."""
    body = """
import threading
release, begin = threading.Event(), threading.Event()
def use_up():
    while True:
        try: threading.Thread(target=release.wait, daemon=True).start()
        except RuntimeError: return
def greedy():
    begin.wait()
    while not release.is_set():
        use_up()
        time.sleep(0.0005)
with make(max_restarts=1000) as manager:
    for n in range(10):
        manager.init_instance(Light, n)
    pids = [shard.pid for shard in manager.shards()]
    threading.Thread(target=greedy).start()
    use_up()
    start, count = time.monotonic(), 0
    while time.monotonic() - start < 1.5 or count < 60:  # syncs are due, and more is written than two overlays hold
        manager.init_instance(Light, ("while", count), meta={"big": b"x" * 2_000_000})
        count += 1
    assert [shard.pid for shard in manager.shards()] == pids
    def lacks():
        said = manager.shards()[0].last_exit or ""
        return "no process could be started" in said or "start new thread" in said
    begin.set()
    for _ in range(200):
        pid = kill_worker(manager, 0)
        wait_until(lambda: lacks() or manager.shards()[0].pid not in (None, pid), "it is started, or cannot be")
        if lacks():
            break
    assert lacks()
    time.sleep(1.0)
    assert manager.shards()[0].status != "FAILED"
    release.set()
    for n in range(20):
        manager.transition(n, "go", "green") if n < 10 else manager.init_instance(Light, n)
    wait_until(lambda: ready(manager), "all shards are back")
    assert len(manager.all_instances(history_limit=1)) == 20 + count
with make() as manager:
    assert len(manager.all_instances(history_limit=1)) == 20 + count
"""
    run(body, tmp_path, LIMITED)


def run(body: str, place: Path, before: str = "") -> str:
    """Run an application and return its output. `before` runs in a process that becomes the application by exec."""
    script = place / "app.py"
    script.write_text(_HEAD + body)
    command = [sys.executable, str(script), str(place)]
    if before:
        command = [
            sys.executable,
            "-c",
            f"import os, signal, sys\n{before}\nos.execv(sys.argv[1], sys.argv[1:])",
            *command,
        ]
    root = str(ROOT)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=100, env={**os.environ, "PYTHONPATH": root}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


IGNORED = "for n in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1): signal.signal(n, signal.SIG_IGN)"
BLOCKED = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())"


@pytest.mark.parametrize(
    "before",
    [*(pytest.param(one, marks=pytest.mark.long) for one in (IGNORED, BLOCKED)), f"{IGNORED}; {BLOCKED}"],
    ids=["ignored", "blocked", "both"],
)
@pytest.mark.long
def test_signals_that_the_application_ignores_or_blocks_are_not_so_in_its_shards(tmp_path: Path, before: str) -> None:
    """With SIGCHLD above all, workers die, checkpoints are written, and the supervisor is killed and replaced."""
    body = """
with make() as manager:
    for n in range(40):
        manager.init_instance(Light, n)
    first = manager.transport.ownership.pid
    kill_worker(manager, 0)
    manager.init_instance(Light, 100)
    kill_worker(manager, 1)
    manager.init_instance(Light, 101)
    wait_until(lambda: ready(manager), "both are ready")
    assert manager.transport.ownership.pid == first
    for shard in manager.shards():
        status = Path(f"/proc/{shard.pid}/status").read_text()
        ignored, blocked = (int(status.split(name)[1].split()[0], 16) for name in ("SigIgn:", "SigBlk:"))
        assert not ignored & 1 << signal.SIGCHLD - 1 and not ignored & 1 << signal.SIGTERM - 1 and not blocked
    big = b"x" * 1_000_000
    for n in range(200, 240):
        manager.init_instance(Light, n, meta={"big": big})  # several checkpoints
    replace_supervisor(manager)
    assert len(manager.all_instances()) == 82
    os.kill(manager.shards()[0].pid, signal.SIGTERM)
    manager.init_instance(Light, 102)
with make() as manager:
    assert len(manager.all_instances()) == 83
assert not descendants()
"""
    said = run(body, tmp_path, before)
    assert "ECHILD" not in said
    assert "No child" not in said
    assert "a checkpoint" not in said


def test_a_supervisor_that_dies_of_an_error_says_so_in_its_owners_log(tmp_path: Path) -> None:
    """The log has the traceback; a kill from outside is named as far as it is known."""
    body = """
with make() as manager:
    import spex_shards.runtime.client.owner as owner
    replace_supervisor(manager)
    replace_supervisor(manager, signal.SIGTERM)
    before = owner._BOOTSTRAP
    owner._BOOTSTRAP = before.replace("main(int", '''
import spex_shards.runtime.supervisor.main as module
def broken(self): raise LookupError("a fault of the supervisor")
module.Supervisor._reap_adopted = broken
main(int''')
    replace_supervisor(manager)
    owner._BOOTSTRAP = before
    pid = manager.transport.ownership.pid
    kill_worker(manager, 0)
    wait_until(lambda: manager.transport.ownership.pid != pid and ready(manager), "there is another supervisor")
"""
    said = run(body, tmp_path)
    assert "died: SIGKILL (not sent by its owner; likely out of memory, or an operator); another is started" in said
    assert "died: it was told to stop, by SIGTERM; another is started" in said
    assert "died: LookupError: a fault of the supervisor\nTraceback" in said


def test_a_worker_that_dies_of_an_error_says_so_in_last_exit(tmp_path: Path) -> None:
    """It has the error, not just the exit code."""
    body = """
import spex_shards.runtime.client.owner as owner
owner._BOOTSTRAP = owner._BOOTSTRAP.replace("main(int", '''
import spex_shards.runtime.worker.loop as module
turn = module.Worker.turn
def broken(self):
    turn(self)
    if os.path.exists(sys.argv[-1]): raise LookupError("a fault of the worker")
import os
module.Worker.turn = broken
main(int''')
owner_path = owner.search_path
owner.search_path = lambda: [*owner_path(), sys.argv[1] + "/break"]
with make(distribution_factor=1) as manager:
    manager.init_instance(Light, 1)
    Path(sys.argv[1] + "/break").touch()
    try: manager.init_instance(Light, 2)
    except spex.SpexError: pass
    exits = wait_until(lambda: manager.shards()[0].last_exit, "it has died")
    assert exits == "exit code 1: LookupError: a fault of the worker", exits
    os.unlink(sys.argv[1] + "/break")
"""
    run(body, tmp_path)


@pytest.mark.parametrize(
    "before",
    [pytest.param("", marks=pytest.mark.long), "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"],
    ids=["default", "ignored"],
)
@pytest.mark.long
def test_an_application_that_inherits_orphans_reaps_those_of_its_shards_and_no_other(
    tmp_path: Path, before: str
) -> None:
    """As a subreaper, like process 1 of a container, it has no zombie after three deaths of the supervisor."""
    body = """
import subprocess
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
mine = subprocess.Popen([sys.executable, "-c", ""])
wait_until(lambda: is_gone(mine.pid), "it has ended")
def zombies():
    return [pid for pid in descendants() - {mine.pid} if is_gone(pid)]
with make() as manager:
    for round in range(3):
        for n in range(30):
            manager.init_instance(Light, (round, n), meta={"big": b"x" * 1_000_000})  # helpers are at work
        replace_supervisor(manager)
        wait_until(lambda: not zombies(), "what died is reaped", 5)
    manager.init_instance(Light, "last")
wait_until(lambda: not descendants() - {mine.pid}, "nothing is left", 5)
assert mine.wait() == 0 and mine.returncode == 0
"""
    run(body, tmp_path, before)


@pytest.mark.long
@pytest.mark.parametrize("before", ["", IGNORED], ids=["default", "ignored"])
def test_a_directory_is_verified_whatever_becomes_of_children(tmp_path: Path, before: str) -> None:
    """If SIGCHLD is ignored there are no exit statuses, so a reader reports its end itself."""
    body = """
from spex_shards.audit import verify
with make() as manager:
    manager.init_instance(Light, 1)
print(verify(manager.data_dir))
[path] = (manager.data_dir / "shard-000").glob("data.mdb")
with path.open("r+b") as file:
    file.truncate(4096 * 3)
print(bool(verify(manager.data_dir)))
"""
    assert run(body, tmp_path, before).split() == ["[]", "True"]
