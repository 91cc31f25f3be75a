"""The web application: each request makes observations."""

from __future__ import annotations

import flask

import spex_shards as spex

from .observer import observer

app = flask.Flask(__name__)


@app.get("/observe")
def observe() -> tuple[str, int]:
    """Make some observations; answer 503 while there is no supervisor."""
    try:
        observing = observer("web")
    except (spex.SpexError, OSError) as error:
        return str(error), 503
    for _ in range(10):
        observing.turn()
    return "", 200
