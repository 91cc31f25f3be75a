"""The options of a member of a cluster, and of a manager that uses one, as they are typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

ListenOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Let clients of other machines in there, as a member of a cluster; needs a store. Port 0: any free one.",
    ),
]
AdvertiseOption = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="By which address clients reach it, if by another.")
]
HostsOption = Annotated[
    str | None, typer.Option(metavar="SHARDS", help='Which of the shards to run here, as "0-31,40". Default: all.')
]
GateTokenFileOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A file with the secret of the cluster, which clients must have.")
]
AuthorityOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="TLS: who must have signed the other side's certificate (PEM).")
]
CertificateOption = Annotated[Path | None, typer.Option(metavar="FILE", help="TLS: this side's certificate (PEM).")]
KeyOption = Annotated[Path | None, typer.Option(metavar="FILE", help="TLS: the key of that certificate (PEM).")]
ShippedOption = Annotated[
    bool, typer.Option("--allow-shipped-code", help="Take handlers and predicates that clients send as code.")
]


def member_options(
    listen: str | None,
    advertise: str | None,
    hosts: str | None,
    token_file: Path | None,
    tls: tuple[Path | None, Path | None, Path | None],
    shipped: bool,
) -> dict[str, Any] | None:
    """Return the options of a member by the names of `ClusterMember`; None: nothing makes it a member.

    Raises:
        ValueError: An option needs `--listen`, and that is missing; names it.
    """
    files = {
        name: path for name, path in zip(("tls_authority", "tls_certificate", "tls_key"), tls, strict=True) if path
    }
    given = {
        "--advertise": advertise, "--hosts": hosts, "--gate-token-file": token_file, "--tls-…": files or None,
        "--allow-shipped-code": shipped or None,
    }  # fmt: skip
    if listen is None:
        for name, value in given.items():
            if value is not None:
                raise ValueError(f"{name} is for a member of a cluster: give --listen as well")
        return None
    return {
        "listen": listen, "advertise": advertise, "hosts": hosts, "token_file": token_file, "tls": files,
        "allow_shipped_code": shipped,
    }  # fmt: skip
