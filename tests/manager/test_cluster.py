"""Shards on several machines: members with gates on addresses of this machine, and managers that find them."""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

import spex_shards as spex
from spex_shards.audit import verify
from spex_shards.manager.clustered import ClusterInstanceManager, ClusterMember
from spex_shards.runtime.cluster.way import Way
from spex_shards.runtime.shard_info import ShardStatus
from spex_shards.runtime.store.postgres.namespace import Namespace
from tests.support.cluster_here import TOKEN
from tests.support.deadly_specs import Deadly, write_models
from tests.support.places import ROOT
from tests.support.processes import descendants, wait_until
from tests.support.serving import kill_supervisor
from tests.support.writers import Loop, Writers

pytestmark = [pytest.mark.postgres]


@pytest.fixture
def attach(store_url: str) -> Iterator[Callable[..., ClusterInstanceManager]]:
    """Return a function that starts a manager of the cluster; all are closed at the end."""
    with ExitStack() as stack:

        def start(**options: Any) -> ClusterInstanceManager:
            manager = ClusterInstanceManager(**{"store": store_url, "token": TOKEN, "ping": 0.5, **options}).start()
            stack.callback(manager.close)
            return manager

        yield start


def test_each_shard_is_found_where_it_is_claimed(members: Callable[..., Any], attach: Callable[..., Any]) -> None:
    """Two members run a shard each; a manager sees both, and their state."""
    first, second = members("0"), members([1])
    manager = attach()
    for number in range(8):
        manager.init_instance(Loop, number)
        manager.transition(number, "go", "on")
    assert len(manager.all_instances()) == 8
    assert [shard.pid for shard in manager.shards()] == [first.shards()[0].pid, second.shards()[0].pid]
    assert sum(stats["requests"]["init"] for stats in manager.stats()) == 8
    assert all(stats["requests"]["init"] for stats in manager.stats())


@pytest.mark.long
def test_what_killed_a_shard_elsewhere_is_refused_after_three_deaths_in_all(
    members: Callable[..., Any], attach: Callable[..., Any], store_url: str, tmp_path: Path
) -> None:
    """The suspects are rows: the machine that claims the shard next counts on from there."""
    write_models(tmp_path / "models")
    first = members(partitions=1, learning_mode=False)
    manager = attach(call_timeout=60)
    manager.init_instance(Deadly, 1)
    slow = tmp_path / "until.slow"
    slow.touch()
    killer = threading.Thread(
        target=lambda: died.append(manager.try_transition(1, "exit until", str(tmp_path / "until")))
    )
    died: list[Any] = []
    killer.start()
    for deaths in range(2):  # twice on the first machine, and there it waits for the third time
        waits = tmp_path / "until.waits"
        wait_until(waits.exists, "the handler runs")
        waits.unlink()
        slow.unlink()
        wait_until(lambda deaths=deaths: first.shards()[0].restarts > deaths, "the shard has died")
        slow.touch()
    wait_until((tmp_path / "until.waits").exists, "the handler runs for the third time")
    second = members(partitions=1, learning_mode=False)
    wait_until(lambda: second.shards()[0].status is ShardStatus.READY, "the second machine has the shard")
    slow.unlink()
    killer.join(60)
    assert isinstance(died[0], spex.PoisonRequest)
    assert "died 3 times" in str(died[0])
    assert second.shards()[0].restarts == 1
    assert first.shards()[0].status is ShardStatus.MOVED, "the worker that died there does not take the shard back"
    assert verify(store_url) == []


def test_a_connection_that_breaks_while_its_first_messages_are_sent_is_made_again(
    members: Callable[..., Any], attach: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that finds shards goes on."""
    members()
    broken: list[int] = []
    take = Way.take

    def breaking(way: Way, *arguments: Any) -> None:
        take(way, *arguments)
        if broken.count(way.shard) < 2:
            broken.append(way.shard)
            raise ConnectionResetError("the connection was reset")

    monkeypatch.setattr(Way, "take", breaking)
    manager = attach()
    for number in range(8):
        manager.init_instance(Loop, number)
    assert sorted(broken) == [0, 0, 1, 1]


OF_A_PROGRAM = """
import sys
import spex_shards as spex
from tests.support.writers import Loop

if "code" in sys.argv:
    spex.configure(manager="cluster", ping=0.5)
else:
    spex.configure(learning_mode=True, data_dir="unused")  # for when there is no cluster
spex.init_instance(Loop, sys.argv[1])
spex.transition(sys.argv[1], "go", "on")
spex.flush(20)
print(spex.get_instance(sys.argv[1]).current_state)
"""


def test_a_programs_module_level_calls_use_a_cluster(
    members: Callable[..., Any], store_url: str, tmp_path: Path
) -> None:
    """The environment says where it is; the program may say that there is one, or need not be changed."""
    members()
    (tmp_path / "token").write_text(TOKEN)
    given = {"STORE": store_url, "TOKEN_FILE": str(tmp_path / "token"), "MODE": "enforce"}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **{f"SPEX_SHARDS_{key}": one for key, one in given.items()}}
    for words, more in ((["one", "code"], {}), (["two"], {"SPEX_SHARDS_MANAGER": "cluster"})):
        printed = subprocess.run(
            [sys.executable, "-c", OF_A_PROGRAM, *words], env={**environment, **more}, cwd=tmp_path, check=True,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (printed.stdout, printed.stderr) == ("on\n", "")
    assert not (tmp_path / "unused").exists()


@pytest.mark.long
def test_top_watches_a_cluster(members: Callable[..., Any], store_url: str, tmp_path: Path) -> None:
    """It is told where by --store; a shard that no member runs is still looked for."""
    member = members("0")
    (tmp_path / "token").write_text(TOKEN)

    def top(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "spex_shards", "top", "--once", "--format", "json", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    seen = top("--store", store_url, "--gate-token-file", str(tmp_path / "token"))
    assert seen.returncode == 0, seen.stderr
    view = json.loads(seen.stdout)
    assert [(row["status"], row["pid"]) for row in view["shards"]] == [
        ("READY", member.shards()[0].pid),
        ("RESTARTING", None),
    ]
    assert view["data_dir"] == Namespace.of(store_url).shown
    assert "needs either DATA_DIR or, for a cluster, --store" in top().stderr
    assert "address is an option of a cluster" in top("data", "--address", "static").stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"manager": "cluster"}, "needs the option store"),
        (
            {"manager": "cluster", "store": "postgresql:///x", "learning_mode": True},
            "learning_mode is one of the members",
        ),
        ({"manager": "cluster", "connect": "there"}, 'manager="cluster" uses a cluster: give one of them'),
        ({"manager": "cluster", "store": "postgresql:///x", "ping": 0}, "the option ping must be a number of seconds"),
        ({"manager": "clusters"}, 'must be "simple", "sharded" or "cluster"'),
    ],
)
def test_options_that_do_not_fit_a_cluster_are_refused(options: dict[str, Any], said: str) -> None:
    """When they are given, not at the first call."""
    with pytest.raises(ValueError, match=said):
        spex.configure(**options)


def test_a_manager_of_this_machine_has_no_options_of_clusters(tmp_path: Path) -> None:
    """The error says where they belong."""
    with pytest.raises(TypeError, match="ping is an option of clusters: it is for ClusterInstanceManager"):
        spex.SimpleInstanceManager(data_dir=tmp_path, ping=1)  # type: ignore[call-arg]


def test_a_shard_that_another_member_claims_is_followed_there(
    members: Callable[..., Any], attach: Callable[..., Any]
) -> None:
    """Under writers: what was acknowledged is stored once. The member before ends its worker and leaves it at that."""
    first = members()
    manager = attach()
    writers = Writers(manager, 4)
    writers.wait(10)
    second = members("1")
    writers.wait(10)
    third = members("0-1")
    writers.wait(10)
    writers.check()
    assert [shard.status for shard in first.shards()] == [ShardStatus.MOVED] * 2
    assert [shard.status for shard in second.shards()] == [ShardStatus.MOVED]
    assert [shard.pid for shard in manager.shards()] == [shard.pid for shard in third.shards()]
    assert "has claimed the shard" in (first.shards()[0].last_exit or "")


@pytest.mark.long
def test_a_supervisor_that_takes_the_place_of_one_that_died_leaves_a_shard_where_it_was_moved(
    members: Callable[..., Any], attach: Callable[..., Any]
) -> None:
    """It goes on with the shards that nobody else has claimed, and takes the others back only when it is told to."""
    first = members()
    manager = attach()
    writers = Writers(manager, 4)
    writers.wait(10)
    second = members("1")
    wait_until(lambda: first.shards()[1].status is ShardStatus.MOVED, "the first has lost a shard")
    before = first.shards()[0].pid
    kill_supervisor(first.data_dir)
    wait_until(lambda: first.shards()[0].pid not in (None, before), "another supervisor has started a worker")
    wait_until(lambda: first.shards()[0].status is ShardStatus.READY, "its worker is ready")
    wait_until(lambda: first.shards()[1].status is ShardStatus.MOVED, "it does not take the other shard")
    writers.wait(10)
    assert (second.shards()[0].status, second.shards()[0].restarts) == (ShardStatus.READY, 0)
    first.revive(1)
    writers.wait(10)
    assert [shard.pid for shard in manager.shards()] == [shard.pid for shard in first.shards()]
    writers.check()


@pytest.mark.long
def test_a_member_sends_its_shards_no_handlers_that_only_its_program_has(
    members: Callable[..., Any], specifications_as_before: None
) -> None:
    """They would refuse them, and the call for which they were sent would fail."""

    class OfTheProgram(spex.Specification):
        name = "OfTheProgram"
        transitions = [("a", "go", "b")]

        @classmethod
        def error_handler(cls, error: spex.SpexError, caller: Any) -> None:
            """Accept everything."""

    first = members(partitions=1)
    members(partitions=1)
    wait_until(lambda: first.shards()[0].status is ShardStatus.MOVED, "the first has lost it")
    first.revive(0)
    assert first.shards()[0].status is ShardStatus.READY


@pytest.mark.long
def test_a_shard_that_was_moved_away_comes_back_when_it_is_revived(
    members: Callable[..., Any], attach: Callable[..., Any]
) -> None:
    """An operator decides that, and the other member lets go."""
    first = members()
    manager = attach()
    manager.init_instance(Loop, 1)
    second = members()
    manager.transition(1, "go", "on")
    wait_until(lambda: {shard.status for shard in first.shards()} == {ShardStatus.MOVED}, "the first has lost them")
    for shard in range(2):
        first.revive(shard)
    manager.transition(1, "go", "on")
    assert len(manager.get_instance(1).history) == 3
    wait_until(lambda: ShardStatus.MOVED in {shard.status for shard in second.shards()}, "the second has lost one")


@pytest.mark.long
def test_workers_that_are_killed_lose_nothing(members: Callable[..., Any], attach: Callable[..., Any]) -> None:
    """Their supervisor restarts them, and clients connect again by themselves."""
    members(max_restarts=100)
    manager = attach()
    writers = Writers(manager, 4)
    for _ in range(4):
        writers.wait(5)
        pids = [shard.pid for shard in manager.shards() if shard.pid]
        with suppress(ProcessLookupError):
            os.kill(random.choice(pids), signal.SIGKILL)
    writers.wait(5)
    writers.check()


@pytest.mark.long
def test_what_is_sent_without_waiting_arrives_once_and_in_order(
    members: Callable[..., Any], attach: Callable[..., Any]
) -> None:
    """Also if the shards move while thousands of observations are on their way."""
    members()
    manager = attach()
    steps = spex.Specification.define("cluster.Steps", [("0", "a", "1")])
    manager.init_instance(steps, 1)
    for number in range(1, 3001):
        manager.transition_nowait(1, "a", str(number))
        if number == 1000:
            members()
    manager.flush(60)
    assert [entry.to_state for entry in manager.get_instance(1).history] == [str(number) for number in range(3001)]


def test_without_the_token_nobody_is_let_in(members: Callable[..., Any], attach: Callable[..., Any]) -> None:
    """The error says so at once, and not after a timeout."""
    members()
    for token in ("another token of the tests", None):
        with pytest.raises(spex.ShardDown, match="does not have this cluster's token") as caught:
            attach(token=token)
        assert caught.value.maybe_executed is False


def test_a_gate_that_other_machines_can_reach_needs_a_secret(store_url: str, tmp_path: Path) -> None:
    """Before anything is started."""
    for listen in ("0.0.0.0:0", "192.0.2.1:5"):
        with pytest.raises(ValueError, match="can be reached from other machines: give a token file, or TLS"):
            ClusterMember(store=store_url, data_dir=tmp_path, listen=listen)
    with pytest.raises(ValueError, match="at least 16 characters"):
        ClusterMember(store=store_url, data_dir=tmp_path, listen="0.0.0.0:0", token="short")


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_a_gate_that_closes_leaves_no_connection_open(
    members: Callable[..., Any], papers: Callable[..., dict[str, str]], encrypted: bool
) -> None:
    """Also not one in the middle of the handshake, and one whose client has said nothing yet."""
    member = members(tls=papers("127.0.0.1") if encrypted else None)
    with ExitStack() as stack:
        waiting = [
            stack.enter_context(socket.create_connection((member.address.host, member.address.port))) for _ in range(3)
        ]
        waiting[1].sendall(b"\x00\x00\x00\x20half of a hello")
        if not encrypted:
            for one in waiting:
                assert one.recv(4), "the gate has said its challenge"
        member.close()
        gc.collect()  # whatever was left open is told to be so now
        for one in waiting:
            one.settimeout(20)
            with suppress(ConnectionResetError):
                while one.recv(4096):
                    pass


@pytest.mark.long
def test_on_the_own_machine_no_token_is_needed(members: Callable[..., Any], attach: Callable[..., Any]) -> None:
    """If neither side has one."""
    members(token=None)
    manager = attach(token=None)
    manager.init_instance(Loop, 1)


@pytest.fixture
def papers(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Return a function that makes the files of TLS for a host, as options."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    def make(name: str, by: trustme.CA = authority) -> dict[str, str]:
        issued = by.issue_cert(name)
        issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / f"{name}.pem")
        return {"tls_authority": str(tmp_path / "ca.pem"), "tls_certificate": str(tmp_path / f"{name}.pem")}

    return make


@pytest.mark.long
def test_with_tls_all_goes_on_encrypted_and_both_sides_show_certificates(
    members: Callable[..., Any], attach: Callable[..., Any], papers: Callable[..., Any]
) -> None:
    """Blocking calls, long pipelines and large values; a worker that is killed; a member that takes over."""
    ours, theirs = papers("127.0.0.1"), papers("client")
    member = members(token=None, tls=ours)
    manager = attach(token=None, tls=theirs)
    writers = Writers(manager, 2)
    writers.wait(5)
    manager.init_instance(Loop, "large", meta={"text": "x" * 3_000_000})
    for _ in range(2000):
        manager.transition_nowait("large", "go", "on")
    manager.flush(60)
    assert len(manager.get_instance("large").history) == 2001
    assert manager.get_instance("large").meta == {"text": "x" * 3_000_000}
    os.kill(next(shard.pid for shard in member.shards() if shard.pid), signal.SIGKILL)
    writers.wait(5)
    members(token=None, tls=ours)
    writers.wait(5)
    writers.check()


@pytest.mark.long
def test_certificates_that_nobody_has_signed_are_refused_on_both_sides(
    members: Callable[..., Any], attach: Callable[..., Any], papers: Callable[..., Any]
) -> None:
    """Clients with a strange one, without any, or that speak plainly do not get in; nor is such a gate trusted."""
    ours = papers("127.0.0.1")
    members(token=None, tls=ours)
    stranger = papers("stranger", trustme.CA())
    for tls in (stranger, {"tls_authority": ours["tls_authority"]}, {}):
        with pytest.raises(spex.ShardDown):
            attach(token=None, tls=tls, call_timeout=1.5)
    other = papers("localhost")
    other["tls_authority"] = stranger["tls_certificate"]
    with pytest.raises((spex.ShardDown, ValueError)):
        attach(token=None, tls=other, call_timeout=1.5)


@pytest.mark.long
@pytest.mark.parametrize("first", [b"", b"\0", b"\xff" * 9000, b"\0\0\0\x03\x93\x01\x02", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_gate_survives_what_is_not_its_protocol(
    members: Callable[..., Any], attach: Callable[..., Any], first: bytes
) -> None:
    """Such connections are closed, those that say nothing after some seconds; the others do not notice."""
    address = members().address
    manager = attach()
    strangers = [socket.create_connection((address.host, address.port)) for _ in range(20)]
    for stranger in strangers:
        stranger.sendall(first)
    manager.init_instance(Loop, 1)
    for stranger in strangers:
        stranger.settimeout(20)
        with suppress(ConnectionResetError):
            while stranger.recv(65536):
                pass
        stranger.close()
    manager.transition(1, "go", "on")


@pytest.mark.long
def test_a_process_that_is_forked_uses_the_same_manager_as_a_client_of_its_own(
    members: Callable[..., Any], attach: Callable[..., Any]
) -> None:
    """Both go on afterwards."""
    members()
    manager = attach()
    manager.init_instance(Loop, 1)
    child = os.fork()
    if not child:
        code = 1
        with suppress(BaseException):
            manager.transition(1, "go", "on")
            code = 0
        os._exit(code)
    manager.transition(1, "go", "on")
    assert os.waitpid(child, 0)[1] == 0
    assert len(manager.get_instance(1).history) == 3


@pytest.mark.long
def test_code_is_not_taken_from_clients_unless_that_is_allowed(
    members: Callable[..., Any], attach: Callable[..., Any]
) -> None:
    """A client refuses to send it, and a member refuses to take it from a client that would."""
    members()
    careless = attach(allow_shipped_code=True)
    careless.init_instance(Loop, 1)
    with pytest.raises(spex.SpexError, match="the predicate came as code, and these shards take no code"):
        careless.delete_instances(lambda _: True)

    class Local(spex.Specification):
        name = "cluster.Local"
        transitions = [("a", "go", "b")]

        @classmethod
        def error_handler(cls, error: spex.SpexError, caller: Any) -> None:
            return None

    with pytest.raises(spex.SpexError, match="came as code, and these shards take no code"):
        careless.init_instance(Local, 2)
    careful = attach()
    with pytest.raises(ValueError, match=r"cannot import the error handler of cluster\.Local"):
        careful.init_instance(Local, 1)
    with pytest.raises(ValueError, match="a predicate is sent to the shards as code"):
        careful.delete_instances(lambda _: True)
    careful.transition(1, "go", "on")


@pytest.mark.long
def test_a_cluster_that_is_nowhere_says_so(attach: Callable[..., Any], members: Callable[..., Any]) -> None:
    """Before there is a namespace; with another number of shards; and while no member runs."""
    with pytest.raises(spex.DataDirError, match=r"there is no namespace .*start a member of the cluster first"):
        attach()
    members("0").close()
    with pytest.raises(spex.LayoutMismatch, match=r"was made for 2 shards, not 3.*partitions=2"):
        attach(partitions=3)
    with pytest.raises(spex.ShardDown, match=r"no shard of the cluster could be reached within 1.0 s: the gate at .*"):
        attach(call_timeout=1.0)


@pytest.mark.long
def test_calls_to_a_shard_that_nobody_runs_end_with_the_reason(
    members: Callable[..., Any], attach: Callable[..., Any]
) -> None:
    """After the time for a takeover; other shards answer meanwhile, and that one does when it is there again."""
    members("0")
    gone = members("1")
    manager = attach(takeover_timeout=1.0)
    placed = {shard: next(n for n in range(99) if manager._open.shard_of(spex_key(n)) == shard) for shard in (0, 1)}
    for number in placed.values():
        manager.init_instance(Loop, number)
    gone.close()
    with pytest.raises(spex.ShardDown, match=r"shard 1 could not be reached for 1 s: the gate at .* refused"):
        manager.transition(placed[1], "go", "on")
    manager.transition(placed[0], "go", "on")
    members("1")
    wait_until(lambda: manager.try_transition(placed[1], "go", "on") is None, "the shard is there again")
    assert manager.shards()[1].status is ShardStatus.READY


def spex_key(identifier: Any) -> bytes:
    """Return an identifier's canonical bytes."""
    from spex_shards.runtime.protocol.codec import canonical

    return canonical(identifier)


@pytest.mark.long
def test_a_local_manager_that_takes_the_namespace_ends_the_cluster(
    members: Callable[..., Any], attach: Callable[..., Any], store_url: str, tmp_path: Path
) -> None:
    """It says from whom it has taken it; the members cannot claim their shards back, and say why."""
    member = members()
    manager = attach()
    manager.init_instance(Loop, 1)
    with spex.ShardedInstanceManager(
        data_dir=tmp_path / "local", store=store_url, distribution_factor=2, learning_mode=True
    ) as local:
        local.transition(1, "go", "on")
        wait_until(
            lambda: {shard.status for shard in member.shards()} <= {ShardStatus.MOVED, ShardStatus.FAILED},
            "the members have lost the shards",
        )
        assert len(local.get_instance(1).history) == 2


class Program:
    """A member in a process of its own, started by the command line."""

    def __init__(self, url: str, folder: Path, *arguments: str) -> None:
        self.ready = folder / "ready"
        folder.mkdir()
        (folder / "token").write_text(TOKEN)
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
            [
                sys.executable, "-m", "spex_shards", "serve", "--store", url, "--data-dir", folder / "data",
                "--models-dir", folder / "models", "--listen", "127.0.0.1:0", "--learn", "--shards", "2",
                "--gate-token-file", folder / "token", "--ready-file", self.ready, *arguments,
            ],
            stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_until(self.ready.exists, lambda: f"the member is ready: {(folder / 'log').read_text()}")

    def pids(self) -> set[int]:
        """Return all of its processes."""
        return {self.process.pid, *descendants(self.process.pid)}

    def signal(self, number: int) -> None:
        """Send a signal to all of its processes."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """End it."""
        self.signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def programs(store_url: str, tmp_path: Path, no_process_left: None) -> Iterator[Callable[..., Program]]:
    """Return a function that starts a member by the command line; all are stopped at the end."""
    with ExitStack() as stack:

        def start(*arguments: str) -> Program:
            program = Program(store_url, tmp_path / f"program-{random.getrandbits(40):x}", *arguments)
            stack.callback(program.stop)
            return program

        yield start


@pytest.mark.long
def test_a_machine_that_hangs_is_left_and_when_it_goes_on_it_is_refused(
    programs: Callable[..., Program], attach: Callable[..., Any]
) -> None:
    """All its processes are stopped, another member claims its shards, and then they continue."""
    first = programs()
    manager = attach(ping=0.3)
    writers = Writers(manager, 4)
    writers.wait(5)
    first.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    second = programs()
    writers.wait(5)
    assert time.monotonic() - stopped < 30
    first.signal(signal.SIGCONT)
    writers.wait(5)
    writers.check()
    assert {shard.pid for shard in manager.shards()} <= second.pids()
    log = (first.ready.parent / "log").read_text()
    wait_until(lambda: "has claimed the shard" in (first.ready.parent / "log").read_text(), lambda: log)


@pytest.mark.long
def test_a_machine_that_dies_is_replaced_without_an_error(
    programs: Callable[..., Program], attach: Callable[..., Any]
) -> None:
    """Its processes are killed at once, and another member is started some time later."""
    first = programs()
    manager = attach()
    writers = Writers(manager, 4)
    writers.wait(5)
    first.signal(signal.SIGKILL)
    first.process.wait(30)
    programs()
    writers.wait(5)
    writers.check()


@pytest.mark.long
def test_the_command_says_where_it_listens_and_what_it_runs(programs: Callable[..., Program]) -> None:
    """In its log."""
    program = programs("--hosts", "1")
    log = (program.ready.parent / "log").read_text()
    assert '"event": "listening"' in log or '"event":"listening"' in log
    assert "127.0.0.1:" in log


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--hosts", "0"], "--hosts is for a member of a cluster: give --listen as well"),
        (["--listen", "nowhere", "--store", "postgresql:///x"], "the option listen must be HOST:PORT"),
        (["--listen", "127.0.0.1:0"], "a cluster needs the option store"),
        (["--listen", "0.0.0.0:0", "--store", "postgresql:///x"], "can be reached from other machines"),
        (["--listen", "127.0.0.1:0", "--store", "postgresql:///x", "--hosts", "4"], "shards from 0 to 3"),
        (["--listen", "127.0.0.1:0", "--metrics", "9", "--store", "postgresql:///x"], "show all shards"),
    ],
)
def test_wrong_options_are_named(arguments: list[str], says: str, tmp_path: Path) -> None:
    """With the rule, and without a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "spex_shards", "serve", *arguments], capture_output=True, text=True, cwd=tmp_path,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert says in " ".join((done.stderr + done.stdout).split())
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_a_client_whose_connection_is_reset_takes_nothing_else_with_it(
    members: Callable[..., Any], attach: Callable[..., Any]
) -> None:
    """Where a pipe would end, a connection reports an error; the worker goes on."""
    member = members("0-1")
    before = [shard.pid for shard in member.shards()]
    steady = attach()
    steady.init_instance(Loop, 1)
    for _ in range(5):
        program = (
            "import os, socket, struct, sys\n"
            "import spex_shards as spex\n"
            f"manager = spex.ClusterInstanceManager(store={steady.cluster.place.text!r}, token={TOKEN!r}).start()\n"
            "for _ in range(20000):\n"
            "    manager.transition_nowait(1, 'go', 'on')\n"
            "for number in range(3, 100):\n"
            "    try:\n"
            "        one = socket.socket(fileno=os.dup(number))\n"
            "        if one.family in (socket.AF_INET, socket.AF_INET6):\n"
            "            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n"
            "    except OSError:\n"
            "        pass\n"
            "os.kill(os.getpid(), 9)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        steady.transition(1, "go", "on")
    assert [shard.pid for shard in member.shards()] == before


@pytest.mark.long
def test_a_gate_that_was_never_started_leaves_nothing_open(store_url: str, tmp_path: Path) -> None:
    """As when the supervisor cannot start: the address is free again."""
    file = tmp_path / "file"
    file.write_text("no directory")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for _ in range(2):
        with pytest.raises(spex.DataDirError):
            ClusterMember(store=store_url, data_dir=file, listen=f"127.0.0.1:{port}").start()
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(spex.DataDirError, match=r"the gate cannot listen at 127\.0\.0\.1:"),
    ):
        ClusterMember(store=store_url, data_dir=tmp_path / "d", listen=f"127.0.0.1:{taken.getsockname()[1]}").start()
