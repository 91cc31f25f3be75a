"""A service in production mode goes on answering, whatever becomes of the shards, and nothing is dropped silently."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import spex_shards as spex
from tests.guest.test_web_servers import WORKERS, Server
from tests.support.processes import descendants, is_gone, wait_until
from tests.support.visitors import Visitors, wait_for_socket

pytestmark = [pytest.mark.process, pytest.mark.long, pytest.mark.usefixtures("no_process_left")]
MORE = 60
"""How many requests are answered between two events."""


@contextmanager
def served(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``spex-shards serve`` on the data directory; at the end, nothing of it is left."""
    ready = folder / "ready"
    ready.unlink(missing_ok=True)
    words = ["serve", "--shards", "2", "--data-dir", folder / "data", "--models-dir", folder / "models"]
    process = subprocess.Popen(
        [sys.executable, "-m", "spex_shards", *words, "--ready-file", ready], cwd=folder, stderr=subprocess.DEVNULL
    )
    everybody = {process.pid}
    try:
        wait_until(ready.exists, "the server is ready")
        everybody |= descendants(process.pid)
        yield process
    finally:
        everybody |= descendants(process.pid)
        process.terminate()
        process.wait(60)
    wait_until(lambda: all(map(is_gone, everybody)), "the server and its shards are gone")


def test_a_flask_service_answers_while_its_shards_and_then_their_server_are_killed(tmp_path: Path) -> None:
    """No request fails. What a call kept is stored, exactly once; everything else is counted."""
    command = ["gunicorn", f"--workers={WORKERS}", "--bind=unix:{socket}", "tests.support.observed_flask:app"]
    environment = {"SPEX_SHARDS_MODE": "observe", "SPEX_SHARDS_CONNECT": str(tmp_path / "data")}

    def until_more(what: str) -> None:
        least = visitors.served + MORE
        wait_until(lambda: visitors.served >= least, what, within=120)

    with served(tmp_path) as serve:
        server = Server(tmp_path, command, **environment, COUNTS=str(tmp_path))
        visitors = None
        try:
            wait_for_socket(server.socket)
            visitors = Visitors(server.socket)
            until_more("orders are taken")
            for _ in range(3):
                with spex.connect(tmp_path / "data") as manager:
                    for shard in manager.shards():
                        if shard.pid is not None:
                            os.kill(shard.pid, signal.SIGKILL)
                until_more("orders are taken after a shard's death")
            serve.kill()
            serve.wait(60)
            until_more("orders are taken though nobody serves")
            with served(tmp_path):
                with spex.connect(tmp_path / "data") as manager:
                    before = len(manager.all_instances(history_limit=0))
                    wait_until(lambda: len(manager.all_instances(history_limit=0)) > before, "new orders are kept")
                until_more("orders are taken after the server's return")
                visitors.leave()
                server.end()
                counts = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
                with spex.connect(tmp_path / "data") as manager:
                    stored = {
                        one.identifier[1]: [entry.to_state for entry in one.history] for one in manager.all_instances()
                    }
        finally:
            if visitors is not None:
                visitors.leave()
            if server.process.poll() is None:
                server.end()
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    entries = sum(len(history) for history in stored.values())
    told = sum(len(states) for states in visitors.acknowledged.values())
    assert (visitors.wrong, visitors.uncertain, len(counts)) == ([], {}, WORKERS)
    assert total["kept"] <= entries <= total["kept"] + total["late"]
    assert told <= total["kept"] + total["late"] + total["lost"] + total["refused"] <= told + total["refused"]
    assert total["kept"] > 2 * MORE
    assert total["lost"] + total["late"] > 0, "nothing was ever unreachable"
    assert all(len(set(history)) == len(history) for history in stored.values()), "something was applied twice"
