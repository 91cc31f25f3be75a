"""The options of a manager: names, rules, defaults, and where a value is taken from. Does no input or output."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypedDict

from ..domain.declaration import MODES
from ..domain.names import nearest
from ..domain.specification import Specification
from ..errors import show
from ..runtime.protocol.requests import DEFAULT_MAX_FRAME_BYTES

ENVIRONMENT_PREFIX: Final = "SPEX_SHARDS_"
TABLE: Final = "[tool.spex_shards]"
LONGEST: Final = timedelta(days=365_000)
"""The longest interval, which fits into 64 bits of microseconds; a longer one is replaced by it."""


LONGEST_SECONDS: Final = 30 * 86400
"""The longest wait that is accepted. A larger number is probably meant as milliseconds, or as "no limit"."""


LONGEST_SPIN: Final = 0.01


class Unset(Enum):
    """The type of `UNSET`."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""Stands for an option that was not given: the environment, pyproject.toml or the default decides."""


class ModeOptions(TypedDict, total=False):
    """The options about modes, which `connect` has as well; see `ShardedInstanceManager`."""

    mode: Literal["off", "observe", "warn", "enforce"]
    observe_timeout: float | timedelta
    sample: float
    report_interval: float | timedelta


class ManagerOptions(ModeOptions, total=False):
    """The options of a manager's constructor; see `ShardedInstanceManager`."""

    distribution_factor: int
    data_dir: str | os.PathLike[str]
    impl_models_dir: str | os.PathLike[str]
    check_transition_timeouts_on_start: bool
    prune_interval: timedelta | float | None
    durability: Literal["process", "disk", "remote_apply"]
    store: str | None
    namespace: str | None
    specifications: Iterable[type[Specification] | str]
    learning_mode: bool
    max_restarts: int
    max_seconds: float | timedelta
    retry_failed: float | timedelta | None
    call_timeout: float | timedelta
    max_unacknowledged: int
    max_frame_bytes: int
    spin: float | timedelta
    hang_timeout: float | timedelta | None
    shutdown_timeout: float | timedelta
    on_message: Callable[[Any], None] | None


class ClusterOptions(TypedDict, total=False):
    """The options about reaching a cluster; see `ClusterInstanceManager`."""

    address: str
    partitions: int | None
    token_file: str | os.PathLike[str] | None
    takeover_timeout: float | timedelta
    ping: float | timedelta
    allow_shipped_code: bool
    tls_authority: str | os.PathLike[str] | None
    tls_certificate: str | os.PathLike[str] | None
    tls_key: str | os.PathLike[str] | None


class DefaultOptions(ManagerOptions, ClusterOptions, total=False):
    """The options of the default manager; see `spex_shards.configure`."""

    manager: Literal["simple", "sharded", "cluster"]
    connect: str | os.PathLike[str] | None


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        default: Its default value.
        rule: Its rule, for error messages.
        check: Returns a given value in the form in which it is used; raises ValueError if it breaks the rule.
        parse: Returns the value of a text from the environment; raises ValueError if the text has none.
        environment_first: Whether the environment decides even if an argument is given.
        secret: Whether a value may contain a password, so that no message shows it.
    """

    default: Any
    rule: str
    check: Callable[[Any], Any]
    parse: Callable[[str], Any]
    environment_first: bool = False
    secret: bool = False


class Chosen(NamedTuple):
    """An option's value, and where it is from: "argument", "environment", "file" or "default".

    `place` is the variable's or the file's name, and empty for the other two.
    """

    value: Any
    origin: str
    place: str


def resolve(
    arguments: Mapping[str, Any], environment: Mapping[str, str], table: Mapping[str, Any], table_origin: str
) -> dict[str, Any]:
    """Return every option's value; see `choose`."""
    chosen = choose(arguments, environment, table, table_origin)
    return {name: one.value for name, one in chosen.items()}


def choose(
    arguments: Mapping[str, Any],
    environment: Mapping[str, str],
    table: Mapping[str, Any],
    table_origin: str,
    typed: Mapping[str, str] | None = None,
) -> dict[str, Chosen]:
    """Choose every option's value: from the arguments, else the environment, else pyproject.toml, else the default.

    There is one exception: for `mode`, the environment comes before the arguments, so that a deployment can be switched
    without a change of its code.

    Args:
        arguments: The arguments of the call; `UNSET` stands for an option that was not given.
        environment: The process's environment.
        table: The table ``[tool.spex_shards]`` of the nearest pyproject.toml.
        table_origin: The name of that file in errors.
        typed: What the user typed for an argument that has another name, as "--shards"; errors name that.

    Raises:
        TypeError: An argument is not an option.
        ValueError: A value breaks its rule, or a key is unknown; names the option, the rule, the value and the origin.
    """
    given = {name: (value, "") for name, value in arguments.items() if value is not UNSET}
    unknown = set(given) - set(OPTIONS)
    if unknown:
        raise TypeError(unknown_options(unknown, OPTIONS))
    _check_keys(environment, table, table_origin)
    chosen: dict[str, Chosen] = {}
    for name, option in OPTIONS.items():
        variable = ENVIRONMENT_PREFIX + name.upper()
        called = f"the option {name}"
        if name in given and not (option.environment_first and variable in environment):
            if typed is not None and name in typed:
                called, option = typed[name], replace(option, rule=_typed_rule(option.rule))
            chosen[name] = Chosen(_checked(called, option, *given[name]), "argument", "")
        elif variable in environment:
            origin = f" (from the environment variable {variable})"
            value = _parsed(called, option, environment[variable], origin)
            chosen[name] = Chosen(_checked(called, option, value, origin), "environment", variable)
        elif name in table:
            value = _checked(called, option, _from_table(option, table[name]), f" (from {table_origin})")
            chosen[name] = Chosen(value, "file", table_origin)
        else:
            chosen[name] = Chosen(_checked(called, option, option.default, " (the default)"), "default", "")
    return chosen


def _typed_rule(rule: str) -> str:
    """Return a rule without what cannot be typed."""
    return rule.replace(", or a timedelta", "").removesuffix(", or None")


def unknown_options(unknown: Iterable[str], known: Iterable[str]) -> str:
    """Return the text of the error for arguments that are no options."""
    names = sorted(unknown)
    return f"unknown option: {', '.join(names)}; {_meant(names[0], str)}the options are {', '.join(known)}"


def _meant(name: str, shown: Callable[[str], str]) -> str:
    """Return which option was probably meant, as a part of a sentence, or nothing."""
    written = name.lower().replace("-", "_")
    meant = _OTHER_WORDS.get(written) or nearest(written, OPTIONS, 0.7)
    return "" if meant is None or meant == name else f"did you mean {shown(meant)}? Otherwise, "


def _check_keys(environment: Mapping[str, str], table: Mapping[str, Any], table_origin: str) -> None:
    known = ", ".join(name for name, option in OPTIONS.items() if option.parse is not _not_text)
    for variable in environment:
        if variable.startswith(ENVIRONMENT_PREFIX):
            option = OPTIONS.get(variable.removeprefix(ENVIRONMENT_PREFIX).lower())
            if option is None or option.parse is _not_text:
                written = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
                meant = _meant(written, lambda name: f"{ENVIRONMENT_PREFIX}{name.upper()}")
                raise ValueError(f"the environment variable {variable} names no option; {meant}the options are {known}")
    for key in table:
        if key not in OPTIONS or OPTIONS[key].parse is _not_text:
            meant = _meant(key, repr)
            raise ValueError(f"{key!r} in {TABLE} of {table_origin} is no option; {meant}the options are {known}")


def _checked(called: str, option: Option, value: Any, origin: str) -> Any:
    try:
        return option.check(value)
    except (ValueError, TypeError, OverflowError):
        shown = "; it is not shown, because it may contain a password" if option.secret else f", got: {show(value)}"
        raise ValueError(f"{called} must be {option.rule}{shown}{origin}") from None


def _parsed(called: str, option: Option, text: str, origin: str) -> Any:
    try:
        return option.parse(text)
    except ValueError:
        raise ValueError(f"{called} must be {option.rule}, got: {text!r}{origin}") from None


def _from_table(option: Option, value: Any) -> Any:
    # TOML has no null: the text "none" stands for it, as in the environment.
    return None if option.parse is _seconds_or_none and value == "none" else value


def _refuse(value: Any) -> Any:
    raise ValueError(value)


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        return value if type(value) is int and low <= value <= high else _refuse(value)

    return check


def _seconds(value: Any) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        _refuse(value)
    return float(value)


def _wait(value: Any) -> float:
    seconds = _seconds(value)
    return seconds if seconds <= LONGEST_SECONDS else _refuse(value)


def _or_none(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


def _duration(value: Any) -> timedelta:
    seconds = value if isinstance(value, timedelta) and value > timedelta(0) else timedelta(seconds=_seconds(value))
    return min(seconds, LONGEST)


def _share(value: Any) -> float:
    return float(value) if type(value) in (int, float) and 0 <= value <= 1 else _refuse(value)


def _moment(value: Any) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return float(seconds) if type(seconds) in (int, float) and 0 <= seconds <= LONGEST_SPIN else _refuse(value)


def _boolean(value: Any) -> bool:
    return value if type(value) is bool else _refuse(value)


def _path(value: Any) -> Path:
    return Path(value) if isinstance(value, (str, os.PathLike)) and os.fspath(value) else _refuse(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else _refuse(value)


def _one_of(*words: str) -> Callable[[Any], str]:
    return lambda value: str(value) if isinstance(value, str) and value in words else _refuse(value)


def _collection(value: Any) -> tuple[Any, ...]:
    if isinstance(value, (str, bytes)) or not all(isinstance(item, (str, type)) for item in value):
        _refuse(value)
    return tuple(value)


def _callable(value: Any) -> Any:
    return value if callable(value) else _refuse(value)


def _store(value: Any) -> str:
    from ..runtime.store.postgres.namespace import Namespace  # only where a store is given

    if not isinstance(value, str):
        _refuse(value)
    Namespace.of(value)
    return str(value)


def _namespace(value: Any) -> str:
    from ..runtime.store.postgres.namespace import is_namespace

    return str(value) if is_namespace(value) else _refuse(value)


def _seconds_or_none(text: str) -> float | None:
    return None if text.lower() == "none" else float(text)


def _boolean_text(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    return words[text.lower()] if text.lower() in words else bool(_refuse(text))


def _words(text: str) -> list[str]:
    return [word for word in text.replace(",", " ").split() if word]


def _not_text(text: str) -> Any:
    return _refuse(text)


_OTHER_WORDS: Final = {
    "shards": "distribution_factor", "workers": "distribution_factor", "models_dir": "impl_models_dir",
    "dir": "data_dir", "directory": "data_dir", "path": "data_dir", "learn": "learning_mode", "timeout": "call_timeout",
}  # fmt: skip
"""What options are called elsewhere, for example on the command line."""
_SECONDS = "a number of seconds above 0, or a timedelta"
_WAIT = f"a number of seconds above 0 and at most {LONGEST_SECONDS} (30 days), or a timedelta"
_DURABILITIES = '"process" or "disk", or with a store in PostgreSQL "remote_apply"'
_NAMESPACE = "1 to 63 lower-case letters, digits and underscores, beginning with a letter, and not with pg_"
_URL = (
    "a URL like postgresql://user@host/database, with special characters of a password written like %40, and with "
    f"{_NAMESPACE} as its namespace"
)
OPTIONS: Final[dict[str, Option]] = {
    "manager": Option("simple", '"simple", "sharded" or "cluster"', _one_of("simple", "sharded", "cluster"), str),
    "connect": Option(None, "a path, or None", _or_none(_path), str),
    "distribution_factor": Option(4, "an int from 1 to 1024", _integer(1, 1024), int),
    "data_dir": Option("./spex_data", "a path", _path, str),
    "impl_models_dir": Option("./spex_impl_models", "a path", _path, str),
    "check_transition_timeouts_on_start": Option(True, "True or False", _boolean, _boolean_text),
    "prune_interval": Option(timedelta(hours=6), f"{_SECONDS}, or None", _or_none(_duration), _seconds_or_none),
    "durability": Option("process", _DURABILITIES, _one_of("process", "disk", "remote_apply"), str),
    "store": Option(None, f"{_URL}, or None", _or_none(_store), str, secret=True),
    "namespace": Option(None, f"{_NAMESPACE}, or None", _or_none(_namespace), str),
    "specifications": Option((), 'a list of specification classes or "module:Name"', _collection, _words),
    "learning_mode": Option(False, "True or False", _boolean, _boolean_text),
    "max_restarts": Option(3, "an int from 0 to 1000000", _integer(0, 1_000_000), int),
    "max_seconds": Option(5.0, _WAIT, _wait, float),
    "retry_failed": Option(5.0, f"{_WAIT}, or None", _or_none(_wait), _seconds_or_none),
    "call_timeout": Option(5.0, _WAIT, _wait, float),
    "max_unacknowledged": Option(8192, "an int from 1 to 1048576", _integer(1, 1 << 20), int),
    "max_frame_bytes": Option(DEFAULT_MAX_FRAME_BYTES, "an int from 4096 to 1073741824", _integer(4096, 1 << 30), int),
    "spin": Option(0.000_05, f"a number of seconds from 0 to {LONGEST_SPIN}, or a timedelta", _moment, float),
    "hang_timeout": Option(30.0, f"{_WAIT}, or None", _or_none(_wait), _seconds_or_none),
    "shutdown_timeout": Option(5.0, _WAIT, _wait, float),
    "on_message": Option(None, "callable, or None", _or_none(_callable), _not_text),
    "mode": Option("enforce", '"off", "observe", "warn" or "enforce"', _one_of(*MODES), str, environment_first=True),
    "observe_timeout": Option(0.05, _WAIT, _wait, float),
    "sample": Option(1.0, "a number from 0 to 1", _share, float),
    "report_interval": Option(60.0, _WAIT, _wait, float),
    "address": Option("static", '"static", a .toml file with gates, or a Ray cluster\'s address', _text, str),
    "partitions": Option(None, "an int from 1 to 1024, or None", _or_none(_integer(1, 1024)), int),
    "token_file": Option(None, "a path, or None", _or_none(_path), str),
    "takeover_timeout": Option(60.0, _WAIT, _wait, float),
    "ping": Option(2.0, _WAIT, _wait, float),
    "allow_shipped_code": Option(False, "True or False", _boolean, _boolean_text),
    "tls_authority": Option(None, "a path, or None", _or_none(_path), str),
    "tls_certificate": Option(None, "a path, or None", _or_none(_path), str),
    "tls_key": Option(None, "a path, or None", _or_none(_path), str),
}
