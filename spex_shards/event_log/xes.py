"""A reader for XES logs (IEEE 1849): XML, read as a stream of tags.

A document type declaration is refused, so entities cannot expand and nothing outside the file is read. The tags come
straight from `xml.parsers.expat`: an element tree takes more than twice the time, even if it is cleared while it grows.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final
from xml.parsers import expat

from .attributes import Attributes, BadAttribute, LogEvent, shown
from .collector import Collector
from .source import CHUNK_BYTES, MAX_PIECE_BYTES, LogError

MAX_DEPTH: Final = 1000
"""How deep elements may be nested; the parser keeps each open element in memory."""

_LOG, _TRACE, _EVENT, _ATTRIBUTE = 1, 2, 3, 4  # depths


def read_xes(path: Path, stream: BinaryIO, attributes: Attributes, collector: Collector) -> None:
    """Read a XES log, with or without a namespace.

    Traces of the same name are one case. The defaults in ``<global>`` are not used: they describe the log and are no
    event's values. Attributes nested in other attributes are ignored; if two have the same key, the last one counts.

    Raises:
        LogError: See `read_log`.
    """
    reader = _XesReader(path, attributes, collector)
    while data := stream.read(CHUNK_BYTES):
        reader.feed(data)
    reader.feed(b"", last=True)


class _XesReader:
    def __init__(self, path: Path, attributes: Attributes, collector: Collector) -> None:
        self._path = path
        self._attributes = attributes
        self._collector = collector
        self._depth = 0
        self._fed = 0
        self._traces = 0
        self._trace_tag = self._event_tag = ""
        self._trace: dict[str, object] | None = None
        self._event: dict[str, object] | None = None
        self._events: list[LogEvent] = []
        self._last_trace: dict[str, object] = {}
        self._parser = parser = expat.ParserCreate(namespace_separator="}")
        parser.ordered_attributes = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._refuse_doctype

    def feed(self, data: bytes, *, last: bool = False) -> None:
        self._fed += len(data)
        try:
            self._parser.Parse(data, last)
        except LogError:
            raise
        except (expat.ExpatError, LookupError, ValueError) as error:  # the latter two: an unusable encoding
            raise self._error(f"the log must be well-formed XML, got: {error}") from error
        if self._fed - self._parser.CurrentByteIndex > MAX_PIECE_BYTES:
            raise self._error(f"a tag must not be longer than {MAX_PIECE_BYTES} bytes")

    def _start(self, tag: str, attrs: list[str]) -> None:
        self._depth = depth = self._depth + 1
        if depth == _ATTRIBUTE:
            if self._event is not None:
                _note(self._event, attrs)
        elif depth == _EVENT:
            if self._trace is not None:
                if tag == self._event_tag:
                    self._event = {}
                else:
                    _note(self._trace, attrs)
        elif depth <= _TRACE:
            self._start_outer(tag, depth)
        elif depth > MAX_DEPTH:
            raise self._error(f"elements must not be nested deeper than {MAX_DEPTH}")

    def _start_outer(self, tag: str, depth: int) -> None:
        namespace, brace, name = tag.rpartition("}")
        if depth == _LOG:
            if name != "log":
                raise self._error(f"the root element must be <log>, got: <{name}>")
            self._trace_tag = f"{namespace}{brace}trace"
            self._event_tag = f"{namespace}{brace}event"
        elif tag == self._trace_tag:
            self._traces += 1
            self._trace = {}
        elif tag == self._event_tag:
            raise self._error("an event must stand in a <trace>, got: an <event> outside")

    def _end(self, _tag: str) -> None:
        depth = self._depth
        self._depth = depth - 1
        if depth == _EVENT:
            if self._event is not None:
                self._end_event(self._event)
        elif depth == _TRACE and self._trace is not None:
            self._end_trace(self._trace)

    def _end_event(self, values: dict[str, object]) -> None:
        try:
            self._events.append(self._attributes.event_of(values))
        except BadAttribute as error:
            raise self._error(str(error)) from None
        self._event = None

    def _end_trace(self, values: dict[str, object]) -> None:
        try:
            case = self._collector.case(self._attributes.case_of(values))
        except BadAttribute as error:
            raise self._error(str(error)) from None
        for event in self._events:
            self._collector.add(case, event)
        self._events.clear()
        self._last_trace = values
        self._trace = None

    def _refuse_doctype(self, name: str, *_: object) -> None:
        raise self._error(f"the log must not have a document type declaration, got: <!DOCTYPE {name}>")

    def _error(self, rule: str) -> LogError:
        return LogError(f"{self._path}: {self._place()} (line {self._parser.CurrentLineNumber}): {rule}")

    def _place(self) -> str:
        if self._trace is None:
            return f"after {self._case_name(self._last_trace)}" if self._traces else "before the first case"
        before, case = 0, self._case_name(self._trace)
        try:
            before = self._collector.count(self._attributes.case_of(self._trace))
        except BadAttribute:
            pass  # the case has no name (yet): the event is counted within its trace
        event = before + len(self._events)
        if self._event is not None:
            return f"{case}, event {event + 1}"
        return f"{case}, after event {event}" if event else case

    def _case_name(self, values: dict[str, object]) -> str:
        try:
            return f"case {shown(self._attributes.case_of(values))}"
        except BadAttribute:
            return f"trace {self._traces}"


def _note(values: dict[str, object], attrs: list[str]) -> None:
    """Store the attribute of an element like ``<string key="…" value="…"/>``, in either order."""
    if len(attrs) == 4 and attrs[0] == "key" and attrs[2] == "value":
        values[attrs[1]] = attrs[3]
        return
    there = dict(zip(attrs[::2], attrs[1::2], strict=True))
    if "key" in there:
        values[there["key"]] = there.get("value")
