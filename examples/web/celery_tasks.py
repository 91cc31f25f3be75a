"""Jobs on Celery's prefork workers: ``celery -A examples.web.celery_tasks worker --concurrency 4``."""

from __future__ import annotations

import os
import uuid

import celery

import spex_shards as spex

spex.configure(manager="sharded")
app = celery.Celery("jobs", broker=os.environ.get("BROKER", "redis://"), backend=os.environ.get("BROKER", "redis://"))
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1)


class Job(spex.Specification):
    """A job is begun, and then done or failed."""

    name = "jobs.Job"
    transitions = [("begun", "succeed", "done"), ("begun", "fail", "failed")]
    judge = "run"


@app.task(bind=True)
def work(self: celery.Task, number: int) -> str:
    """Do a job.

    Celery delivers a task again whose process was killed. So the instance is the run, and not the task.
    """
    run = str(uuid.uuid4())
    spex.init_instance(Job, run, meta={"task": self.request.id})
    succeeds = number % 10 != 0
    spex.transition(run, *(("succeed", "done") if succeeds else ("fail", "failed")))
    return run
