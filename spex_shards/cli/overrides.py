"""Options of a manager that may be typed on the command line, and what they are called there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ..manager.options import UNSET, Chosen
from ..manager.settings import options_from, options_with_origins, with_store
from ..runtime.store.location import Where, is_url, shown


def directory(text: str) -> Path:
    """Return the directory that was typed; click names the argument in the error."""
    if is_url(text):
        raise typer.BadParameter(f"it must be a directory, and {shown(text)} is the URL of a database")
    return Path(text)


DataDirOption = Annotated[Path | None, typer.Option(help="The data directory. Default: the option data_dir.")]
ModelsDirOption = Annotated[
    Path | None, typer.Option(help="Where model files are read from. Default: the option impl_models_dir.")
]
ShardsOption = Annotated[
    int | None, typer.Option(help="The number of shards. Default: the option distribution_factor.")
]
DurabilityOption = Annotated[
    str | None,
    typer.Option(
        help='What an observation survives: "process", "disk", "remote_apply". Default: the option durability.'
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The PostgreSQL database that holds the state, without a password. Default: the option store.",
    ),
]
NamespaceOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="The schema there. Default: the option namespace.")
]
LearnOption = Annotated[bool, typer.Option("--learn", help="Have all models learn.")]
GraceOption = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", help="How long shards may take to finish at the end. Default: the option shutdown_timeout."
    ),
]
PlaceOption = Annotated[
    str | None,
    typer.Option(
        "--data-dir",
        metavar="PLACE",
        help="The data directory, or the URL of a namespace of a database. Default: the option store or data_dir.",
    ),
]
TYPED: Final = {
    "distribution_factor": "--shards",
    "data_dir": "--data-dir",
    "impl_models_dir": "--models-dir",
    "durability": "--durability",
    "store": "--store",
    "namespace": "--namespace",
    "learning_mode": "--learn",
    "shutdown_timeout": "--grace",
    "specifications": "--specification",
    "token_file": "--gate-token-file",
    "allow_shipped_code": "--allow-shipped-code",
}
"""What each option is called on the command line; errors name what was typed."""


def typed_options(
    data_dir: Path | None,
    models_dir: Path | None,
    shards: int | None,
    durability: str | None,
    learn: bool,
    grace: float | None,
    store: str | None = None,
    namespace: str | None = None,
) -> dict[str, Any]:
    """Return the options that were typed, by the names that a manager has for them."""
    named = {
        "data_dir": data_dir,
        "impl_models_dir": models_dir,
        "distribution_factor": shards,
        "durability": durability,
        "learning_mode": learn or None,
        "shutdown_timeout": grace,
        "store": store,
        "namespace": namespace,
    }
    return {name: value for name, value in named.items() if value is not None}


def overridden(*typed: Any) -> dict[str, Any]:
    """Return the same options as `typed_options`, checked.

    Raises:
        ValueError: A value breaks its rule, or something in the environment or pyproject.toml does; names what was
            typed, or where it is from.
    """
    chosen = typed_options(*typed)
    options_from(chosen, TYPED)
    return chosen


def place_from(typed: str | None) -> Where:
    """Return the place that was typed, or the one where a manager without other options would have its shards."""
    if typed is not None and is_url(typed):
        shown(typed)  # refuses a malformed one
        return typed
    options = with_store(chosen_from(data_dir=None if typed is None else Path(typed)))
    return Path(options["data_dir"]) if typed is not None or options["store"] is None else str(options["store"])


def chosen_with_origins(**options: Any) -> dict[str, Chosen]:
    """Return every option's value as `chosen_from` does, and where it is from."""
    return options_with_origins({name: UNSET if value is None else value for name, value in options.items()}, TYPED)


def chosen_from(**options: Any) -> dict[str, Any]:
    """Return every option's value; an argument that is None was not typed. Errors name what was typed."""
    return options_from({name: UNSET if value is None else value for name, value in options.items()}, TYPED)
