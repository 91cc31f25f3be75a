"""The fields of log records, as a formatter of an application sees them."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.log_fields import FIELDS
from spex_shards.runtime.client.call_site import emit
from spex_shards.runtime.worker.logs import record_plain
from tests.support import loop_manager
from tests.support.helper_specs import Door
from tests.support.places import ROOT
from tests.support.processes import wait_until


class Taken(logging.Handler):
    """Collects records as JSON, without a list of the fields' names."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        plain = {name: value for name, value in record.__dict__.items() if name in FIELDS}
        self.taken.append({**json.loads(json.dumps(plain, default=str)), "message": record.getMessage()})


@pytest.fixture
def taken() -> Iterator[list[dict[str, Any]]]:
    """Return the list of what the package has logged."""
    handler = Taken()
    logging.getLogger("spex_shards").addHandler(handler)
    yield handler.taken
    logging.getLogger("spex_shards").removeHandler(handler)


def test_a_deviation_has_its_specification_identifier_transition_and_verdict(
    make_manager: Callable[..., Any], places: dict[str, Path], taken: list[dict[str, Any]]
) -> None:
    """In every kind of manager, also where a shard writes the record; the event is the error's reason."""
    places["impl_models_dir"].mkdir()
    model = spex.ImplModel(specification=Door.name, transitions=[(None, spex.INITIALISATION, "closed")])
    (places["impl_models_dir"] / "door.spex").write_text(model.serialise())
    manager = make_manager()
    manager.init_instance(Door, ("door", 1))
    error = manager.try_transition(("door", 1), "kick", "broken")
    assert error is not None
    [record] = taken
    assert set(FIELDS) <= set(record)
    assert {name: record[name] for name in ("spex_event", "spex_reason", "specification", "identifier", "verdict")} == {
        "spex_event": error.reason,
        "spex_reason": error.reason,
        "specification": Door.name,
        "identifier": ["door", 1],
        "verdict": error.context["verdict"].value,
    }
    assert record["transition"] == ["closed", "kick", "broken"]
    caller = loop_manager.__file__ if isinstance(manager, loop_manager.LoopManager) else __file__
    assert record["call_site"].startswith(caller)
    if isinstance(manager, (spex.ShardedInstanceManager, loop_manager.LoopManager)):
        assert (record["shard"], record["pid"]) in [(shard.index, shard.pid) for shard in manager.shards()]
    else:
        assert (record["shard"], record["pid"]) == (None, os.getpid())


@pytest.mark.process
def test_what_could_not_be_applied_has_its_shard_and_its_reason(
    places: dict[str, Path], taken: list[dict[str, Any]]
) -> None:
    """So an application can count what was lost, for each shard."""
    options = {"distribution_factor": 1, "max_restarts": 0, "retry_failed": None}
    with spex.ShardedInstanceManager(**places, **options) as manager:
        manager.init_instance(Door, 1)
        worker = manager.shards()[0].pid
        os.kill(worker, signal.SIGSTOP)
        for _ in range(3):
            manager.transition_nowait(1, "open", "opened")
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: manager.shards()[0].status is spex.ShardStatus.FAILED, "it is given up")
        with pytest.raises(ExceptionGroup):
            manager.flush()
        lost = wait_until(lambda: [one for one in taken if one["spex_event"] == "unapplied"], "it is logged")
    assert {(one["shard"], one["pid"]) for one in lost} == {(0, os.getpid())}
    assert sum(one["count"] for one in lost) == 3


def test_a_record_of_the_package_that_nobody_has_named_has_all_fields_too(taken: list[dict[str, Any]]) -> None:
    """Then its event is `other`; so a formatter may name any of them."""
    logging.getLogger("spex_shards").warning("something")
    assert taken == [
        {**dict.fromkeys(FIELDS), "spex_event": "other", "pid": os.getpid(), "message": "something"},
    ]


def test_a_record_of_an_older_shard_is_logged_as_before(taken: list[dict[str, Any]]) -> None:
    """It sends only whether the default handler wrote it."""
    emit(["spex_shards", logging.ERROR, "old", 1.0, "x.py", 1, "f", None, True], 3, 77, called_here=False)
    assert [(one["message"], one["shard"], one["pid"], one["spex_event"]) for one in taken] == [
        ("[shard 3, pid 77] old", 3, 77, "other")
    ]


def test_a_field_that_cannot_be_sent_is_sent_as_text(taken: list[dict[str, Any]]) -> None:
    """An application's handler may log anything under these names."""
    record = logging.getLogger("spex_shards").makeRecord(
        "spex_shards", logging.ERROR, "x.py", 1, "odd", (), None, extra={"spex_event": "mine", "identifier": {1, 2}}
    )
    emit(record_plain(record), 0, 77, called_here=False)
    assert [(one["spex_event"], one["identifier"]) for one in taken] == [("mine", "{1, 2}")]


PAGE = (ROOT / "docs" / "operations.md").read_text()
EVENTS = set(re.findall(r"^\| `(\w+)` \|", PAGE.partition("### Events")[2].partition("\n## ")[0], re.MULTILINE))


def test_the_documentation_has_every_field_and_every_event() -> None:
    """An event that is not there cannot be relied on."""
    fields = set(re.findall(r"^\| `(\w+)` \|", PAGE.partition("### Fields")[2].partition("\n### ")[0], re.MULTILINE))
    assert fields == set(FIELDS)
    named = {
        name
        for path in (ROOT / "spex_shards").rglob("*.py")
        for name in re.findall(r'about(?:_error)?\((?:error, |word, )?"(\w+)"', path.read_text())
    }
    said = {"supervisor_died", "supervisor_lost", "supervisor_hung", "channel_failed", "unapplied", "message_lost"}
    reasons = {"deviation_still_equivalent", "deviation_not_equivalent", "deviation_from_specification"}
    assert named | said | reasons | {"other"} <= EVENTS
