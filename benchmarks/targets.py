"""The table of targets: each compares a figure with another one of the same round, or with a limit."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Figure(NamedTuple):
    """A figure of a measure."""

    measure: str
    name: str


class Target(NamedTuple):
    """What is to be reached.

    Attributes:
        name: Names it on the command line and in results.
        what: What is compared, for readers.
        over: The figure, or the upper part of a ratio.
        under: The lower part of the ratio; None: the figure itself is compared with the limit.
        sense: Whether it must be at most, or at least, the limit.
        compiled: The limit for the compiled form.
        pure: The limit for the pure form.
        unit: The unit of the value; ``times`` for a ratio.
    """

    name: str
    what: str
    over: Figure
    under: Figure | None
    sense: Literal["≤", "≥"]
    compiled: float
    pure: float
    unit: str = "times"

    @property
    def measures(self) -> set[str]:
        """The measures that it needs."""
        return {figure.measure for figure in (self.over, self.under) if figure is not None}


def _rate(name: str, what: str, ours: str, peer: str, compiled: float, pure: float) -> Target:
    """Return a target for the rate of one caller that waits for each step."""
    over, under = Figure(ours, "per_second"), Figure(peer, "per_second")
    return Target(name, what, over, under, "≥", compiled, pure)


def _most(name: str, what: str, over: Figure, under: Figure | None, limit: float, unit: str = "times") -> Target:
    return Target(name, what, over, under, "≤", limit, limit, unit)


PROCESS, DISK = "shards, process", "shards, disk"
TARGETS: tuple[Target, ...] = (
    Target("floor", "blocking, p50, against the floor (pipes and rows in LMDB)",
           Figure(PROCESS, "p50_us"), Figure("floor", "p50_us"), "≤", 1.8, 3),
    Target("floor-apart", "the same, with both processes on two cores",
           Figure(PROCESS, "apart_p50_us"), Figure("floor", "apart_p50_us"), "≤", 1.8, 3),
    Target("floor-together", "the same, with both processes on one core",
           Figure(PROCESS, "together_p50_us"), Figure("floor", "together_p50_us"), "≤", 1.8, 3),
    _rate("redis", "blocking against Redis everysec (hiredis), rate of one caller",
          PROCESS, "redis, process", 1.5, 1.0),
    Target("redis-apart", "the same, with both processes on two cores",
           Figure(PROCESS, "apart_per_second"), Figure("redis, process", "apart_per_second"), "≥", 1.5, 1.0),
    Target("redis-together", "the same, with both processes on one core",
           Figure(PROCESS, "together_per_second"), Figure("redis, process", "together_per_second"), "≥", 1.5, 1.0),
    _rate("redis-py", "blocking against Redis everysec, with redis-py's parser in Python",
          PROCESS, "redis-py, process", 1.5, 1.0),
    Target("loop", "pipelined, one shard, against the bare loop in one process over the same rows",
           Figure(PROCESS, "posted_per_second"), Figure("loop", "posted_per_second"), "≥", 0.6, 0.35),
    Target("redis-pipelined", "pipelined against Redis (hiredis), per processor second of both sides",
           Figure("redis, process", "posted_processor_us"), Figure(PROCESS, "posted_processor_us"), "≥", 1.5, 1.0),
    _most("fdatasync", "disk: blocking, p50, against one fdatasync of the same bytes",
          Figure("fdatasync", "ours_p50_us"), Figure("fdatasync", "bare_p50_us"), 1.3),
    Target("callers", "disk: 64 threads against one, rate",
           Figure("threads, disk", "many_per_second"), Figure("threads, disk", "one_per_second"), "≥", 25, 25),
    Target("coroutines", "disk: 64 coroutines against one thread, rate",
           Figure("coroutines, disk", "64_per_second"), Figure(DISK, "per_second"), "≥", 25, 25),
    _rate("sqlite", "in-process manager against SQLite, rate", "in-process, process", "sqlite, process", 1.5, 1.5),
    _rate("sqlite-disk", "the same, disk", "in-process, disk", "sqlite, disk", 1.5, 1.5),
    _rate("diskcache", "in-process manager against diskcache, rate", "in-process, process", "cache, process", 3, 3),
    _rate("diskcache-shards", "blocking against diskcache, rate", PROCESS, "cache, process", 3, 3),
    _rate("postgresql", "blocking against PostgreSQL (psycopg 3), rate", PROCESS, "postgres, process", 3, 3),
    _rate("postgresql-disk", "the same, disk", DISK, "postgres, disk", 3, 3),
    _rate("ray", "blocking against a Ray actor over SQLite, rate", PROCESS, "actor, process", 3, 3),
    _rate("manager", "blocking against multiprocess.Manager over SQLite, rate", PROCESS, "manager, process", 3, 3),
    _rate("counter", "generic service: increments against Redis INCR, everysec",
          "counters, runtime, process", "counters, redis, process", 1.0, 1.0),
    _rate("counter-disk", "the same, disk against always",
          "counters, runtime, disk", "counters, redis, disk", 1.0, 1.0),
    _most("shards", "processor time of a pipelined step, 16 shards against 1",
          Figure("shards at once", "16_processor_us"), Figure("shards at once", "1_processor_us"), 1.15),
    Target("handlers", "2 shards against 1, a handler that burns 200 µs an observation, rate",
           Figure("handlers", "2_per_second"), Figure("handlers", "1_per_second"), "≥", 1.8, 1.8),
    Target("handlers-cpu", "the same by the busiest worker's processor time, which other work does not change",
           Figure("handlers", "1_busiest_s"), Figure("handlers", "2_busiest_s"), "≥", 1.8, 1.8),
    _most("history", "a history of 100,000 entries against 10, p50",
          Figure("histories", "long_p50_us"), Figure("histories", "short_p50_us"), 1.1),
    _most("opening", "a shard's start with 1,000,000 instances against an empty one",
          Figure("instances", "large_open_ms"), Figure("instances", "empty_open_ms"), 1.5),
    _most("iterating-memory", "iterating over 1,000,000 instances: what the client grows by",
          Figure("instances", "client_growth_mib"), None, 30, "MiB"),
    Target("iterating", "iterating, rate, against a bare cursor with the same decoding",
           Figure("instances", "iterated_per_second"), Figure("instances", "cursor_per_second"), "≥", 0.5, 0.5),
    _most("memory", "an idle worker, resident", Figure("start", "worker_mib"), None, 20, "MiB"),
    _most("import", "import of the package", Figure("import", "import_ms"), None, 45, "ms"),
    _most("start", "start of 4 shards", Figure("start", "start_ms"), None, 150, "ms"),
    _most("checker", "checker, 1,000,000 transitions, the worst of 28 pairs against the reference",
          Figure("checker", "worst_ratio"), None, 1.5, "times"),
    Target("large", "pipelined over random instances of a very large store, against an empty one, rate",
           Figure("large", "large_posted_per_second"), Figure("large", "empty_posted_per_second"), "≥", 0.7, 0.7),
)  # fmt: skip
