"""The command ``top``: watches running shards, of a data directory or of a cluster."""

from __future__ import annotations

import logging
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer

from ..manager import connect
from .gate_options import AuthorityOption, CertificateOption, GateTokenFileOption, KeyOption
from .output import Format, Output, Remarks, command
from .overrides import NamespaceOption, directory
from .top_source import ANSWER_WITHIN, Source, View

LOOK_EVERY: Final = 1.0
_QUIT: Final = (b"q", b"Q", b"\x04")


def watch_shards(
    data_dir: Annotated[
        Path | None,
        typer.Argument(metavar="DATA_DIR", parser=directory, help="The data directory; somebody must serve it."),
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="Instead of DATA_DIR: the PostgreSQL database of a cluster.")
    ] = None,
    namespace: NamespaceOption = None,
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="How the cluster is found. Default: the option address.")
    ] = None,
    gate_token_file: GateTokenFileOption = None,
    tls_authority: AuthorityOption = None,
    tls_certificate: CertificateOption = None,
    tls_key: KeyOption = None,
    once: Annotated[bool, typer.Option("--once", help="Look for one second, write what was seen, and end.")] = False,
    form: Annotated[
        Format, typer.Option("--format", help="With json: an object for each second, or one with --once.")
    ] = Format.TEXT,
) -> None:
    """Watch running shards: their state, rates, queues and restarts, and deviations as they come.

    Attaches to the server as clients do, asks each shard one question a second, and changes nothing. It stays when the
    server ends, and goes on with the next one. q or Ctrl-C ends it, with 0. With --once it exits with 2 when nobody
    serves the shards. With --store it watches the shards of a cluster.
    """
    files = {"tls_authority": tls_authority, "tls_certificate": tls_certificate, "tls_key": tls_key}
    of_cluster = {"namespace": namespace, "address": address, "token_file": gate_token_file, **files}
    given = {name: value for name, value in of_cluster.items() if value is not None}
    remarks = _Noted()
    with command(form, "top", remarks) as output:
        source = remarks.source = _source_of(data_dir, store, given)
        try:
            if once:
                _once(output, source, form)
            elif form is Format.JSON:
                _lines(output, source)
            else:
                _live(source)
        except KeyboardInterrupt:
            pass  # its user has seen enough
        finally:
            source.detach()


class _Noted(Remarks):
    """Shows log records as events; on stderr they would break the screen."""

    source: Source | None = None

    def log(self, record: logging.LogRecord, text: str) -> None:
        if self.source is not None:
            self.source.note(record.levelname.lower(), text.partition("\n")[0])


def _source_of(data_dir: Path | None, store: str | None, of_cluster: dict[str, Any]) -> Source:
    if (data_dir is None) == (store is None):
        raise ValueError("top needs either DATA_DIR or, for a cluster, --store URL")
    if data_dir is not None:
        if of_cluster:
            raise ValueError(f"{min(of_cluster)} is an option of a cluster, which needs --store instead of DATA_DIR")
        place = data_dir.absolute()
        return Source(str(place), partial(connect, place, call_timeout=ANSWER_WITHIN))
    from ..manager.clustered import ClusterInstanceManager

    tls = {name: of_cluster.pop(name) for name in list(of_cluster) if name.startswith("tls_")}

    def manager() -> ClusterInstanceManager:
        return ClusterInstanceManager(
            store=store or "", **of_cluster, tls=cast(Any, tls), mode="enforce",
            call_timeout=ANSWER_WITHIN, takeover_timeout=ANSWER_WITHIN,
        )  # fmt: skip

    return Source(manager().cluster.place.shown, lambda: manager().start())


def plain_of(view: View) -> dict[str, Any]:
    """Return a view as one object for JSON."""
    return {
        "data_dir": view.place,
        "served": view.why is None,
        "why": view.why,
        "round_trip_ms": None if view.round_trip is None else round(1000 * view.round_trip, 3),
        "shards": [asdict(row) for row in view.rows],
        "events": [{"time": event.at.isoformat(), "level": event.level, "text": event.text} for event in view.events],
    }


def _once(output: Output, source: Source, form: Format) -> None:
    source.attach()
    source.look()
    time.sleep(LOOK_EVERY)  # a rate needs two looks
    view = source.look()
    if view.why is not None:
        output.fail(f"nobody serves {view.place}: {view.why}")
    if form is Format.JSON:
        output.write("", plain_of(view))
        return
    output.write(_text(view))


def _lines(output: Output, source: Source) -> None:
    while True:
        output.write("", plain_of(source.look()))
        time.sleep(LOOK_EVERY)


def _text(view: View) -> str:
    from rich.console import Console

    from .top_screen import screen

    console = Console(file=sys.stdout, width=250, force_terminal=False, no_color=True)
    with console.capture() as captured:
        console.print(screen(view, 40))
    return "\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n"))


def _live(source: Source) -> None:
    if not sys.__stdout__ or not sys.__stdout__.isatty():
        raise ValueError("top draws on a terminal, and stdout is not one; give --once, or --format json")
    from rich.console import Console
    from rich.live import Live

    from .top_screen import screen

    console = Console(file=sys.__stdout__)
    view = source.look()
    with _keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(screen(view, console.size.height, "q ends"), refresh=True)
            if _quits(keys, LOOK_EVERY):
                return
            view = source.look()


def _quits(keys: int | None, seconds: float) -> bool:
    """Wait so long; return True at once when the user wants to end."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if keys is None:
            time.sleep(left)
        elif select.select([keys], [], [], left)[0] and os.read(keys, 1) in (*_QUIT, b""):
            return True
    return False


@contextmanager
def _keys() -> Iterator[int | None]:
    """Yield a descriptor from which each key can be read at once; None if stdin is no terminal."""
    if not sys.stdin or not sys.stdin.isatty():
        yield None
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
