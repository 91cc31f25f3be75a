"""An application whose signal handlers and finalisers call its manager; it kills itself at the end.

``python -m tests.support.reentrance_app KIND SCENARIO FOLDER`` writes what was acknowledged to ``FOLDER/journal``.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.programs.injection.load import KINDS, Light

TIMES = 50


class App:
    """A manager, and the observations that it has acknowledged."""

    def __init__(self, kind: str, folder: Path) -> None:
        cls, options = KINDS[kind]
        self.folder = folder
        self.manager = cls(
            data_dir=folder / "data", impl_models_dir=folder / "models", learning_mode=True, call_timeout=20, **options
        ).start()
        self.acknowledged: dict[str, list[str]] = {"main": [], "inner": [], "thread": []}
        self.posted: list[str] = []
        self.interrupts = 0
        self._count = 0
        for identifier in self.acknowledged:
            self.manager.init_instance(Light, identifier)

    def word(self) -> str:
        """Return a state that is used by no other observation."""
        self._count += 1
        return f"s{self._count}"

    def observe(self, identifier: str) -> None:
        """Make an observation, and note it when it is acknowledged."""
        word = self.word()
        self.manager.transition(identifier, "go", word)
        self.acknowledged[identifier].append(word)

    def post(self, identifier: str) -> None:
        """Make an observation without waiting; `flush` notes it as acknowledged."""
        word = self.word()
        self.manager.transition_nowait(identifier, "go", word)
        self.posted.append(f"{identifier} {word}")

    def flush(self) -> None:
        """Flush: all earlier posts are acknowledged."""
        posted = list(self.posted)
        self.manager.flush()
        for one in posted:
            identifier, word = one.split()
            self.acknowledged[identifier].append(word)
        del self.posted[: len(posted)]

    def end(self, *, flushed: bool = True) -> None:
        """Write the journal, and kill this process."""
        if flushed:
            self.flush()
        journal = {"acknowledged": self.acknowledged, "made": [], "interrupts": self.interrupts}
        (self.folder / "journal").write_text(json.dumps(journal))
        os.kill(os.getpid(), signal.SIGKILL)


def finalisers(app: App) -> None:
    """Objects in cycles make observations when they are collected, which may happen at any allocation."""

    class Resource:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            app.interrupts += 1
            app.observe("inner") if app.interrupts % 2 else app.post("inner")

    gc.set_threshold(50)
    while app.interrupts < TIMES:
        Resource()
        app.observe("main")
        app.post("main")
    gc.set_threshold(700)


def handlers(app: App) -> None:
    """An alarm handler makes observations with and without waiting, and sometimes reads and flushes."""

    def on_alarm(*_: object) -> None:
        app.interrupts += 1
        [app.post, app.observe, app.post, lambda _: app.manager.get_instance("inner", 0)][app.interrupts % 4]("inner")
        if app.interrupts % 50 == 0:
            app.flush()

    repeat(app, on_alarm, lambda: (app.observe("main"), app.post("main")))


def interrupts(app: App) -> None:
    """An alarm handler raises, as Ctrl-C and soft time limits do, wherever the main thread is."""
    armed = False

    def on_alarm(*_: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            app.interrupts += 1
            raise [KeyboardInterrupt, TimeoutError, RuntimeError][app.interrupts % 3]

    def step() -> None:
        nonlocal armed
        try:
            armed = True
            app.observe("main")
            app.post("main")
            armed = False
        except (KeyboardInterrupt, TimeoutError, RuntimeError):
            pass

    repeat(app, on_alarm, step)


def repeat(app: App, on_alarm: Callable[..., None], step: Callable[[], Any]) -> None:
    """Repeat a step, with alarms at random moments, until there were enough of them."""
    random.seed(1)
    signal.signal(signal.SIGALRM, on_alarm)
    while app.interrupts < TIMES:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.003))
        step()
    signal.setitimer(signal.ITIMER_REAL, 0)


def ended_by(act: Callable[[App], bool], blocking: bool) -> Callable[[App], None]:
    """Return a scenario in which the handler of SIGTERM does something while the main thread makes observations.

    Args:
        act: What the handler does; returns whether the process ends now.
        blocking: Whether the main thread waits for its observations.
    """

    def scenario(app: App) -> None:
        depth = 0

        def on_term(*_: object) -> None:
            nonlocal depth
            if depth >= (3 if act is close else 1):
                return
            depth += 1
            if act(app):
                app.end(flushed=False)
            depth -= 1

        signal.signal(signal.SIGTERM, on_term)
        threading.Thread(target=terminate, daemon=True).start()
        while True:
            app.observe("main") if blocking else app.post("main")

    return scenario


def close(app: App) -> bool:
    """Close the manager, also in the middle of another close; all earlier posts are acknowledged then."""
    posted = list(app.posted)
    app.manager.close()
    for one in posted:
        identifier, word = one.split()
        app.acknowledged[identifier].append(word)
    return True


def flush(app: App) -> bool:
    """Flush."""
    app.flush()
    return True


def post(app: App) -> bool:
    """Post observations at the first signals; flush at the last one."""
    app.post("inner")
    app.interrupts += 1
    if app.interrupts < 20:
        return False
    app.flush()
    return True


def join(app: App) -> bool:
    """Wait for threads that make observations, as services do for their threads."""
    threads = [threading.Thread(target=app.observe, args=("thread",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return True


def terminate() -> None:
    """Send SIGTERM, at random moments, until the process is gone."""
    random.seed()
    time.sleep(random.uniform(0.05, 0.2))
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(random.uniform(0.001, 0.01))
        if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
            return


SCENARIOS: dict[str, Callable[[App], None]] = {
    "finalisers": finalisers,
    "handlers": handlers,
    "interrupts": interrupts,
    **{
        f"{act.__name__} while it {'waits' if blocking else 'posts'}": ended_by(act, blocking)
        for act in (close, flush, post, join)
        for blocking in (True, False)
    },
}


def main() -> None:
    """Run a scenario."""
    kind, scenario, folder = sys.argv[1:]
    faulthandler.enable()
    faulthandler.dump_traceback_later(200, exit=True)
    app = App(kind, Path(folder))
    SCENARIOS[scenario](app)
    app.end()


if __name__ == "__main__":
    main()
