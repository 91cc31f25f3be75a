"""The lives of Celery's tasks, with Celery's broker in memory and its eager mode; `tests/guest` has a real broker."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker

import spex_shards as spex
from spex_shards.adapters import celery as adapter
from spex_shards.adapters.celery import TaskLife, observe

pytestmark = pytest.mark.filterwarnings("ignore")

app = Celery("observed", broker="memory://", backend="cache+memory://")
app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=False)


@app.task(name="succeeding")
def succeeding() -> int:
    """Succeed."""
    return 1


@app.task(name="failing")
def failing() -> None:
    """Fail."""
    raise RuntimeError("no")


@app.task(name="retrying", bind=True, max_retries=1)
def retrying(self: Any) -> None:
    """Be tried again once, and fail then."""
    raise self.retry(countdown=0, exc=RuntimeError("again"))


@app.task(name="private")
def private() -> None:
    """Not be observed."""


observe(lambda name: None if name == "private" else TaskLife)


@pytest.fixture(autouse=True)
def root_logger_as_before() -> Iterator[None]:
    """Give the root logger back: Celery sets its level and handlers, for good, when a worker is started."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.mark.long
def test_a_worker_reports_the_lives_of_its_tasks(observed: Any) -> None:
    """From being sent to the end; the model is a part of `TaskLife`."""
    with start_worker(app, perform_ping_check=False, loglevel="CRITICAL", shutdown_timeout=30):
        sent = {name: app.send_task(name).id for name in ("succeeding", "failing", "retrying", "private")}
        ended: dict[str, list[str]] = {}
        deadline = time.monotonic() + 30
        while len(ended) < 3 and time.monotonic() < deadline:
            found = {one.identifier[1]: one for one in observed.all_instances()}
            for name, number in sent.items():
                if number in found and found[number].current_state in ("SUCCESS", "FAILURE"):
                    ended[name] = [step.action for step in found[number].history[1:]]
            time.sleep(0.02)
    assert ended == {
        "succeeding": ["start", "succeed"],
        "failing": ["start", "fail"],
        "retrying": ["start", "retry", "start", "fail"],
    }
    [model] = observed.all_impl_models()
    assert spex.check(model, TaskLife).verdict is spex.Verdict.INCOMPLETE


def test_an_eager_task_is_observed_too(observed: Any) -> None:
    """It is sent to nobody."""
    result = succeeding.apply()
    assert [step.to_state for step in observed.get_instance(("task", result.id)).history] == [
        "PENDING", "STARTED", "SUCCESS",
    ]  # fmt: skip


def test_a_revoked_task_ends(observed: Any) -> None:
    """The signal has the request."""
    from celery.app.task import Context

    adapter.signals.task_revoked.send(
        sender=succeeding, request=Context(id="7"), terminated=False, signum=None, expired=False
    )
    assert [step.action for step in observed.get_instance(("task", "7")).history[1:]] == ["revoke"]
