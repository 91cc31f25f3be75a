"""What ``top`` shows: a table of shards, and what has happened."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .top_source import Happening, ShardRow, View

_STATUS: Final = {"READY": "green", "FAILED": "bold red"}
_LEVEL: Final = {"warning": "yellow", "error": "bold red"}
_COLUMNS: Final = (
    "shard", "status", "pid", "restarts", "obs/s", "req/s", "batch", "busy", "µs/req", "queue", "deviations",
    "timeouts", "store",
)  # fmt: skip
_SUMMED: Final = (
    "restarts", "observations_per_second", "requests_per_second", "queue_depth", "deviations", "timeouts", "store_size",
)  # fmt: skip


def screen(view: View, height: int, keys: str = "") -> RenderableType:
    """Return what is shown of a view on so many lines."""
    parts: list[RenderableType] = [_headline(view, keys)]
    if view.rows:
        parts += [Text(), _table(view.rows)]
    room = height - 6 - len(view.rows) if view.rows else height - 3
    shown = view.events[-max(0, room) :] if room > 0 else ()
    if shown:
        parts += [Text(), *map(_line, shown)]
    return Group(*parts)


def _headline(view: View, keys: str) -> Text:
    text = Text.assemble(("spex-shards top ", "bold"), view.place, no_wrap=True, overflow="ellipsis")
    if view.why is not None:
        text.append(f": nobody serves it ({view.why})", "bold yellow")
    else:
        ready = sum(row.status == "READY" for row in view.rows)
        text.append(f": {ready} of {len(view.rows)} shards ready", "green" if ready == len(view.rows) else "bold red")
        if view.round_trip is not None:
            text.append(f", a question takes {1000 * view.round_trip:.1f} ms")
    return text.append(f"   {keys}" if keys else "", "dim")


def _table(rows: tuple[ShardRow, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", show_footer=len(rows) > 1, footer_style="bold")
    total = ShardRow(-1, "", None, 0, None, **_together(rows)) if len(rows) > 1 else None
    footers = _cells(total) if total is not None else [Text()] * len(_COLUMNS)
    for name, footer in zip(_COLUMNS, footers, strict=True):
        right = name != "status"
        table.add_column(name, footer, justify="right" if right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _together(rows: tuple[ShardRow, ...]) -> dict[str, Any]:
    found = {}
    for name in _SUMMED[1:]:
        values = [value for row in rows if (value := getattr(row, name)) is not None]
        found[name] = sum(values) if values else None
    return found


def _cells(row: ShardRow) -> list[Text]:
    whole = row.shard < 0
    deviations = Text(_number(row.deviations), "bold yellow" if row.deviations else "")
    return [
        Text("all" if whole else str(row.shard)),
        Text(row.status, _STATUS.get(row.status, "yellow")),
        Text("" if whole else "-" if row.pid is None else str(row.pid)),
        Text("" if whole else str(row.restarts), "yellow" if row.restarts else ""),
        Text(_number(row.observations_per_second)),
        Text(_number(row.requests_per_second)),
        Text("" if whole else "-" if row.batch_size is None else f"{row.batch_size:.1f}"),
        Text("" if whole else "-" if row.busy is None else f"{100 * row.busy:.0f} %"),
        Text("" if whole else _number(row.microseconds_per_request)),
        Text(_number(row.queue_depth)),
        deviations,
        Text(_number(row.timeouts)),
        Text(_bytes(row.store_size)),
    ]


def _line(event: Happening) -> Text:
    time = (f"{event.at.astimezone():%H:%M:%S} ", "dim")
    return Text.assemble(time, (event.text, _LEVEL.get(event.level, "")), no_wrap=True, overflow="ellipsis")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}".replace(",", "\N{NO-BREAK SPACE}")


def _bytes(value: float | None) -> str:
    if value is None:
        return "-"
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.1f} MB" if unit == "MB" else f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
