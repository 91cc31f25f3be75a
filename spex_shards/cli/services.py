"""The option ``--service``: the class of a service of the application's."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer

from ..runtime.declared import Service

ServiceName = Annotated[
    str | None,
    typer.Option("--service", metavar="MODULE:NAME", help="The service that the directory belongs to, if not Spex."),
]


def service_named(name: str | None) -> type[Service] | None:
    """Return the class that a user has named as ``module:Name``, importing its module; None for None.

    Raises:
        ValueError: It cannot be imported, or is no service; names it and says why.
    """
    if name is None:
        return None
    module, colon, path = name.partition(":")
    if not colon or not module or not path:
        raise ValueError(f'--service must be "module:Name", got: {name!r}')
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except SystemExit as error:
        raise ValueError(f"importing {name} ended the program (SystemExit: {error}); guard it by __main__") from None
    except Exception as error:
        raise ValueError(f"the service {name} cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Service)):
        raise ValueError(f"--service must name a subclass of runtime.Service, got: {name!r}")
    return found
