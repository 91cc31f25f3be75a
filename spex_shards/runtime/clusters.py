"""`Cluster`: where the shards of a cluster are, and how a program of any machine reaches them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ..errors import DataDirError, LayoutMismatch, show
from .client import ClientOptions
from .client.core import Client
from .client.mailbox import Mailbox
from .client.opening import MakeClient, started
from .cluster.address import Address
from .cluster.connecting import Access
from .cluster.directory import Directory, FileDirectory, OwnersDirectory
from .cluster.introducer import Patience, by_directory
from .cluster.tls import TlsFiles, TlsOptions
from .cluster.token import token_from
from .store.location import shards_of
from .store.postgres.namespace import Namespace

STATIC: Final = "static"
_LONGEST: Final = 30 * 86400


class Cluster:
    """The shards that members run on any machines, with their state in PostgreSQL, as a program uses them.

    Args:
        store: The URL of the PostgreSQL database that holds the shards' state.
        namespace: The name of the schema there. Default: the URL's parameter ``namespace``, or "spex_shards".
        address: ``"static"``: members were started by hand, and the database says which has claimed a shard. The path
            of a ``.toml`` file: that says which gate leads to which shards (see ``docs/cluster.md``). ``"auto"``,
            ``"HOST:PORT"`` or ``"ray://HOST:PORT"``: a Ray cluster that runs the shards; the token is asked for there.
        partitions: The number of shards; None: whatever the namespace was made for.
        token: The secret that the gates ask for.
        token_file: A file with that secret.
        takeover_timeout: Seconds that calls wait for a shard that no machine has, before they get `ShardDown`. What was
            sent without waiting is dropped then, with an error.
        ping: Seconds after which a shard's machine is asked for a sign of life; without one for twice as long, it is
            left, and the shard is looked for anew.
        tls: `tls_authority`, `tls_certificate` and `tls_key`: files in PEM format; any of them turns TLS on.

    Raises:
        ValueError: A value breaks its option's rule.
    """

    def __init__(
        self,
        *,
        store: str,
        namespace: str | None = None,
        address: str = STATIC,
        partitions: int | None = None,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        takeover_timeout: float = 60.0,
        ping: float = 2.0,
        tls: TlsOptions | None = None,
    ) -> None:
        for name, seconds in (("takeover_timeout", takeover_timeout), ("ping", ping)):
            if type(seconds) not in (int, float) or not 0 < seconds <= _LONGEST:
                rule = f"a number of seconds above 0, at most {_LONGEST}"
                raise ValueError(f"the option {name} must be {rule}, got: {seconds!r}")
        self.place = Namespace.of(store, namespace)
        self._partitions = partitions
        self._address = address
        self._directory = _directory_of(address, self.place)
        files = TlsFiles.of(tls or {})
        context = None if files is None else files.for_client()
        self._access = Access(token_from(token, token_file), context, min(3.0, 2 * ping))
        self._patience = Patience(ping, takeover_timeout)

    def client(
        self, options_for: Callable[[int], ClientOptions], mailbox: Mailbox, make: MakeClient = Client
    ) -> Client:
        """Return a started client of the shards.

        Args:
            options_for: Gets the number of shards, and returns the client's options.
            mailbox: Receives the messages.
            make: Creates the client.

        Raises:
            DataDirError: The database has no such namespace, or cannot be reached.
            LayoutMismatch: It has another number of shards than `partitions`.
            ShardDown: Ray's cluster cannot be reached, or runs no shards of the namespace.
        """
        shards = shards_of(self.place.text)
        if shards is None:
            text = f"there is no namespace at {self.place.shown}: start a member of the cluster first"
            raise DataDirError(text, place=self.place.shown)
        if self._partitions not in (None, shards):
            text = f"{self.place.shown} was made for {shards} shards, not {self._partitions}"
            raise LayoutMismatch(text, found=shards, wanted=self._partitions, place=self.place.shown)
        access = self._access
        if self._is_ray() and not access.token:
            from .placement.session import token_of  # only here is Ray needed

            access = replace(access, token=token_of(self._address, self.place.name))
        introduce = by_directory(self._directory, access, self._patience)
        return started(make(introduce, options_for(shards), mailbox, None))

    def _is_ray(self) -> bool:
        return self._address != STATIC and not self._address.endswith(".toml")


def _directory_of(address: Any, store: Namespace) -> Directory:
    if address == STATIC:
        return OwnersDirectory(store)
    if isinstance(address, str) and address.endswith(".toml"):
        return FileDirectory(Path(address).absolute())
    if isinstance(address, str) and (address == "auto" or address.startswith("ray://") or _is_address(address)):
        return OwnersDirectory(store)  # Ray places the shards, and each records with its claim where it is
    rule = (
        '"static", the path of a .toml file with gates, or a Ray cluster\'s: "auto", "HOST:PORT" or "ray://HOST:PORT"'
    )
    raise ValueError(f"the option address must be {rule}, got: {show(address)}")


def _is_address(text: str) -> bool:
    try:
        return bool(Address.of(text))
    except ValueError:
        return False
