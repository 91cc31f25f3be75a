"""Commands on a namespace of a PostgreSQL database."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from tests.cli.test_cli import project, run
from tests.support.contract_specs import Order

pytestmark = pytest.mark.postgres
__all__ = ["project", "run"]  # fixtures
SPECIFICATION = "tests.support.contract_specs:Order"


@pytest.fixture
def ran(run: Any) -> Callable[..., str]:
    """Return a function that runs a command, checks its exit code, and returns stdout, or for an error stderr."""

    def invoke(*arguments: str, code: int = 0) -> str:
        done = run(*arguments)
        assert done.code == code, (done.out, done.err)
        return str(done.err if code == 2 else done.out)

    return invoke


@pytest.fixture
def namespace(store_url: str, tmp_path: Path) -> str:
    """Return the URL of a namespace in which something was learned."""
    with spex.SimpleInstanceManager(
        data_dir=tmp_path / "data", impl_models_dir=tmp_path / "models", store=store_url, learning_mode=True
    ) as manager:
        manager.init_instance(Order, 1)
        manager.transition(1, "pay", "paid")
        manager.transition(1, "refund", "paid")
    return store_url


def test_commands_read_a_namespace_as_they_read_a_directory(
    ran: Callable[..., str], namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Export writes the models, check judges them, render draws them with deviations, verify finds nothing."""
    assert "1 file written" in ran("export", "--data-dir", namespace, "--models-dir", str(tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["contract.Order.spex"]
    assert "contract.Order: violation" in ran("check", namespace, "--specification", SPECIFICATION, code=1)
    report = tmp_path / "report.html"
    ran("render", namespace, str(report), "--data-dir", namespace, "--specification", SPECIFICATION)
    assert "refund" in report.read_text()
    assert "all is well" in ran("verify", namespace)
    monkeypatch.setenv("SPEX_SHARDS_STORE", namespace)
    assert "1 file written" in ran("export", "--models-dir", str(tmp_path / "other"))


def test_a_namespace_is_moved_to_a_directory_and_back(ran: Callable[..., str], namespace: str, tmp_path: Path) -> None:
    """The command says what it did; run again, that nothing is left to do; what was left names the new place."""
    there = str(tmp_path / "there")
    assert re.search(r"1 shard, \d\d rows moved and compared", ran("move", namespace, there))
    assert "moved already" in ran("move", namespace, there)
    assert f"was moved to {there}: use that" in ran("verify", namespace, code=2)
    assert "all is well" in ran("verify", there)
    ran("move", there, namespace)
    assert "all is well" in ran("verify", namespace)
    assert "is a URL" not in ran("move", there, there, code=2)


def test_errors_and_options_show_no_password(
    ran: Callable[..., str], store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a namespace that is not there, of a URL that cannot be read, and of the options."""
    url = store_url.replace("user=spex", "user=spex&password=ge-heim")
    shown = [
        ran("verify", url, code=2),
        ran("config", "--store", url),
        ran("config", "--store", url, "--format", "json"),
    ]
    assert "there is no namespace" in shown[0]
    assert "password=***" in shown[1]
    plain: dict[str, Any] = {one["name"]: one for one in json.loads(shown[2])["options"]}
    assert (plain["store"]["from"], plain["namespace"]["value"]) == ("--store", None)
    shown += [ran("config", "--store", "postgresql://me:ge-heim/x@h/db", code=2)]
    shown += [ran("move", "postgresql://me:ge-heim@h:x/db", "there", code=2)]
    monkeypatch.setenv("SPEX_SHARDS_STORE", "ge-heim")
    shown += [ran("config", code=2)]
    assert not [text for text in shown if "ge-heim" in text]
