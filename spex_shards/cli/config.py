"""The command ``config``: prints every option with its value, and where the value is from."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..manager.options import OPTIONS, Chosen
from ..manager.settings import options_with_origins
from .output import Format, command
from .overrides import (
    TYPED,
    DataDirOption,
    DurabilityOption,
    GraceOption,
    LearnOption,
    ModelsDirOption,
    NamespaceOption,
    ShardsOption,
    StoreOption,
    typed_options,
)


def show_options(
    data_dir: DataDirOption = None,
    models_dir: ModelsDirOption = None,
    shards: ShardsOption = None,
    durability: DurabilityOption = None,
    store: StoreOption = None,
    namespace: NamespaceOption = None,
    learn: LearnOption = False,
    grace: GraceOption = None,
    form: Annotated[Format, typer.Option("--format", help="How to write the options.")] = Format.TEXT,
) -> None:
    """Show every option of a manager as a program would get it here, and where its value is from.

    That is, in this order: an argument of the command line, an environment variable, [tool.spex_shards] of the nearest
    pyproject.toml, or the default. Exits with 0, or with 2 when a value breaks its rule.
    """
    with command(form) as output:
        typed = typed_options(data_dir, models_dir, shards, durability, learn, grace, store, namespace)
        chosen = {name: _hidden(name, one) for name, one in options_with_origins(typed, TYPED).items()}
        output.write("\n".join(_lines(chosen)), {"options": [_plain(name, one) for name, one in chosen.items()]})


def _hidden(name: str, one: Chosen) -> Chosen:
    """Return an option with its value as it may be shown: a store's without its password."""
    if not OPTIONS[name].secret or one.value is None:
        return one
    from ..runtime.store.postgres.namespace import Namespace

    return one._replace(value=Namespace.of(one.value).shown)


def _plain(name: str, one: Chosen) -> dict[str, Any]:
    rule = OPTIONS[name].rule.replace(", or a timedelta", "")
    return {"name": name, "value": _value(one.value), "origin": one.origin, "from": _place(name, one), "rule": rule}


def _lines(chosen: dict[str, Chosen]) -> list[str]:
    rows = [(name, _text(one.value), one.origin, _place(name, one) or "") for name, one in chosen.items()]
    wide, wider = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [
        f"{name:{wide}}  {value:{wider}}  {origin}" + (f" ({place})" if place else "")
        for name, value, origin, place in rows
    ]


def _place(name: str, one: Chosen) -> str | None:
    return TYPED[name] if one.origin == "argument" else one.place or None


def _value(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (Path, StrEnum)):
        return str(value)
    if isinstance(value, tuple):
        return [item if isinstance(item, str) else f"{item.__module__}:{item.__qualname__}" for item in value]
    return value


def _text(value: Any) -> str:
    plain = _value(value)
    if plain is None or isinstance(plain, bool):
        return {None: "none", True: "true", False: "false"}[plain]
    if isinstance(plain, float):
        return f"{plain:g}"  # seconds
    return " ".join(plain) or "-" if isinstance(plain, list) else str(plain)
