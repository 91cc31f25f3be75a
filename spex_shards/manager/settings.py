"""Reads options from the environment and the nearest pyproject.toml."""

from __future__ import annotations

import importlib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..domain.specification import Specification, is_specification
from .options import (
    ENVIRONMENT_PREFIX,
    OPTIONS,
    TABLE,
    Chosen,
    ClusterOptions,
    ManagerOptions,
    choose,
    unknown_options,
)


def options_from(
    arguments: Mapping[str, Any], typed: Mapping[str, str] | None = None, *, mode: str = "enforce"
) -> dict[str, Any]:
    """Return every option's value, for a call made now in the current directory.

    Args:
        arguments: The arguments of the call; `UNSET` stands for an option that was not given.
        typed: What the user typed for an argument that has another name, as "--shards"; errors name that.
        mode: The default of the option `mode`.

    Raises:
        TypeError: An argument is not an option.
        ValueError: A value breaks its rule, or a key is unknown; names the origin.
    """
    return {name: chosen.value for name, chosen in options_with_origins(arguments, typed, mode).items()}


def options_with_origins(
    arguments: Mapping[str, Any], typed: Mapping[str, str] | None = None, mode: str = "enforce"
) -> dict[str, Chosen]:
    """Return every option's value, and where it is from; otherwise as `options_from`."""
    try:
        here: Path | None = Path.cwd()
    except FileNotFoundError:  # the current directory was deleted
        here = None
    file, table = (None, {}) if here is None else nearest_table(here)
    chosen = choose(arguments, os.environ, {"mode": mode, **table}, str(file), typed)
    if "mode" not in table and chosen["mode"].origin == "file":
        chosen["mode"] = chosen["mode"]._replace(origin="default", place="")
    return chosen


def mode_of_environment() -> str | None:
    """Return the mode that the environment sets for all observations of this process, or None."""
    return os.environ.get(f"{ENVIRONMENT_PREFIX}MODE")


def manager_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option's value as `options_from` does; the options ``manager`` and ``connect`` are not allowed."""
    unknown = arguments.keys() - ManagerOptions.__annotations__.keys()
    if unknown:
        if "connect" in unknown:
            raise TypeError("the option connect is for spex_shards.configure: use spex_shards.connect(DIR) instead")
        if "manager" in unknown:
            raise TypeError("the option manager is for spex_shards.configure: a manager's class says what it is")
        if unknown & ClusterOptions.__annotations__.keys():
            text = "is an option of clusters: it is for ClusterInstanceManager, and for spex_shards.configure"
            raise TypeError(f"the option {min(unknown & ClusterOptions.__annotations__.keys())} {text}")
        raise TypeError(unknown_options(unknown, [name for name in OPTIONS if name in ManagerOptions.__annotations__]))
    return with_store(options_from(arguments))


def with_store(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with the namespace in the store's URL; checks what depends on whether there is one.

    Raises:
        ValueError: The URL and the option name different namespaces, or an option needs a store and there is none.
    """
    store, namespace = options["store"], options["namespace"]
    if store is not None:
        from ..runtime.store.postgres.namespace import Namespace  # only where a store is given

        return {**options, "store": Namespace.of(store, namespace).text}
    if namespace is not None:
        raise ValueError(
            f"the option namespace={namespace!r} names a part of the database that the option store gives, and there "
            "is no store: give both"
        )
    if options["durability"] == "remote_apply":
        raise ValueError('the option durability="remote_apply" needs a store in PostgreSQL: give the option store')
    return options


def nearest_table(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    """Return the nearest pyproject.toml at or above `folder`, and its table ``[tool.spex_shards]``.

    Raises:
        ValueError: The file is malformed; names it.
    """
    for candidate in (folder, *folder.parents):
        file = candidate / "pyproject.toml"
        if not file.is_file():
            continue
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("spex_shards", {})
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError) as error:
            raise ValueError(f"{file} cannot be read: {error}") from None
        except OSError:
            return None, {}
        if not isinstance(table, dict):
            raise ValueError(f"{TABLE} of {file} must be a table, got: {table!r}")
        return file, table
    return None, {}


def load_specifications(specifications: Iterable[Any]) -> tuple[type[Specification], ...]:
    """Return the given classes; an item ``module:Name`` is imported.

    Raises:
        ValueError: An item cannot be imported, or is not a specification; names it and says why.
    """
    return tuple(_load(item) for item in specifications)


def _load(item: Any) -> type[Specification]:
    found = item
    if isinstance(item, str):
        module, colon, name = item.partition(":")
        if not colon or not module or not name:
            hint = f'; did you mean "{":".join(item.rsplit(".", 1))}"?' if "." in item and not colon else ""
            raise ValueError(f'a specification must be named as "module:Name", got: {item!r}{hint}')
        try:
            found = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except Exception as error:
            text = f"the specification {item} cannot be imported: {type(error).__name__}: {error}"
            if isinstance(error, ModuleNotFoundError):
                text += "; its folder must be on sys.path, for example by PYTHONPATH"
            raise ValueError(text) from error
    if not is_specification(found):
        raise ValueError(f"a specification must be a subclass of spex_shards.Specification, got: {item!r}")
    return found  # type: ignore[no-any-return]
