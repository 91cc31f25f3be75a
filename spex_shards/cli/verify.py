"""The command ``verify``: checks a data directory."""

from __future__ import annotations

from typing import Annotated

import typer

from ..audit import verify
from .output import Format, command
from .progress import bar
from .services import ServiceName, service_named

FOUND = 1


def verify_directory(
    data_dir: Annotated[
        str, typer.Argument(metavar="DIR", help="The data directory, or the URL of a namespace of a database.")
    ],
    form: Annotated[Format, typer.Option("--format", help="How to write the findings.")] = Format.TEXT,
    service: ServiceName = None,
) -> None:
    """Check every row of a data directory against the others.

    No process may use the directory; a namespace may be in use. Nothing is changed. Exits with 0 when all is well, with
    1 when something is not, and with 2 when it cannot be checked: it is no data directory, or another process owns it.
    With --service, each row of a service of your own must lie on the shard that its routing_key gives.
    """
    with command(form) as output:
        cls = service_named(service)
        with bar("verifying", 1, counts=False) as step:
            findings = verify(data_dir, service=cls, progress=step.of)
        count = len(findings)
        summary = f"{count} {'finding' if count == 1 else 'findings'}" if count else "all is well"
        plain = {"clean": not findings, "findings": [finding.plain() for finding in findings]}
        output.write("\n".join([*map(str, findings), summary]), plain)
        raise typer.Exit(FOUND if findings else 0)
