"""Where a web server listens."""

from __future__ import annotations

import ipaddress
import socket
from typing import NamedTuple

LOOPBACK = "127.0.0.1"


class Address(NamedTuple):
    """A host and a port.

    Attributes:
        host: The host's name or IP address, as it was typed.
        port: The port; 0: any free one.
        ip: The IP address that it stands for.
    """

    host: str
    port: int
    ip: str

    @classmethod
    def parsed(cls, option: str, text: str) -> Address:
        """Return the address in ``PORT``, ``HOST:PORT`` or ``[IPv6]:PORT``; without a host, that of the loopback.

        Raises:
            ValueError: The text is none of them, or the host is unknown; names the option.
        """
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]") or LOOPBACK
        if not port.isascii() or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{option} must be PORT or HOST:PORT, with a port from 0 to 65535, got: {text!r}")
        return cls(host, int(port), _resolved(option, host))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return ipaddress.ip_address(self.ip).is_loopback

    @property
    def family(self) -> socket.AddressFamily:
        """The family of its socket."""
        return socket.AF_INET6 if ":" in self.ip else socket.AF_INET

    def url(self, port: int) -> str:
        """Return the URL under which it is reached."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{port}/"


def _resolved(option: str, host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{option}: the host {host!r} is unknown: {error}") from None
    return str(found[0][4][0]).partition("%")[0]
