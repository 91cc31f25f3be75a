"""Orders on Flask, with four workers: ``gunicorn --workers 4 examples.web.flask_app:app``."""

from __future__ import annotations

import flask

import spex_shards as spex

spex.configure(manager="sharded")


class Order(spex.Specification):
    """An order is paid, and then shipped or refunded."""

    name = "shop.Order"
    transitions = [("new", "pay", "paid"), ("paid", "ship", "shipped"), ("paid", "refund", "refunded")]
    judge = "run"


STATES = {"pay": "paid", "ship": "shipped", "refund": "refunded"}
app = flask.Flask(__name__)


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
