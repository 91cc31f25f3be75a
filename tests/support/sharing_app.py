"""One of several equal processes on a data directory: ``python -m tests.support.sharing_app DATA JOURNAL NAME``.

It observes with a journal until it is killed, or until SIGTERM has it close its manager.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from spex_shards.manager import SharedInstanceManager
from tests.programs.chaos.app import App, Journal


def main(data_dir: str, journal_path: str, name: str) -> None:
    """Make observations until this process ends."""
    journal = Journal(Path(journal_path))
    manager = SharedInstanceManager(
        data_dir=data_dir, distribution_factor=2, learning_mode=True, call_timeout=60, impl_models_dir=f"{data_dir}-m"
    ).start()
    app = App(manager, journal, name)
    signal.signal(signal.SIGTERM, app.terminated)
    journal.write("start")
    while True:
        app.turn()


if __name__ == "__main__":
    main(*sys.argv[1:])
