"""Shards placed by Ray on several nodes of this machine: start, drain, deaths, joins, end."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards import runtime
from spex_shards.manager.clustered import ClusterMember
from spex_shards.runtime.shard_info import ShardStatus
from tests.support import ray_nodes
from tests.support.places import WHOLE
from tests.support.processes import wait_until
from tests.support.runtime_services import Counter
from tests.support.writers import Writers

pytestmark = [pytest.mark.postgres, pytest.mark.ray, pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(600)]
PARTITIONS = 3


class Cluster:
    """Ray's nodes, and the shards on them."""

    def __init__(self, nodes: ray_nodes.RayNodes, url: str) -> None:
        self.nodes, self.url = nodes, url

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command ``cluster``."""
        return ray_nodes.command(self.nodes, self.url, *arguments)

    def do(self, *arguments: str) -> Any:
        """Run the command, which must succeed, and return its result."""
        done = self.run(*arguments, "--format", "json")
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)

    def status(self) -> Any:
        """Return the status, whatever it is."""
        done = self.run("status", "--format", "json")
        return json.loads(done.stdout) if done.returncode in (0, 1) and done.stdout else None

    def statuses(self) -> list[str]:
        """Return the status of each shard; none if that is not known."""
        found = self.status()
        return [row["status"] for row in found["shards"]] if found else []

    def placed(self) -> dict[str, list[int]]:
        """Return the shards that are ready, by the host that they are on; wait for a director if there is none."""
        status = wait_until(self.status, "a director answers", 120.0)
        ready = {row["shard"] for row in status["shards"] if row["status"] == "READY"}
        return {node["host"]: sorted(ready & {*node["shards"]}) for node in status["nodes"] if node["alive"]}

    def places(self) -> list[str]:
        """Return the hosts on which shards are ready; none if that is not known."""
        return [host for host, shards in self.placed().items() if shards] if self.status() else []

    def manager(self) -> spex.ClusterInstanceManager:
        """Return a manager, which is not started, that asks Ray for the token."""
        return spex.ClusterInstanceManager(store=self.url, address=self.nodes.address, ping=0.5, call_timeout=90.0)


@pytest.fixture(scope="module")
def nodes() -> Iterator[ray_nodes.RayNodes]:
    """Return Ray's head, on which and on whose nodes nothing runs yet."""
    started = ray_nodes.RayNodes()
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture
def cluster(nodes: ray_nodes.RayNodes, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Return a cluster of the head and two nodes."""
    for name, value in nodes.environment.items():
        monkeypatch.setenv(name, value)
    nodes.fill(2)
    cluster = Cluster(nodes, store_url)
    yield cluster
    cluster.run("down")


def test_a_cluster_from_its_start_to_its_end(cluster: Cluster) -> None:
    """It is spread over the nodes, drained without an error, survives an actor and a node, and keeps its state."""
    addresses = cluster.do("up", "--partitions", str(PARTITIONS), "--learn")["shards"]
    assert len(set(addresses)) == PARTITIONS
    wait_until(lambda: sorted(map(len, cluster.placed().values())) == [1, 1, 1], "each node has a shard", 120.0)
    with cluster.manager() as manager:
        writers = Writers(manager, 6, posts=200, patience=120.0)
        writers.wait(10)

        first, second = cluster.nodes.hosts
        moved = cluster.do("drain", first)["moved"]
        assert len(moved) == 1
        writers.wait(10)
        wait_until(lambda: cluster.placed()[first] == [], lambda: f"{first} has none: {cluster.status()}")

        os.kill(random.choice(actors(cluster)), signal.SIGKILL)
        writers.wait(10)

        cluster.do("resume", first)
        # Before that, the director may move the very shard that is looked at.
        wait_until(lambda: sorted(map(len, cluster.placed().values())) == [1, 1, 1], "each has one again", 120.0)
        source, shard = next((host, shards[0]) for host, shards in cluster.placed().items() if shards)
        target = second if source != second else first
        assert cluster.do("move", source, "--shard", str(shard)) == {"moved": False, "shard": shard, "node": source}
        assert cluster.do("move", target, "--shard", str(shard))["moved"]
        writers.wait(10)

        cluster.nodes.kill(second)
        writers.wait(10)
        wait_until(lambda: sum(map(len, cluster.placed().values())) == PARTITIONS, "all shards are ready", 120.0)
        wait_until(lambda: cluster.placed()[first], "the resumed node has a shard", 120.0)
        writers.check()
        total = sum(writers.acknowledged)
    assert cluster.do("down") == {"stopped": True}
    with pytest.raises(spex.ShardDown, match="runs no shards of the namespace"):
        cluster.manager().start()
    cluster.do("up")
    with cluster.manager() as manager:
        assert sum(len(instance.history) - 1 for instance in manager.all_instances()) == total
    cluster.do("down")


def actors(cluster: Cluster, kind: bytes = b"Partition") -> list[int]:
    """Return the processes of the actors that run shards, or of the director: those that are not on the head first."""
    found = []
    for host in [*cluster.nodes.hosts, "127.0.0.1"]:
        for pid in cluster.nodes.pids(host):
            with suppress(OSError):
                if kind in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
    return found


def test_a_node_that_hangs_is_replaced_and_refused_when_it_goes_on(cluster: Cluster) -> None:
    """Ray's health checks take it for dead; its shards are claimed elsewhere; its workers then find that out."""
    cluster.do("up", "--partitions", str(PARTITIONS), "--learn")
    with cluster.manager() as manager:
        writers = Writers(manager, 6, posts=200, patience=120.0)
        writers.wait(10)
        host = cluster.nodes.hosts[0]
        cluster.nodes.give_up(host)
        cluster.nodes.signal(host, signal.SIGSTOP)
        writers.wait(10)
        cluster.nodes.signal(host, signal.SIGCONT)
        writers.wait(10)
        writers.check()


def test_a_shard_that_a_process_claims_which_ray_does_not_know_stays_there_until_the_next_order(
    cluster: Cluster, tmp_path: Path
) -> None:
    """A member that was started by hand, say; two that take a shard from each other for ever would serve nobody."""
    secret = tmp_path / "token"
    secret.write_text("not to be guessed by anybody")
    cluster.do("up", "--partitions", "2", "--learn", "--gate-token-file", str(secret))
    options: dict[str, Any] = {"partitions": 2, "learning_mode": True, "impl_models_dir": tmp_path}
    member = ClusterMember(store=cluster.url, data_dir=tmp_path / "member", token_file=secret, **options)
    with cluster.manager() as manager:
        writers = Writers(manager, 4, posts=200, patience=120.0)
        writers.wait(10)
        with member:
            wait_until(lambda: cluster.statuses() == ["MOVED"] * 2, "both are lost", 60.0)
            writers.wait(10)
            for _ in range(3):
                assert cluster.statuses() == ["MOVED"] * 2
            assert [(shard.status, shard.restarts) for shard in member.shards()] == [(ShardStatus.READY, 0)] * 2
            assert "which Ray does not know" in cluster.status()["shards"][0]["why"]
            cluster.do("up")
            wait_until(lambda: cluster.statuses() == ["READY"] * 2, "both are back", 60.0)
        writers.wait(10)
        writers.check()


def test_what_cannot_be_done_is_said(cluster: Cluster, store_url: str) -> None:
    """Before there is a cluster, with wrong options, and for machines that are not there."""
    cases: list[tuple[list[str], str]] = [
        (["status"], "the Ray cluster runs no shards of the namespace"),
        (["drain"], "cluster drain needs NODE"),
        (["up", "127.0.0.1"], "cluster up takes no NODE"),
        (["move", "127.0.0.1"], "cluster move needs --shard"),
        (["drain", "127.0.0.1", "--shard", "1"], "cluster drain takes no --shard"),
        (["up", "--resource", "disk"], "--resource must be NAME=AMOUNT with an amount above 0, got: 'disk'"),
        (["up", "--service", "Counter"], '--service must name a class as "module:Name"'),
        (["up", "--partitions", "0"], "--partitions must be an int from 1 to 1024"),
    ]
    for arguments, says in cases:
        done = cluster.run(*arguments)
        assert done.returncode == 2
        assert says in " ".join(done.stderr.split())
    done = cluster.run("up", "--partitions", "1", "--resource", "disk=1")
    assert "no living machine that is not drained and has what a shard needs" in " ".join(done.stderr.split())
    cluster.run("down")
    cluster.do("up", "--partitions", "1")
    for arguments, says in [
        (["drain", "10.9.9.9"], "the cluster has no living machine 10.9.9.9"),
        (["move", "10.9.9.9", "--shard", "0"], "the cluster has no living machine 10.9.9.9"),
        (["move", cluster.nodes.hosts[0], "--shard", "9"], "the cluster runs no shard 9"),
        (["up", "--partitions", "2"], "was made for 1 shards, not --partitions 2"),
        (["up", "--learn", "--durability", "process"], "run with another --durability and --learn: stop them first"),
    ]:
        done = cluster.run(*arguments)
        assert done.returncode == 2
        assert says in " ".join(done.stderr.split())
    cluster.do("up", "--durability", "disk")
    cluster.do("down")
    cluster.do("up", "--learn", "--durability", "process")


def test_a_service_of_the_application_is_placed_as_well(cluster: Cluster) -> None:
    """By the name of its class, which every machine can import."""
    cluster.do("up", "--partitions", "2", "--cpus", "0.1", "--service", "tests.support.runtime_services:Counter")
    with runtime.Shards(Counter, cluster=runtime.Cluster(store=cluster.url, address=cluster.nodes.address)) as shards:
        assert [shards.call(key, "add") for key in range(10)] == [1] * 10
        assert sum(shards.call_all("count")) == 10


def test_a_program_keeps_its_handler_of_sigterm(cluster: Cluster) -> None:
    """Ray would replace it by its own."""
    cluster.do("up", "--partitions", "1")
    before = signal.getsignal(signal.SIGTERM)

    def mine(*_: object) -> None: ...

    signal.signal(signal.SIGTERM, mine)
    try:
        with cluster.manager() as manager:
            assert signal.getsignal(signal.SIGTERM) is mine
            manager.shards()
        import ray

        assert not ray.is_initialized()
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.skipif(not WHOLE, reason="is left to the whole run (TESTS_LENGTH=whole)")
def test_a_director_that_ray_starts_again_knows_what_was_drained(cluster: Cluster) -> None:
    """It goes on spreading the shards, and none stays on the drained machine."""
    cluster.do("up", "--partitions", str(PARTITIONS))
    drained = cluster.nodes.hosts[0]
    cluster.do("drain", drained)
    os.kill(actors(cluster, b"Director")[0], signal.SIGKILL)
    wait_until(cluster.status, "there is a director again", 120.0)
    assert [node["host"] for node in cluster.status()["nodes"] if node["drained"]] == [drained]
    refused = cluster.run("move", drained, "--shard", "0")
    assert (refused.returncode, "is drained" in refused.stderr) == (2, True)
    cluster.nodes.kill(cluster.nodes.hosts[1])
    everything = list(range(PARTITIONS))  # Ray may start actors again on the drained machine; then they leave it
    wait_until(lambda: everything in cluster.placed().values(), "the only other machine has all shards", 120.0)
    cluster.do("resume", drained)
    wait_until(lambda: cluster.placed()[drained], "it has a shard again", 120.0)


@pytest.mark.skipif(not WHOLE, reason="is left to the whole run (TESTS_LENGTH=whole)")
def test_a_head_that_is_lost_takes_the_placement_with_it_and_no_data(store_url: str, tmp_path: Path) -> None:
    """The shards go on without it. On a new Ray cluster with the same token, they are claimed under their callers."""
    token = tmp_path / "token"
    token.write_text("a token of the tests")
    options = ("up", "--partitions", "2", "--learn", "--gate-token-file", str(token))
    with ExitStack() as stack:
        clusters = []
        for _ in range(2):
            nodes = ray_nodes.RayNodes()
            stack.callback(nodes.stop)
            clusters.append(Cluster(nodes, store_url))
        lost, fresh = clusters
        lost.nodes.fill(1)
        before = lost.do(*options)["shards"]
        manager = spex.ClusterInstanceManager(store=store_url, token_file=token, ping=0.5, call_timeout=90.0).start()
        stack.callback(manager.close)
        writers = Writers(manager, 4, posts=200, patience=120.0)
        writers.wait(10)
        wait_until(lambda: lost.placed()[lost.nodes.hosts[0]], "the node has a shard", 120.0)
        lost.nodes.kill("127.0.0.1")
        fresh.nodes.fill(1)
        after = fresh.do(*options)["shards"]
        assert not set(before) & set(after)
        writers.wait(10)
        writers.check()
        fresh.do("down")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """Return the address of a Redis server, which syncs each write."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--dir", str(tmp_path), "--save", "", "--appendonly", "yes"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def answers() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    try:
        wait_until(answers, "Redis answers")
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.mark.tool("redis-server")
@pytest.mark.skipif(not WHOLE, reason="is left to the whole run (TESTS_LENGTH=whole)")
def test_a_head_with_redis_behind_it_comes_back_and_places_shards_again(
    store_url: str, redis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards of other machines go on meanwhile; those of the head's machine wait, and are started somewhere."""
    nodes = ray_nodes.RayNodes(redis)
    try:
        for name, value in nodes.environment.items():
            monkeypatch.setenv(name, value)
        cluster = Cluster(nodes, store_url)
        nodes.fill(1)
        cluster.do("up", "--partitions", "2", "--learn")
        there = nodes.hosts[0]
        wait_until(lambda: there in cluster.places(), "each machine has a shard", 120.0)
        options: dict[str, Any] = {"ping": 0.5, "call_timeout": 180.0, "takeover_timeout": 180.0}
        with spex.ClusterInstanceManager(store=store_url, address=nodes.address, **options) as manager:
            writers = Writers(manager, 4, posts=200, patience=240.0)
            writers.wait(10)
            nodes.kill("127.0.0.1")
            nodes.start_head()
            writers.wait(10)
            wait_until(lambda: there in cluster.places(), "the head knows the other machine", 120.0)
            os.kill(random.choice(actors(cluster)), signal.SIGKILL)
            writers.wait(10)
            writers.check()
        cluster.do("down")
    finally:
        nodes.stop()
