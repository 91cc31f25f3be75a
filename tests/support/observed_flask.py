"""The Flask service of ``examples/web`` in production mode, which tells at its end what became of its observations."""

from __future__ import annotations

import atexit
import json
import os
from pathlib import Path

import spex_shards as spex
from examples.web.flask_app import app

__all__ = ["app"]


@atexit.register
def tell() -> None:
    """Write the counts of this worker into a file of its own."""
    losses = spex.losses()
    plain = {"kept": losses.kept, "late": losses.late, "lost": losses.lost, "refused": sum(losses.refused.values())}
    Path(os.environ["COUNTS"], f"{os.getpid()}.json").write_text(json.dumps(plain))
