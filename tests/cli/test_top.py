"""``top`` as its users see it: on a terminal, in scripts, and while servers come and go."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import spex_shards as spex
from spex_shards.cli.top_screen import screen
from spex_shards.cli.top_source import Happening, ShardRow, Source, View
from tests.cli.test_serve import Server, serve
from tests.support.helper_specs import Door
from tests.support.processes import wait_until

__all__ = ["serve"]  # a fixture
pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]
Serve = Callable[..., Server]


class Watching:
    """A running `spex-shards top` on a terminal of its own."""

    def __init__(self, data_dir: Path) -> None:
        self.terminal, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "spex_shards", "top", str(data_dir)],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "130", "LINES": "30"},
        )  # fmt: skip
        os.close(theirs)
        self._written = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while self.process.poll() is None or select.select([self.terminal], [], [], 0)[0]:
            try:
                if select.select([self.terminal], [], [], 0.1)[0]:
                    self._written += os.read(self.terminal, 65536)
            except OSError:
                return

    @property
    def text(self) -> str:
        """All that was drawn so far, without the codes of the terminal."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self._written.decode(errors="replace"))

    def shows(self, text: str) -> Any:
        """Wait until it has drawn a text, and forget what was drawn until then."""
        wait_until(lambda: text in self.text or self.process.poll() is not None, f"it shows {text!r}")
        assert text in self.text, self.text
        self._written = b""

    def end(self, how: Callable[[], Any]) -> int:
        how()
        code = self.process.wait(60)
        self._reader.join(60)
        os.close(self.terminal)
        return code


@pytest.fixture
def watch(places: dict[str, Path]) -> Iterator[Callable[[], Watching]]:
    """Return a function that watches the data directory; all are ended."""
    started: list[Watching] = []

    def start() -> Watching:
        started.append(Watching(places["data_dir"]))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.end(one.process.kill)


@pytest.mark.long
def test_it_shows_shards_restarts_and_servers_that_come_and_go(
    serve: Serve, watch: Callable[[], Watching], places: dict[str, Path]
) -> None:
    """It waits while nobody serves the directory, and goes on with the next server. q ends it with 0."""
    one = watch()
    one.shows("nobody serves it")
    server = serve("--shards", "2").ready()
    one.shows("2 of 2 shards ready")
    os.kill(server.of("ready")[0]["shards"][0]["worker"], signal.SIGKILL)
    one.shows("shard 0 was restarted: SIGKILL")
    assert server.end(signal.SIGTERM) == 0
    one.shows("nobody serves it")
    serve("--shards", "2").ready()
    one.shows("2 of 2 shards ready")
    assert one.end(lambda: os.write(one.terminal, b"q")) == 0
    assert "Traceback" not in one.text


@pytest.mark.long
def test_ctrl_c_ends_it_quietly(serve: Serve, watch: Callable[[], Watching]) -> None:
    """The exit code is 0, and nothing is written after the screen was restored."""
    serve("--shards", "1").ready()
    one = watch()
    one.shows("1 of 1 shards ready")
    assert one.end(lambda: one.process.send_signal(signal.SIGINT)) == 0
    assert "interrupted" not in one.text
    assert "Traceback" not in one.text


def test_a_script_gets_rates_and_deviations(serve: Serve, places: dict[str, Path]) -> None:
    """One object; the rates are those between two looks. It asks each shard for its counters only."""
    places["impl_models_dir"].mkdir()
    model = spex.ImplModel(specification=Door.name, transitions=[(None, spex.INITIALISATION, "closed")])
    (places["impl_models_dir"] / "door.spex").write_text(model.serialise())
    serve("--shards", "2", learn=False).ready()
    source = Source("here", lambda: spex.connect(places["data_dir"], call_timeout=2))
    source.attach()
    with spex.connect(places["data_dir"], call_timeout=30) as client:
        source.look()
        client.init_instance(Door, 1)
        for _ in range(10):
            client.try_transition(1, "kick", "broken")
        asked = [report["requests"] for report in client.stats()]
        view = source.look()
        later = [report["requests"] for report in client.stats()]
    source.detach()
    assert view.why is None
    assert sum(row.observations_per_second or 0 for row in view.rows) > 0
    assert sum(row.deviations or 0 for row in view.rows) == 10
    assert any("kick" in one.text for one in view.events)
    for before, after in zip(asked, later, strict=True):
        assert after["stats"] - before["stats"] <= 3
        assert after.keys() - before.keys() <= {"deviations"}


@pytest.mark.long
def test_once_writes_what_was_seen_and_ends(serve: Serve, places: dict[str, Path]) -> None:
    """As text and as JSON."""
    serve("--shards", "2").ready()
    arguments = [sys.executable, "-m", "spex_shards", "top", str(places["data_dir"]), "--once"]
    text = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert (text.returncode, text.stderr) == (0, "")
    assert text.stdout.startswith(f"spex-shards top {places['data_dir']}: 2 of 2 shards ready, a question takes ")
    assert [line.split()[:2] for line in text.stdout.splitlines()[3:5]] == [["0", "READY"], ["1", "READY"]]
    plain = json.loads(subprocess.run([*arguments, "--format", "json"], capture_output=True, timeout=60).stdout)
    assert (plain["served"], [shard["status"] for shard in plain["shards"]]) == (True, ["READY", "READY"])
    assert plain["shards"][0]["requests_per_second"] is not None


@pytest.mark.long
def test_once_exits_with_2_when_nobody_serves_the_directory(places: dict[str, Path]) -> None:
    """And without a terminal there is nothing to draw on."""
    arguments = [sys.executable, "-m", "spex_shards", "top", str(places["data_dir"])]
    done = subprocess.run([*arguments, "--once"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no data directory at" in done.stderr
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "give --once, or --format json" in done.stderr) == (2, True)


def test_the_screen_has_room_for_what_has_happened_last() -> None:
    """Of many events, the newest are shown."""
    rows = (ShardRow(0, "READY", 1, 0, None, 10.0), ShardRow(1, "FAILED", None, 3, "SIGKILL"))
    events = tuple(Happening(datetime.now(UTC), "warning", f"event {number}") for number in range(50))
    console = Console(width=120, height=20, record=True, file=io.StringIO())
    console.print(screen(View("data", rows, None, 0.001, events), 20))
    lines = console.export_text().splitlines()
    assert len(lines) <= 20
    assert lines[-1].endswith("event 49")
    assert "1 of 2 shards ready" in lines[0]
