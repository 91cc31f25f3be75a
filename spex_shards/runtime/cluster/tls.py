"""The files of TLS: who may be trusted, and what this side shows of itself."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypedDict


class TlsOptions(TypedDict, total=False):
    """The options about TLS; files in PEM format, as in `TlsFiles`."""

    tls_authority: str | os.PathLike[str] | None
    tls_certificate: str | os.PathLike[str] | None
    tls_key: str | os.PathLike[str] | None


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files in PEM format.

    Attributes:
        authority: The certificates that the other side's certificate must be signed by; for a gate, None: clients need
            no certificate; for a client, None: those of the system.
        certificate: This side's certificate, with those between it and the authority.
        key: Its private key; None: it is in `certificate`.
    """

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self | None:
        """Return the files that options name, or None if there are none.

        Raises:
            TypeError: An option is none of `TlsOptions`.
        """
        unknown = given.keys() - TlsOptions.__annotations__.keys()
        if unknown:
            raise TypeError(f"unknown option: {', '.join(sorted(unknown))}")
        files = {name.removeprefix("tls_"): Path(value) for name, value in given.items() if value is not None}
        return cls(**files) if files else None

    def for_gate(self) -> ssl.SSLContext:
        """Return the settings of a gate.

        Raises:
            ValueError: A file is missing or cannot be used; names it.
        """
        if self.certificate is None:
            raise ValueError("TLS at a gate needs a certificate: give the option tls_certificate")
        context = self._context(ssl.Purpose.CLIENT_AUTH)
        if self.authority is not None:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def for_client(self) -> ssl.SSLContext:
        """Return the settings of a client, which checks the gate's certificate and host name.

        Raises:
            ValueError: A file is missing or cannot be used; names it.
        """
        return self._context(ssl.Purpose.SERVER_AUTH)

    def _context(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(purpose, cafile=self.authority)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"the option tls_authority: {self.authority} cannot be used: {error}") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key)
            except (OSError, ssl.SSLError) as error:
                shown = self.certificate if self.key is None else f"{self.certificate} with the key {self.key}"
                raise ValueError(f"the option tls_certificate: {shown} cannot be used: {error}") from None
        elif self.key is not None:
            raise ValueError("the option tls_key needs the option tls_certificate")
        return context
