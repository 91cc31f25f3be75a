"""Orders on FastAPI, with four workers: ``uvicorn --workers 4 examples.web.fastapi_app:app``.

The functions are no coroutines on purpose: FastAPI runs them in threads, where a call may wait without holding up the
event loop.
"""

from __future__ import annotations

import fastapi

import spex_shards as spex

spex.configure(manager="sharded")


class Order(spex.Specification):
    """An order is paid, and then shipped or refunded."""

    name = "shop.Order"
    transitions = [("new", "pay", "paid"), ("paid", "ship", "shipped"), ("paid", "refund", "refunded")]
    judge = "run"


STATES = {"pay": "paid", "ship": "shipped", "refund": "refunded"}
app = fastapi.FastAPI()


@app.post("/orders/{number}", status_code=201)
def create(number: str) -> dict[str, str]:
    """Create an order."""
    spex.init_instance(Order, ("order", number))
    return {"state": "new"}


@app.post("/orders/{number}/{action}")
def act(number: str, action: str) -> dict[str, str]:
    """Pay, ship or refund an order."""
    spex.transition(("order", number), action, STATES[action])
    return {"state": STATES[action]}
