"""Observes the lives of Celery's tasks, through Celery's signals.

::

    from spex_shards.adapters.celery import observe

    observe()  # where the app is made, in clients and workers alike

Each task that is sent is an instance, under ``("task", ID)``; the specification `TaskLife` says what may happen to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import signals

from ..domain.specification import Specification
from .subject import Adapter


class TaskLife(Specification):
    """The life of a task: it is sent, started, and ends; or it is tried again later, or revoked.

    ``deliver_again`` is a second start without a retry: the worker was lost, and the broker delivered the task again.
    """

    name = "celery.TaskLife"
    transitions = (
        ("PENDING", "start", "STARTED"),
        ("STARTED", "succeed", "SUCCESS"),
        ("STARTED", "fail", "FAILURE"),
        ("STARTED", "retry", "RETRY"),
        ("STARTED", "revoke", "REVOKED"),
        ("STARTED", "start", "STARTED"),
        ("RETRY", "start", "STARTED"),
        ("RETRY", "revoke", "REVOKED"),
        ("PENDING", "revoke", "REVOKED"),
    )


def observe(
    tasks: Callable[[str], type[Specification] | None] | type[Specification] = TaskLife,
    *,
    identifier: Callable[[str], Any] = lambda task_id: ("task", task_id),
    wait: bool = True,
) -> None:
    """Observe the tasks that this process sends, and those that it executes.

    Args:
        tasks: The specification of all tasks; or a function of a task's name that returns its specification, or None
            for tasks that are not observed.
        identifier: The identifier of a task, made from its id.
        wait: Whether Celery goes on only when a report is stored.

    Raises:
        TypeError: An argument is something else.
    """
    listener = _Listener(Adapter(tasks, identifier, wait=wait, derive=lambda _: TaskLife), wait)
    for name, signal in (
        ("sent", signals.after_task_publish),
        ("started", signals.task_prerun),
        ("retried", signals.task_retry),
        ("succeeded", signals.task_success),
        ("failed", signals.task_failure),
        ("revoked", signals.task_revoked),
    ):
        signal.connect(getattr(listener, name), weak=False, dispatch_uid=f"spex_shards.{name}")


class _Listener:
    """Receives Celery's signals."""

    def __init__(self, adapter: Adapter, waits: bool) -> None:
        self._adapter, self._waits = adapter, waits

    def sent(self, sender: Any = None, headers: Any = None, **_: Any) -> None:
        """Report that a task exists; of a task that is tried again, this is no news."""
        if headers and "id" in headers:
            self._report(str(sender), headers["id"], None, None)

    def started(self, sender: Any = None, task_id: Any = None, **_: Any) -> None:
        self._report(sender.name, task_id, "start", "STARTED")

    def retried(self, sender: Any = None, request: Any = None, **_: Any) -> None:
        self._report(sender.name, request.id, "retry", "RETRY")

    def succeeded(self, sender: Any = None, **_: Any) -> None:
        self._report(sender.name, sender.request.id, "succeed", "SUCCESS")

    def failed(self, sender: Any = None, task_id: Any = None, **_: Any) -> None:
        self._report(sender.name, task_id, "fail", "FAILURE")

    def revoked(self, sender: Any = None, request: Any = None, **_: Any) -> None:
        self._report(sender.name, request.id, "revoke", "REVOKED")

    def _report(self, name: str, task_id: Any, action: str | None, state: str | None) -> None:
        subject = self._adapter.subject(name, task_id)
        if subject is None or subject.off:
            return
        if action is None or state is None:
            subject.begins("PENDING")
        else:
            subject.state = "PENDING"  # in which the task is, if nothing is known of it
            subject.did(action, state)
