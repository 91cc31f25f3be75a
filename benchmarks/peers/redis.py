"""Redis, with its append-only file, by redis-py over a unix socket: lights as a Lua script, counters as INCR."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..lights import ALLOWED, KEYS, Step, in_portions
from . import package, program

FSYNC = {"process": "everysec", "disk": "always"}
_ALLOWED = ", ".join(f"['{' '.join(step)}'] = true" for step in sorted(ALLOWED))
SCRIPT = f"""
local allowed = {{{_ALLOWED}}}
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return redis.error_reply('no such light') end
if not allowed[state .. ' ' .. ARGV[1] .. ' ' .. ARGV[2]] then return redis.error_reply('not allowed') end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'last', ARGV[3])
return redis.call('RPUSH', KEYS[2], ARGV[3] .. ' ' .. ARGV[1] .. ' ' .. ARGV[2])
"""


@contextmanager
def server(folder: Path, durability: str) -> Iterator[Path]:
    """Run a server of its own in a folder; return its socket.

    Raises:
        Missing: It is not installed.
    """
    redis, socket = package("redis"), folder / "redis"
    command = [
        program("redis-server", "redis-server"), "--port", "0", "--unixsocket", str(socket), "--dir", str(folder),
        "--save", "", "--appendonly", "yes", "--appendfsync", FSYNC[durability],
    ]  # fmt: skip
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        waiting, deadline = redis.Redis(unix_socket_path=str(socket)), time.monotonic() + 20
        while True:
            with suppress(redis.ConnectionError):
                waiting.ping()
                break
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"redis-server does not answer (exit code {running.poll()})")
            time.sleep(0.02)
        waiting.close()
        yield socket
    finally:
        running.terminate()
        running.wait(30)


def client(socket: Path, *, hiredis: bool) -> Any:
    """Return a client with one connection, whose answers are read by hiredis (in C) or by redis-py (in Python)."""
    redis = package("redis")
    if hiredis:
        package("hiredis")
        parser = redis._parsers._HiredisParser
    else:
        parser = redis._parsers._RESP2Parser
    pool = redis.ConnectionPool(
        connection_class=redis.UnixDomainSocketConnection, path=str(socket), parser_class=parser, protocol=2
    )
    return redis.Redis(connection_pool=pool, single_connection_client=True)


class InRedis:
    """Lights in Redis: a hash and a list for each, and a script for each step, which is called by its digest."""

    def __init__(self, connection: Any) -> None:
        self._client = connection
        self._script = connection.script_load(SCRIPT)
        for key in KEYS:
            connection.hset(key, "state", "red")

    def step(self, key: str, action: str, state: str) -> None:
        self._client.evalsha(self._script, 2, key, key + "/history", action, state, time.time_ns() // 1000)

    def post_all(self, steps: Sequence[Step]) -> None:
        for portion in in_portions(steps):
            pipeline = self._client.pipeline(transaction=False)
            for key, action, state in portion:
                pipeline.evalsha(self._script, 2, key, key + "/history", action, state, time.time_ns() // 1000)
            pipeline.execute()

    def entries(self) -> int:
        return sum(self._client.llen(key + "/history") for key in KEYS)


@contextmanager
def lights(folder: Path, durability: str, *, hiredis: bool = True) -> Iterator[InRedis]:
    """Open lights in a server of their own."""
    with server(folder, durability) as socket:
        yield InRedis(client(socket, hiredis=hiredis))
