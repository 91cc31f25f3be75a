"""The address of a gate, as users write it and as the database records it."""

from __future__ import annotations

import ipaddress
from typing import Any, Final, NamedTuple, Self

from ...errors import show

RULE: Final = "HOST:PORT, with an IPv6 address in brackets"
_MOST: Final = 65535


class Address(NamedTuple):
    """A host and a TCP port.

    Attributes:
        host: A name, or an address without brackets.
        port: The port; 0, where one listens: any free one.
    """

    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the address that a text stands for.

        Raises:
            ValueError: It is none.
        """
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(f"an address must be {RULE}, got: {text!r}")
        if not colon or not host or not port.isascii() or not port.isdecimal() or int(port) > _MOST:
            raise ValueError(f"an address must be {RULE}, got: {text!r}")
        return cls(host, int(port))

    @classmethod
    def of_option(cls, value: Any, name: str) -> Self:
        """Return the address that an option gives.

        Raises:
            ValueError: It is none; names the option.
        """
        try:
            return cls.of(value)
        except (ValueError, AttributeError):
            raise ValueError(f"the option {name} must be {RULE}, got: {show(value)}") from None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only processes of this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
