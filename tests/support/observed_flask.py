"""A Flask service in production mode: orders of ``examples/web``, observed by calls that never raise.

At its end each worker writes what became of its observations into a file of its own.
"""

from __future__ import annotations

import atexit
import json
import os
from pathlib import Path

import flask

import spex_shards as spex
from examples.web.flask_app import STATES, Order

app = flask.Flask(__name__)
spex.configure(manager="simple")  # what the example has configured; SPEX_SHARDS_CONNECT says where to attach


@app.post("/orders/<number>")
def create(number: str) -> tuple[dict[str, str], int]:
    """Create an order."""
    spex.init_instance(Order, ("order", number))
    return {"state": "new"}, 201


@app.post("/orders/<number>/<action>")
def act(number: str, action: str) -> dict[str, str]:
    """Pay, ship or refund an order."""
    spex.transition(("order", number), action, STATES[action])
    return {"state": STATES[action]}


@atexit.register
def tell() -> None:
    """Write the counts of this worker."""
    losses = spex.losses()
    plain = {"kept": losses.kept, "late": losses.late, "lost": losses.lost, "refused": sum(losses.refused.values())}
    Path(os.environ["COUNTS"], f"{os.getpid()}.json").write_text(json.dumps(plain))
