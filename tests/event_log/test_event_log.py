"""Event logs are read completely and in time order; errors in a log name the place."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spex_shards.event_log import Attributes, EventLog, LogError, attributes, read_log, source, xes
from tests.support.places import SHARED

DATA = SHARED / "data"
COLUMNS = {"case": "case", "action": "action", "timestamp": "time"}


def read(path: Path, content: str | bytes, **options: str | None) -> EventLog:
    """Write `content` to `path` (packed if its name says so) and read it as a log."""
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return read_log(path, Attributes.of(path, **options))


def read_csv(folder: Path, content: str | bytes, **options: str | None) -> EventLog:
    """Read `content` as a CSV log with the columns case, action and time."""
    return read(folder / "log.csv", content, **(COLUMNS | options))


def read_jsonl(folder: Path, *objects: object, **options: str | None) -> EventLog:
    """Read `objects` as a JSON Lines log with the keys case, action and time."""
    content = "\n".join(item if isinstance(item, str) else json.dumps(item) for item in objects)
    return read(folder / "log.jsonl", content, **(COLUMNS | options))


def trace(name: str, *events: str) -> str:
    """Return a XES trace."""
    return f'<trace><string key="concept:name" value="{name}"/>{"".join(events)}</trace>'


def event(name: str, time: str, more: str = "") -> str:
    """Return a XES event."""
    return (
        f'<event><string key="concept:name" value="{name}"/><date key="time:timestamp" value="{time}"/>{more}</event>'
    )


def log(*traces: str) -> str:
    """Return a XES document."""
    return f'<?xml version="1.0"?><log xmlns="http://www.xes-standard.org/">{"".join(traces)}</log>'


def day(number: int) -> str:
    """Return the timestamp of a day of January 2024."""
    return f"2024-01-{number:02}T00:00:00Z"


# XES


@pytest.mark.parametrize("name", ["log.xes", "log.xes.gz", "LOG.XES.GZ"])
def test_a_xes_log_is_read_packed_or_not(tmp_path: Path, name: str) -> None:
    """The suffix, in either case, decides how a file is read."""
    path = tmp_path / name
    content = log(trace("a", event("open", day(1))))
    path.write_bytes(gzip.compress(content.encode()) if name.lower().endswith("gz") else content.encode())

    assert EventLog(["a"], [(0, "open", "open")]) == read_log(path, Attributes.of(path))


@pytest.mark.parametrize("namespace", ["", "http://www.xes-standard.org/", "http://code.deckfour.org/xes"])
def test_a_xes_log_may_have_any_namespace(tmp_path: Path, namespace: str) -> None:
    """Old logs have another namespace or none."""
    content = f'<log xmlns="{namespace}">{trace("a", event("open", day(1)))}</log>'

    assert read(tmp_path / "log.xes", content).events == [(0, "open", "open")]


def test_a_xes_namespace_may_have_a_prefix(tmp_path: Path) -> None:
    """It is the namespace that counts, however it is written."""
    content = (
        '<x:log xmlns:x="http://www.xes-standard.org/"><x:trace><x:string key="concept:name" value="a"/>'
        f'<x:event><x:string key="concept:name" value="open"/><x:date key="time:timestamp" value="{day(1)}"/>'
        "</x:event></x:trace></x:log>"
    )

    assert EventLog(["a"], [(0, "open", "open")]) == read(tmp_path / "log.xes", content)


def test_events_stand_in_time_order_across_cases(tmp_path: Path) -> None:
    """The events of different traces interleave in real time."""
    content = log(
        trace("a", event("1", day(1)), event("4", day(4))),
        trace("b", event("2", day(2)), event("3", day(3))),
    )

    assert [e[:2] for e in read(tmp_path / "log.xes", content).events] == [(0, "1"), (1, "2"), (1, "3"), (0, "4")]


def test_events_of_the_same_time_keep_the_order_of_the_file(tmp_path: Path) -> None:
    """The sort is stable, and the same moment in two zones is the same time."""
    content = log(
        trace("a", event("1", "2024-01-01T01:00:00+01:00"), event("2", "2024-01-01T00:00:00Z")),
        trace("b", event("3", "2024-01-01T00:00:00")),
    )

    assert [e[1] for e in read(tmp_path / "log.xes", content).events] == ["1", "2", "3"]


def test_a_case_without_events_is_a_case(tmp_path: Path) -> None:
    """Its instance exists from the start of the case."""
    assert EventLog(["a", "b"], []) == read(tmp_path / "log.xes", log(trace("a"), trace("b")))


def test_a_log_without_cases_is_a_log(tmp_path: Path) -> None:
    """It is not an error of the file."""
    assert EventLog([], []) == read(tmp_path / "log.xes", "<log/>")


def test_traces_of_the_same_name_are_one_case(tmp_path: Path) -> None:
    """A case in two traces is one instance."""
    content = log(trace("a", event("1", day(1))), trace("b"), trace("a", event("2", day(2))))

    assert EventLog(["a", "b"], [(0, "1", "1"), (0, "2", "2")]) == read(tmp_path / "log.xes", content)


def test_the_values_of_several_attributes_are_joined(tmp_path: Path) -> None:
    """Names are joined by + in the option, values by / in the result; state follows the action unless given."""
    more = '<string key="lifecycle:transition" value="start"/><int key="n" value="7"/>'
    path = tmp_path / "log.xes"
    content = log(trace("a", event("open", day(1), more)))
    options = {"case": "concept:name+concept:name", "action": "concept:name+lifecycle:transition"}

    assert EventLog(["a/a"], [(0, "open/start", "open/start")]) == read(path, content, **options)
    assert EventLog(["a"], [(0, "open", "7/start")]) == read(path, content, state="n+lifecycle:transition")


@pytest.mark.parametrize("kind", ["string", "int", "float", "boolean", "date", "id"])
def test_any_xes_value_gives_its_text(tmp_path: Path, kind: str) -> None:
    """A number may be a state too; its text stays as it is in the file."""
    content = log(trace("a", event("open", day(1), f'<{kind} value="1.50" key="x"/>')))

    assert read(tmp_path / "log.xes", content, state="x").events == [(0, "open", "1.50")]


def test_an_empty_value_is_a_name_like_any_other(tmp_path: Path) -> None:
    """Only a missing attribute is an error."""
    assert EventLog([""], [(0, "", "")]) == read(tmp_path / "log.xes", log(trace("", event("", day(1)))))


def test_nested_attributes_are_not_the_events_own(tmp_path: Path) -> None:
    """XES attributes may have attributes; those describe them, not the event or trace."""
    nested = '<string key="other" value="x"><string key="concept:name" value="inner"/></string>'
    content = log(f'<trace><string key="concept:name" value="a"/>{nested}{event("open", day(1), nested)}</trace>')

    assert EventLog(["a"], [(0, "open", "open")]) == read(tmp_path / "log.xes", content)


def test_the_name_of_a_trace_may_follow_its_events(tmp_path: Path) -> None:
    """The order of a trace's children is free."""
    content = log(f'<trace>{event("open", day(1))}<string key="concept:name" value="a"/></trace>')

    assert EventLog(["a"], [(0, "open", "open")]) == read(tmp_path / "log.xes", content)


def test_globals_do_not_stand_in_for_missing_attributes(tmp_path: Path) -> None:
    """A global declares that all events have an attribute; an event without it is still an error."""
    declared = '<global scope="event"><string key="concept:name" value="UNKNOWN"/></global>'
    content = log(declared, trace("a", f'<event><date key="time:timestamp" value="{day(1)}"/></event>'))

    with pytest.raises(LogError, match="the attribute 'concept:name' must be there, got only: 'time:timestamp'"):
        read(tmp_path / "log.xes", content)


XES_ERRORS = {
    "missing attribute": (
        log(trace("a", event("1", day(1)), f'<event><date key="time:timestamp" value="{day(1)}"/></event>')),
        "case 'a', event 2 (line 1): the attribute 'concept:name' must be there, got only: 'time:timestamp'",
    ),
    "unreadable time": (
        log(trace("a", event("1", "yesterday"))),
        (
            "case 'a', event 1 (line 1): the timestamp 'time:timestamp' must be "
            "an ISO 8601 time or a number of seconds since 1970, got: 'yesterday'"
        ),
    ),
    "count goes on in a case's second trace": (
        log(trace("a", event("1", day(1)), event("2", day(2))), trace("b"), trace("a", event("3", "?"))),
        "case 'a', event 3 (line 1): the timestamp",
    ),
    "no value": (
        log(trace("a", '<event><list key="concept:name"/></event>')),
        (
            "case 'a', event 1 (line 1): the attribute 'concept:name' must have "
            "a text, number or boolean as its value, got: null"
        ),
    ),
    "case without name": (
        log(trace("a"), "<trace/>"),
        "trace 2 (line 1): the attribute 'concept:name' must be there, got only: none",
    ),
    "event before the case's name": (
        log(trace("a"), f"<trace>{event('1', day(1))}{event('2', '?')}</trace>"),
        "trace 2, event 2 (line 1): the timestamp",
    ),
    "event outside": ("<log>\n<event/></log>", "before the first case (line 2): an event must stand in a <trace>"),
    "wrong root": ("<logs/>", "before the first case (line 1): the root element must be <log>, got: <logs>"),
    "cut short": (
        log(trace("a", event("1", day(1))))[:-12],
        "case 'a', after event 1 (line 1): the log must be well-formed XML, got: ",
    ),
    "cut after a case": (log(trace("a"))[:-3], "after case 'a' (line 1): the log must be well-formed XML"),
    "empty": ("", "before the first case (line 1): the log must be well-formed XML, got: no element found"),
    "wrong nesting": ("<log>\n\n<trace></log>", "trace 1 (line 3): the log must be well-formed XML, got: mismatched"),
    "unknown encoding": (
        '<?xml version="1.0" encoding="klingon"?><log/>',
        "the log must be well-formed XML, got: unknown encoding: klingon",
    ),
    "entities": (
        '<!DOCTYPE log [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><log/>',
        "before the first case (line 1): the log must not have a document type declaration, got: <!DOCTYPE log>",
    ),
    "external entity": (
        '<!DOCTYPE log [<!ENTITY a SYSTEM "file:///etc/passwd">]><log/>',
        "the log must not have a document type declaration",
    ),
    "undeclared entity": (log(trace("&a;")), "the log must be well-formed XML, got: undefined entity"),
    "too deep": (
        log("<list>" * (xes.MAX_DEPTH + 1)),
        f"before the first case (line 1): elements must not be nested deeper than {xes.MAX_DEPTH}",
    ),
}


@pytest.mark.parametrize(("content", "message"), XES_ERRORS.values(), ids=XES_ERRORS.keys())
def test_an_error_in_a_xes_log_names_file_case_and_event(tmp_path: Path, content: str, message: str) -> None:
    """The text leads to the place for every kind of error."""
    with pytest.raises(LogError) as caught:
        read(tmp_path / "log.xes", content)

    assert str(caught.value).startswith(f"{tmp_path / 'log.xes'}: ")
    assert message in str(caught.value)


def test_a_xes_log_may_have_another_encoding(tmp_path: Path) -> None:
    """The XML declaration says which."""
    content = '<?xml version="1.0" encoding="ISO-8859-1"?>' + log(trace("é")).partition("?>")[2]

    assert read(tmp_path / "log.xes", content.encode("latin-1")).cases == ["é"]
    assert read(tmp_path / "log.xes", content.replace("ISO-8859-1", "UTF-16").encode("utf-16")).cases == ["é"]


def test_a_xes_tag_larger_than_memory_should_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser holds a whole tag in memory, but not the text between tags."""
    monkeypatch.setattr(xes, "MAX_PIECE_BYTES", 1000)
    monkeypatch.setattr(xes, "CHUNK_BYTES", 100)

    assert read(tmp_path / "log.xes", log(trace("a", " " * 5000))).cases == ["a"]
    with pytest.raises(LogError, match=r"before the first case .*: a tag must not be longer than 1000 bytes"):
        read(tmp_path / "log.xes", log(f"<!--{'x' * 5000}-->"))


# Packing


def test_a_packed_log_cut_short_is_refused(tmp_path: Path) -> None:
    """The part before the cut is not taken for the whole log."""
    path = tmp_path / "log.xes.gz"
    path.write_bytes(gzip.compress(log(trace("a")).encode())[:-9])

    with pytest.raises(LogError, match=r"log\.xes\.gz: the gzip data must be whole and undamaged, got: "):
        read_log(path, Attributes.of(path))


def test_a_damaged_packed_log_is_refused(tmp_path: Path) -> None:
    """The format or its checksum reveals a flipped byte."""
    path = tmp_path / "log.xes.gz"
    data = bytearray(gzip.compress(random.Random(1).randbytes(5000)))
    data[2000:2100] = bytes(100)
    path.write_bytes(data)

    with pytest.raises(LogError, match="gz"):
        read_log(path, Attributes.of(path))


def test_a_log_that_is_not_packed_as_its_name_says_is_refused(tmp_path: Path) -> None:
    """The error says what was expected."""
    path = tmp_path / "log.csv.gz"
    path.write_text("case,action,time\n")

    with pytest.raises(LogError, match=r"log\.csv\.gz: the content must be in gzip format, got: "):
        read_log(path, Attributes.of(path, **COLUMNS))


@pytest.mark.parametrize("name", ["log.xes.gz", "log.csv.gz", "log.jsonl.gz"])
def test_a_log_that_unpacks_to_too_much_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file may unpack to a thousand times its size; the limit applies to the unpacked size."""
    monkeypatch.setattr(source, "MAX_UNPACKED_BYTES", 1_000_000)
    content = "<log>" if "xes" in name else "case,action,time\n" if "csv" in name else ""

    with pytest.raises(LogError, match=rf"{name}: the log must not be larger than 1000000 bytes unpacked"):
        read(tmp_path / name, content + "\n" * 2_000_000, **COLUMNS)


def test_a_missing_file_is_an_error_of_the_log(tmp_path: Path) -> None:
    """The caller has to expect only one type of error."""
    path = tmp_path / "none.xes"

    with pytest.raises(LogError, match=r"none\.xes: the file must be readable, got: No such file or directory"):
        read_log(path, Attributes.of(path))


@pytest.mark.long
def test_progress_tells_how_much_of_the_file_is_read(tmp_path: Path) -> None:
    """It counts bytes on disk, never goes back, and ends at the file's size."""
    path = tmp_path / "log.csv.gz"
    generator = random.Random(1)
    rows = "".join(f"{generator.random()},open,{n}\n" for n in range(100_000))
    path.write_bytes(gzip.compress(f"case,action,time\n{rows}".encode()))
    calls: list[int] = []

    read_log(path, Attributes.of(path, **COLUMNS), calls.append)

    assert len(set(calls)) > 3
    assert sorted(calls) == calls
    assert path.stat().st_size == calls[-1]


# Options


@pytest.mark.parametrize("name", ["log.txt", "log", "log.gz", "log.xes.zip", "xes", ".csv"])
def test_an_unknown_format_is_refused_with_the_list_of_the_known(name: str) -> None:
    """The error shows the user the supported formats."""
    with pytest.raises(LogError, match=r"must be one of \.xes, \.xes\.gz, \.csv, \.csv\.gz, \.jsonl, \.jsonl\.gz, got"):
        Attributes.of(Path(name))


def test_csv_and_jsonl_have_no_default_attributes() -> None:
    """The error names each option that is missing."""
    with pytest.raises(LogError, match="a csv log needs --case, --action, --timestamp: the names of its attributes"):
        Attributes.of(Path("log.csv"))
    with pytest.raises(LogError, match="a jsonl log needs --timestamp: "):
        Attributes.of(Path("log.jsonl.gz"), case="c", action="a")


@pytest.mark.parametrize("option", ["case", "action", "state", "timestamp"])
def test_an_empty_attribute_name_in_an_option_is_refused(option: str) -> None:
    """Two + in a row, or one at an end, are a mistake."""
    with pytest.raises(LogError, match=rf"the --{option} option must be attribute names joined by '\+', got: 'a\+\+b'"):
        Attributes.of(Path("log.xes"), **{option: "a++b"})
    with pytest.raises(LogError, match=f"the --{option} option must"):
        Attributes.of(Path("log.xes"), **{option: ""})


# CSV


def test_a_csv_log_is_read(tmp_path: Path) -> None:
    """Quotes, line breaks in fields, other columns, CRLF and blank lines follow RFC 4180."""
    content = 'x,case,action,time\r\n1,a,"say ""hi"",\r\nthen",2024-01-02\r\n\r\n2,b,go,2024-01-01\r\n'

    expected = EventLog(["a", "b"], [(1, "go", "go"), (0, 'say "hi",\r\nthen', 'say "hi",\r\nthen')])
    assert expected == read_csv(tmp_path, content)


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path: Path) -> None:
    """Spreadsheets write one."""
    assert read_csv(tmp_path, "\ufeffcase,action,time\na,b,1\n").cases == ["a"]


def test_date_and_time_may_stand_in_two_columns(tmp_path: Path) -> None:
    """Joined by / they are still a timestamp."""
    content = "case,action,date,clock\na,2,2024-01-01,09:00\na,1,2024-01-01,08:00\n"

    assert [e[1] for e in read_csv(tmp_path, content, timestamp="date+clock").events] == ["1", "2"]


def test_fields_may_be_long_and_the_limit_of_csv_is_put_back(tmp_path: Path) -> None:
    """The limit belongs to the whole process, and is restored."""
    before = csv.field_size_limit()
    long = "x" * (before + 1)

    assert [long] == read_csv(tmp_path, f"case,action,time\n{long},b,1\n").cases
    with pytest.raises(LogError):
        read_csv(tmp_path, "")
    assert before == csv.field_size_limit()


def test_two_threads_may_read_csv_logs(tmp_path: Path) -> None:
    """Neither takes the other's field limit away."""
    before = csv.field_size_limit()
    path = tmp_path / "log.csv"
    path.write_text("case,action,time\n" + f"{'x' * (before + 1)},b,1\n" * 20)
    results: list[int] = []

    def read_it() -> None:
        results.append(len(read_log(path, Attributes.of(path, **COLUMNS)).events))

    threads = [threading.Thread(target=read_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == [20] * 4
    assert before == csv.field_size_limit()


HEADER = b"case,action,time\n"
CSV_ERRORS = {
    "too few fields": (HEADER + b"a,b,1\na,b\n", "line 3: a row must have 3 fields as the header has, got: 2"),
    "too many fields": (HEADER + b"a,b,1,\n", "line 2: a row must have 3 fields as the header has, got: 4"),
    "line of a row after a long one": (HEADER + b'"a\n\n",b,1\na,b\n', "line 5: a row must have 3 fields"),
    "unreadable time": (HEADER + b"a,b,1\nc,b,soon\n", "line 3, case 'c': the timestamp 'time' must be an ISO 8601"),
    "empty": (b"", "line 1: the header must have 'case' exactly once, got: none"),
    "other separator": (b"case;action;time\n", "must have 'case' exactly once, got: 'case;action;time'"),
    "missing column": (b"case,action\n", "line 1: the header must have 'time' exactly once, got: 'case', 'action'"),
    "doubled column": (b"case,action,time,time\n", "line 1: the header must have 'time' exactly once"),
    "open quote": (HEADER + b'a,b,1\n"a,b,1\n', "line 3: a row must be well-formed CSV, got: unexpected end of data"),
    "text after a quote": (HEADER + b'"a"x,b,1\n', "line 2: a row must be well-formed CSV, got: "),
    "not UTF-8": (HEADER + b"\xe9,b,1\n", r"line 2: the text must be UTF-8, got: b'\xe9,b,1\n'"),
    "UTF-16": ("case".encode("utf-16"), "line 1: the text must be UTF-8"),
    "NUL": (HEADER + b"a\0,b,1\n", "line 2: the text must not have NUL characters, got: "),
}


@pytest.mark.parametrize(("content", "message"), CSV_ERRORS.values(), ids=CSV_ERRORS.keys())
def test_an_error_in_a_csv_log_names_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    """The text leads to the place for every kind of error."""
    with pytest.raises(LogError) as caught:
        read_csv(tmp_path, content)

    assert str(caught.value).startswith(f"{tmp_path / 'log.csv'}: line ")
    assert message in str(caught.value)


def test_a_line_larger_than_memory_should_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that never ends must not be read to its end."""
    monkeypatch.setattr(source, "MAX_PIECE_BYTES", 1000)

    with pytest.raises(LogError, match="line 2: a line must not be longer than 1000 bytes"):
        read_csv(tmp_path, HEADER + b"x" * 1001)


# JSON Lines


def test_a_jsonl_log_is_read(tmp_path: Path) -> None:
    """One object per line, blank lines between, other keys of any kind."""
    first = {"case": "a", "action": "go", "time": "2024-01-02", "other": {"x": [None, float("nan")]}}
    second = {"case": "b", "action": "é", "time": "2024-01-01T00:00:00Z"}

    expected = EventLog(["a", "b"], [(1, "é", "é"), (0, "go", "go")])
    assert expected == read_jsonl(tmp_path, "\ufeff" + json.dumps(first), "", second)


def test_json_numbers_and_booleans_give_their_text(tmp_path: Path) -> None:
    """The text is that of the file: 1.10 does not become 1.1, and a long number keeps all digits."""
    lines = [
        f'{{"case": {value}, "action": "go", "time": 1}}' for value in ("1.10", "9" * 5000, "true", "false", '"1"')
    ]

    assert read_jsonl(tmp_path, *lines).cases == ["1.10", "9" * 5000, "true", "false", "1"]


JSONL_ERRORS = {
    "null": (
        {"case": None},
        "line 1: the attribute 'case' must have a text, number or boolean as its value, got: null",
    ),
    "nested": (
        {"case": "a", "action": {"x": 1}, "time": 1},
        """'a': the attribute 'action' must have a text, number or boolean as its value, got: '{"x": "1"}'""",
    ),
    "missing": ({"case": "a"}, "line 1, case 'a': the attribute 'action' must be there, got only: 'case'"),
    "time": ({"case": "a", "action": "b", "time": "x"}, "line 1, case 'a': the timestamp 'time' must be an ISO 8601"),
    "boolean time": ({"case": "a", "action": "b", "time": True}, "line 1, case 'a': the timestamp 'time' must be"),
    "not a number": ('{"case": NaN}', "line 1: the attribute 'case' must have a text"),
    "no object": ("[1]", "line 1: a line must be a JSON object, got: '[1]'"),
    "no JSON": (
        "{'case': 1}",
        "line 1: the line is not JSON: Expecting property name enclosed in double quotes at column 2",
    ),
    "too deep": ("[" * 100_000, "line 1: the line is not JSON: "),
    "surrogate": ('{"case": "\\ud800"}', r"line 1: the attribute 'case' must be valid Unicode, got: '\ud800'"),
}


@pytest.mark.parametrize(("content", "message"), JSONL_ERRORS.values(), ids=JSONL_ERRORS.keys())
def test_an_error_in_a_jsonl_log_names_file_and_line(tmp_path: Path, content: object, message: str) -> None:
    """The text leads to the place for every kind of error."""
    with pytest.raises(LogError) as caught:
        read_jsonl(tmp_path, content)

    assert str(caught.value).startswith(f"{tmp_path / 'log.jsonl'}: line 1")
    assert message in str(caught.value)


def test_a_long_value_does_not_fill_the_message(tmp_path: Path) -> None:
    """An error stays one readable line."""
    with pytest.raises(LogError) as caught:
        read_jsonl(tmp_path, {"case": "a", "action": "b", "time": "x" * 10_000})

    assert "… (10002 characters)" in str(caught.value)
    assert len(str(caught.value)) < 500


# Times


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T00:00:01z", 10**9),
        ("1970-01-01t00:00:01+00:00", 10**9),
        (" 1970-01-01 00:00:01 ", 10**9),
        ("1970-01-01T01:00:01+01:00", 10**9),
        ("1970-01-01T01:00:01,5+0100", 1_500_000_000),
        ("19700101T000001.1234567Z", 1_123_456_700),
        ("1970-01-01T00:00:00.123456789-00:00", 123_456_789),
        ("1969-12-31T23:59:59.9999999", -100),
        ("1970-01-02", 86_400 * 10**9),
        ("1", 10**9),
        ("-1.5", -1_500_000_000),
        ("1700000000.123456789", 1_700_000_000_123_456_789),
        ("1.7E9", 1_700_000_000 * 10**9),
    ],
)
def test_timestamps_are_read_to_the_last_digit(text: str, nanoseconds: int) -> None:
    """ISO 8601 in its forms, without a zone as UTC; a plain number as seconds since 1970."""
    moment = attributes.moment_of(text)

    assert nanoseconds == moment
    assert isinstance(moment, int)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024-13-01",
        "2024-01-01T25:00:00",
        "10000-01-01",
        "1e999",
        "0x10",
        "inf",
        "nan",
        "\u0661",
        "1/2",
        "1_0",
    ],
)
def test_what_is_no_timestamp_is_refused(text: str) -> None:
    """The reader does not guess."""
    with pytest.raises(ValueError):
        attributes.moment_of(text)


@given(st.lists(st.text("0123456789", min_size=1, max_size=15)))
def test_fractions_of_any_length_are_ordered_exactly(fractions: list[str]) -> None:
    """This holds even for fractions finer than a nanosecond."""
    moments = [attributes.moment_of(f"2024-01-01T00:00:00.{fraction}+02:00") for fraction in fractions]

    by_digits = sorted(range(len(fractions)), key=lambda n: fractions[n].rstrip("0"))
    assert by_digits == sorted(range(len(fractions)), key=moments.__getitem__)


# Round trips

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TIMES = st.datetimes(
    min_value=datetime(1, 1, 2),
    max_value=datetime(9999, 12, 30),
    timezones=st.just(UTC) | st.just(timezone(timedelta(hours=-9))),
)
ROWS = st.lists(st.tuples(NAMES, NAMES, NAMES, TIMES))


def expected_of(rows: list[tuple[str, str, str, datetime]]) -> EventLog:
    """Return the log that these rows must give, computed in a simple way."""
    cases = list(dict.fromkeys(row[0] for row in rows))
    ordered = sorted(rows, key=lambda row: row[3])
    return EventLog(cases, [(cases.index(case), action, state) for case, action, state, _ in ordered])


@given(ROWS)
def test_what_is_written_as_jsonl_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str, datetime]]
) -> None:
    """This holds for any names and any times, in any order."""
    objects = [{"case": c, "action": a, "state": s, "time": t.isoformat()} for c, a, s, t in rows]

    assert expected_of(rows) == read_jsonl(tmp_path_factory.getbasetemp(), *objects, state="state")


@given(ROWS)
def test_what_is_written_as_csv_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str, datetime]]
) -> None:
    """This holds for any times, and for any names without NUL or a lone carriage return (where `csv` splits lines)."""
    rows = [(*(text.replace("\0", "").replace("\r", "\r\n") for text in row[:3]), row[3]) for row in rows]  # type: ignore[misc]
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(["case", "action", "state", "time"])
    writer.writerows((*row[:3], row[3].isoformat()) for row in rows)

    assert expected_of(rows) == read_csv(tmp_path_factory.getbasetemp(), text.getvalue(), state="state")


# Real logs


@pytest.mark.long
@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "action", "cases", "events"),
    [
        ("bpic2013_incidents.xes.gz", "concept:name+lifecycle:transition", 7_554, 65_533),
        ("helpdesk.xes.gz", None, 4_580, 21_348),
    ],
)
def test_real_logs_are_read_completely(name: str, action: str | None, cases: int, events: int) -> None:
    """The counts are those that the logs' publishers give."""
    path = DATA / name

    found = read_log(path, Attributes.of(path, action=action))

    assert cases == len(set(found.cases)) == len(found.cases)
    assert events == len(found.events)
    assert set(range(cases)) == {case for case, _, _ in found.events}
