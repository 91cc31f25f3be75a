"""Who may read: anybody on this machine, or whoever knows the token.

# Guarantees:
#
# * Without a token, only names of the loopback are accepted as `Host`. So a web page of another site whose name leads
#   to this machine (DNS rebinding) reads nothing.
# * A token is compared in constant time, and the cookie that a browser gets instead of it does not contain it.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Final

SHORTEST_TOKEN: Final = 16
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]*)?")
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]+")


class Access:
    """Decides whether a request may read.

    Args:
        token: The token; None: nobody needs one.
        local: Whether the server listens on the loopback only.
    """

    def __init__(self, token: str | None, *, local: bool) -> None:
        self.token = token
        self._local = local

    def knows_host(self, host: str | None) -> bool:
        """Return whether the header `Host` is acceptable."""
        if not self._local:
            return True  # a token is asked for, which pages of another site do not have
        found = _HOST.fullmatch(host or "")
        if found is None:
            return False
        name = found[1].strip("[]").rstrip(".").lower()
        try:
            return name == "localhost" or ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    def admits(self, authorization: str | None, cookies: str | None, port: int) -> bool:
        """Return whether the token is in the header `Authorization`, or its cookie in `Cookie`."""
        if self.token is None:
            return True
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return True
        try:
            cookie = SimpleCookie(cookies or "").get(_cookie_name(port))
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self._cookie_value().encode())

    def is_token(self, given: str) -> bool:
        """Return whether a text is the token."""
        return self.token is not None and hmac.compare_digest(given.encode(errors="replace"), self.token.encode())

    def cookie(self, port: int) -> str:
        """Return the header `Set-Cookie` for a browser that has shown the token."""
        return f"{_cookie_name(port)}={self._cookie_value()}; Path=/; HttpOnly; SameSite=Strict"

    def _cookie_value(self) -> str:
        return hmac.new((self.token or "").encode(), b"spex-shards console", hashlib.sha256).hexdigest()


def _cookie_name(port: int) -> str:
    return f"spex_shards_{port}"  # cookies do not tell ports apart


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(24)


def token_from(text: str | None, file: Path | None) -> str | None:
    """Return the token that was typed, or the content of a file; None if there is neither.

    Raises:
        ValueError: There are both, or it is too short, or has other characters than tokens have.
        OSError: The file cannot be read.
    """
    if text is not None and file is not None:
        raise ValueError("--token and --token-file must not be given together")
    token = file.read_text(encoding="utf-8").strip() if file is not None else text
    if token is None:
        return None
    if len(token) < SHORTEST_TOKEN or not _TOKEN.fullmatch(token):
        called = "--token" if file is None else f"--token-file {file}"
        rule = f"at least {SHORTEST_TOKEN} letters, digits or characters of ._~+/=-"
        raise ValueError(f"{called} must have {rule}, got: {len(token)} characters; make one by: openssl rand -hex 24")
    return token
