"""`spex-shards serve --metrics` and `--console`: what is answered over HTTP while shards are served."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import spex_shards as spex
from spex_shards.cli.serve_sites import Sites
from tests.cli.test_serve import Server, serve
from tests.support.helper_specs import Door
from tests.support.processes import wait_until
from tests.telemetry.test_telemetry import samples

__all__ = ["serve"]  # a fixture
TOKEN = "0123456789abcdef"


def read(url: str, **headers: str) -> tuple[int, str]:
    """Return an answer's status and body."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def address(server: Server, what: str) -> dict[str, Any]:
    """Return what the log says of where it listens."""
    return next(said for said in server.of("listening") if said["what"] == what)


@pytest.mark.long
@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
def test_metrics_tell_of_each_shard_also_while_one_hangs(serve: Callable[..., Server], places: dict[str, Path]) -> None:
    """A shard that hangs is not up, and its supervisor that hangs is no reason not to answer."""
    server = serve("--metrics", "0", "--shards", "2").ready()
    url = address(server, "metrics")["url"]
    assert url.startswith("http://127.0.0.1:")
    with spex.connect(places["data_dir"]) as manager:
        for number in range(20):
            manager.init_instance(Door, number)
        pids = [one.pid for one in manager.shards()]
    wait_until(lambda: sum(told(url, "spex_shards_observations_total")) == 20, "all are counted")
    os.kill(pids[1], signal.SIGSTOP)
    wait_until(lambda: told(url, "spex_shards_up") == [1, 0], "the second is not up")
    assert told(url, "spex_shards_restarts_total") == [0, 0]
    os.kill(pids[1], signal.SIGCONT)
    wait_until(lambda: told(url, "spex_shards_up") == [1, 1], "it is up again")
    [supervisor] = [int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])]
    os.kill(supervisor, signal.SIGSTOP)
    try:
        wait_until(lambda: told(url, "spex_shards_up") == [0, 0], "nobody says that they are up")
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert read(url.removesuffix("metrics"))[0] == 404
    assert server.end(signal.SIGTERM) == 0


def told(url: str, name: str) -> list[float]:
    """Return a metric's number of each shard."""
    status, text = read(url)
    assert status == 200
    return [number for (metric, _), number in sorted(samples(text).items()) if metric == name]


@pytest.mark.long
@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
def test_other_machines_need_the_token(serve: Callable[..., Server], places: dict[str, Path], tmp_path: Path) -> None:
    """It is in a file, or is made and logged once; the console's pages have it for all they answer."""
    (tmp_path / "token").write_text(TOKEN)
    server = serve("--metrics", "0.0.0.0:0", "--console", "0.0.0.0:0", "--token-file", str(tmp_path / "token")).ready()
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for what, page in (("metrics", ""), ("console", ""), ("console", "state"), ("console", "instance?identifier=1")):
        url = address(server, what)["url"].replace("0.0.0.0", "127.0.0.1") + page
        assert read(url)[0] == 401, url
        assert read(url, **bearer)[0] == 200, url
        assert read(url, **bearer, Host="shards.example")[0] == 200, url
    assert "token" not in json.dumps(server.of("listening"))
    assert server.end(signal.SIGTERM) == 0
    other = serve("--console", "0.0.0.0:0").ready()
    made = address(other, "console")["token"]
    assert len(made) == 32
    url = address(other, "console")["url"].replace("0.0.0.0", "127.0.0.1")
    assert "<form" in read(url)[1]
    assert read(f"{url}state", Authorization=f"Bearer {made}")[0] == 200
    with spex.connect(places["data_dir"]) as manager:
        for identifier in (("order", 17), "17", 17, "('a'", r"\d"):
            manager.init_instance(Door, identifier)
    for typed, found in (
        ("('order',  17)", "('order', 17)"), ("17", "17"), ("'17'", "'17'"), ("('a'", '"(\'a\'"'), (r"\d", r"'\\d'"),
        ("18", None), ("{1}", None), ("(" * 500, None), ("9" * 900, None),
    ):  # fmt: skip
        plain = json.loads(read(f"{url}instance?identifier={quote(typed)}", Authorization=f"Bearer {made}")[1])
        assert plain.get("identifier") == found, typed
    for wrong in ("", "x" * 1001):
        status, text = read(f"{url}instance?identifier={wrong}", Authorization=f"Bearer {made}")
        assert (status, text[:40]) == (400, "an identifier must have 1 to 1000 charac")
    assert other.end(signal.SIGTERM) == 0
    assert other.other == []


def test_metrics_for_other_machines_are_refused_without_a_token() -> None:
    """The error says what to do."""
    with pytest.raises(
        ValueError, match=r"^--metrics 0\.0\.0\.0:9464 can be read by other machines, and so needs --token"
    ):
        Sites("0.0.0.0:9464", None, None)
    with pytest.raises(ValueError, match=r"^--token and --token-file are for --metrics and --console; give one"):
        Sites(None, None, TOKEN)
