"""Draw docs/top.svg: what `spex-shards top` shows of shards that work, one of which was just killed.

    python docs/draw_top.py

It starts two shards in a temporary folder and has a program observe orders, so the figures differ from run to run.
"""

import io
import os
import re
import signal
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

import spex_shards as spex
from spex_shards.cli.top_screen import screen
from spex_shards.cli.top_source import Source

WIDTH, HEIGHT = 118, 16


class Order(spex.Specification):
    """The life of an order."""

    name = "shop.Order"
    transitions = [("new", "pay", "paid"), ("paid", "ship", "shipped"), ("paid", "cancel", "cancelled")]

    @classmethod
    def error_handler(cls, error, _caller):
        """Return the error without logging it."""
        return error


def observe(client: spex.InstanceManager, ended: threading.Event) -> None:
    """Observe orders until the end; now and then one does what it must not."""
    number = 0
    while not ended.is_set():
        number += 1
        client.init_instance_nowait(Order, number)
        client.transition_nowait(number, "pay", "paid")
        client.transition_nowait(number, "ship", "shipped")
        if number % 900 == 0:
            client.transition_nowait(number, "refund", "refunded")
        if number % 20 == 0:
            time.sleep(0.01)


def draw() -> None:
    """Draw the picture."""
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        models.mkdir()
        known = [(None, spex.INITIALISATION, "new"), *Order.transitions]
        (models / "order.spex").write_text(spex.ImplModel(specification=Order.name, transitions=known).serialise())
        with spex.ShardedInstanceManager(
            data_dir=Path(folder) / "data", impl_models_dir=models, distribution_factor=3
        ) as manager:
            ended = threading.Event()
            working = threading.Thread(target=observe, args=(manager, ended))
            working.start()
            source = Source(Path(folder) / "data")
            for second in range(6):
                view = source.look()
                if second == 2:
                    os.kill(manager.shards()[1].pid, signal.SIGKILL)
                time.sleep(1)
            source.detach()
            ended.set()
            working.join()
            manager.flush()
    console = Console(record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True)
    console.print(screen(replace(view, data_dir=Path("/srv/shop/data")), HEIGHT, "q ends"))
    frame = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)  # a page must fetch nothing
    title = "spex-shards top /srv/shop/data"
    console.save_svg(str(Path(__file__).parent / "top.svg"), title=title, code_format=frame)


if __name__ == "__main__":
    draw()
