"""When a shard is started again: after deaths, failed starts, and giving up. The time is an argument."""

from __future__ import annotations

from spex_shards.runtime.shard_info import ShardStatus
from spex_shards.runtime.supervisor.policy import ATTEMPTS, ShardPolicy
from spex_shards.runtime.supervisor.restart import BackOff, RestartIntensity


def policy(**options: object) -> ShardPolicy:
    """Return the policy of a shard that is given up at its first death, and started again after 5 s."""
    return ShardPolicy(0, RestartIntensity(0, 5.0), retry=BackOff(5.0, 60.0), **options)  # type: ignore[arg-type]


def test_a_shard_that_was_given_up_is_tried_again_ever_more_rarely() -> None:
    """After 5 s, then twice as long each time, at most 60 s; it is FAILED until it is ready; clients are told."""
    shard, now, delays = policy(), 0.0, []
    shard.started(1, now)
    shard.ready(now)
    for pid in range(2, 8):
        shard.died("SIGKILL", now)
        assert shard.status is ShardStatus.FAILED
        assert shard.start_at is not None
        delays.append(shard.start_at - now)
        now = shard.start_at
        shard.started(pid, now)
        assert (shard.status, shard.start_at) == (ShardStatus.FAILED, None)
    assert delays == [5, 10, 20, 40, 60, 60]
    assert shard.ready(now)
    assert not shard.ready(now)
    shard.died("SIGKILL", now + 61)
    assert shard.start_at == now + 61 + 5, "it was well for a minute: the delays begin anew"


def test_a_shard_that_refuses_to_start_is_tried_again_with_its_reason_kept() -> None:
    """The reason is the one that it reported, not its exit code; if it is killed instead, that is the reason."""
    shard = policy()
    shard.started(1, 0)
    shard.cannot_start("the disk is full")
    shard.died("exit code 64", 0)
    assert (shard.status, shard.last_exit, shard.start_at) == (ShardStatus.FAILED, "the disk is full", 5)
    shard.started(2, 5)
    shard.died("SIGKILL", 6)
    assert (shard.status, shard.last_exit, shard.start_at) == (ShardStatus.FAILED, "SIGKILL", 16)


def test_a_shard_is_given_up_for_good_where_that_is_wanted() -> None:
    """With `retry_failed` None, it is started only when it is revived."""
    shard = ShardPolicy(0, RestartIntensity(0, 5.0))
    shard.started(1, 0)
    shard.ready(0)
    shard.died("SIGKILL", 0)
    assert (shard.status, shard.start_at) == (ShardStatus.FAILED, None)
    shard.revive(100)
    assert (shard.status, shard.start_at) == (ShardStatus.RESTARTING, 100)
    shard.started(2, 100)
    assert shard.ready(101), "clients were told that it is given up, and must hear that it is not"


def test_a_start_that_fails_for_want_of_processes_is_no_death() -> None:
    """It is tried again within a second, as long as necessary; the owner's start stops waiting for it."""
    shard, now = policy(), 0.0
    for attempt in range(100):
        assert shard.settled() is (attempt >= ATTEMPTS)
        shard.not_started("no process could be started", now)
        assert shard.start_at is not None
        assert now < shard.start_at <= now + 1
        now = shard.start_at
    shard.started(1, now)
    shard.cannot_start_yet("no thread can be started")
    shard.died("exit code 66", now)
    assert (shard.status, shard.last_exit) == (ShardStatus.STARTING, "no thread can be started")
    assert shard.start_at is not None
    shard.started(2, now + 1)
    shard.ready(now + 1)
    assert shard.status is ShardStatus.READY


def test_reviving_a_shard_that_is_being_tried_starts_no_second_process() -> None:
    """The process that is already starting is used."""
    shard = policy()
    shard.started(1, 0)
    shard.ready(0)
    shard.died("SIGKILL", 0)
    shard.started(2, 5)
    shard.revive(5)
    assert (shard.status, shard.start_at) == (ShardStatus.RESTARTING, None)
    assert shard.ready(6)
