"""What makes the process that runs some of a cluster's shards a member: its gate, and which shards it runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ...errors import show
from ..transport import Transport
from .address import Address
from .directory import known_as, numbers_in
from .gate import Gate, refused_address
from .tls import TlsFiles, TlsOptions
from .token import token_from


class Member:
    """A member of a cluster: it runs some of the shards, and lets clients of other machines in.

    Args:
        listen: Where to listen for clients, ``"HOST:PORT"``; port 0: any free one.
        advertise: The address by which clients reach it, if that is another.
        hosts: The shards that run here: numbers, or a text like "0-31". None: all.
        token: The secret that clients must have.
        token_file: A file with that secret.
        tls: `tls_authority`, `tls_certificate` and `tls_key`: files in PEM format. With an authority, clients need a
            certificate that it has signed.

    Attributes:
        gate: Where it listens, once it is started.

    Raises:
        ValueError: A value breaks its option's rule, or other machines could reach the gate without any secret.
    """

    def __init__(
        self,
        *,
        listen: str = "127.0.0.1:0",
        advertise: str | None = None,
        hosts: Iterable[int] | str | None = None,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        tls: TlsOptions | None = None,
    ) -> None:
        self._hosts = hosts if hosts is None or isinstance(hosts, str) else list(hosts)
        self._listens = Address.of_option(listen, "listen")
        self._advertised = None if advertise is None else Address.of_option(advertise, "advertise")
        self._token = token_from(token, token_file)
        files = TlsFiles.of(tls or {})
        self._tls = None if files is None else files.for_gate()
        refused = refused_address(self._listens, self._token, self._tls)
        if refused is not None:
            raise ValueError(refused)
        self.gate: Gate | None = None

    @property
    def address(self) -> Address | None:
        """The address by which clients reach it, once it is started."""
        return self._advertised or (None if self.gate is None else self.gate.address)

    def hosted(self, shards: int) -> list[int]:
        """Return which of a cluster's shards it runs, of this number in all.

        Raises:
            ValueError: There is no such shard.
        """
        if self._hosts is None:
            return list(range(shards))
        try:
            found = sorted(numbers_in(self._hosts) if isinstance(self._hosts, str) else set(self._hosts))
        except (ValueError, TypeError):
            found = []
        if not found or not all(type(one) is int and 0 <= one < shards for one in found):
            rule = f'the option hosts must name shards from 0 to {shards - 1}, as "0-3,8"'
            raise ValueError(f"{rule}, got: {show(self._hosts)}")
        return found

    def run(self, socket: Path, shards: int, start: Callable[[dict[str, Any]], Transport]) -> Transport:
        """Open the gate, start the shards, and let clients in.

        Args:
            socket: The socket at which the supervisor will listen.
            shards: The number of all shards.
            start: Starts the supervisor with the options that it is given, and returns the transport to it.

        Raises:
            SpexError: The gate or the shards could not be started; the gate is closed again.
        """
        gate = Gate(self._listens, socket, self._token, self._tls)
        try:
            self.gate = gate
            shown = self._advertised or gate.address
            transport = start({"serves": True, "hosts": self.hosted(shards), "known_as": known_as(shown)})
            gate.start()
        except BaseException:
            gate.close()
            raise
        return transport

    def close(self) -> None:
        """Let no client in any more; it may be called again."""
        if self.gate is not None:
            self.gate.close()
