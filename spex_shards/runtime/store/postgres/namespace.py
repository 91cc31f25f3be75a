"""Where a namespace lies: the URL of its database, and its name. Texts made here never show a password."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

SCHEMES: Final = ("postgresql", "postgres")
DEFAULT_NAMESPACE: Final = "spex_shards"
NAMESPACE_RULE: Final = "1 to 63 lower-case letters, digits and underscores, beginning with a letter, and not with pg_"
URL_RULE: Final = "a URL like postgresql://user@host/database"
_NAMESPACE: Final = re.compile(r"(?!pg_)[a-z][a-z0-9_]{0,62}", re.ASCII)
_SECRETS: Final = frozenset({"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"})
_HOST: Final = r"(\[[0-9a-fA-F:.%]+\]|[^\[\]:,@/?]*)(:[0-9]*)?"
_HOSTS: Final = re.compile(rf"{_HOST}(,{_HOST})*", re.ASCII)
_HIDDEN: Final = "***"


def is_url(text: object) -> bool:
    """Return whether a text is meant as the URL of a database, and not as a path."""
    return isinstance(text, str) and text.partition("://")[0] in SCHEMES and "://" in text


def is_namespace(name: object) -> bool:
    """Return whether a namespace may have this name."""
    return isinstance(name, str) and _NAMESPACE.fullmatch(name) is not None


@dataclass(frozen=True, slots=True, repr=False)
class Namespace:
    """Where a namespace lies.

    Attributes:
        url: The URL of the database, as libpq reads it; it may contain a password.
        name: Its name, which is the name of its schema.
    """

    url: str
    name: str = DEFAULT_NAMESPACE

    @classmethod
    def of(cls, text: str, namespace: str | None = None) -> Self:
        """Return the namespace that a text stands for; ``?namespace=NAME`` in it names the namespace.

        Raises:
            ValueError: It is no URL of a PostgreSQL database, or names no possible namespace, or another one than
                `namespace`; the text shows no part of the URL that could be secret.
        """
        parts = _split(text)
        if parts is None:
            raise ValueError(f"the store must be {URL_RULE}, with special characters of a password written like %40")
        place, path, given = parts
        named = [value for name, value in given if name == "namespace"]
        found = {*named, *([] if namespace is None else [namespace])} or {DEFAULT_NAMESPACE}
        if len(found) > 1:
            raise ValueError(f"the store's URL and the option namespace name different ones: {sorted(found)}")
        name = found.pop()
        if not is_namespace(name):
            raise ValueError(f"the namespace must be {NAMESPACE_RULE}, got: {name!r}")
        rest = urlencode([(key, value) for key, value in given if key != "namespace"], safe="/,:", quote_via=quote)
        return cls(_url(place, path, rest), name)

    @property
    def text(self) -> str:
        """The namespace as one text, with the password that it may contain."""
        return _with_namespace(self.url, self.name)

    @property
    def shown(self) -> str:
        """The namespace as one text, for messages: without a password."""
        return _with_namespace(_redacted(self.url), self.name)

    def __repr__(self) -> str:
        return f"Namespace({self.shown!r})"

    def cleaned(self, message: str) -> str:
        """Return a message of the database's library without the password, should it quote that."""
        for secret in sorted(self._secrets(), key=len, reverse=True):
            message = message.replace(secret, _HIDDEN)
        return " ".join(message.split())

    def _secrets(self) -> set[str]:
        parts = urlsplit(self.url)
        user = parts.netloc.rpartition("@")[0]
        written = [user.partition(":")[2]] + [v for k, v in _pairs(parts.query) if k in _SECRETS]
        return {text for one in written for text in (one, unquote(one)) if text}


def _pairs(query: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (pair.partition("=") for pair in query.split("&") if pair)]


def _redacted(url: str) -> str:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    query = "&".join(f"{key}={_HIDDEN if key in _SECRETS else value}" for key, value in _pairs(parts.query))
    return _url(f"{name}{':' + _HIDDEN if colon else ''}{at}{host}", parts.path, query)


def _split(text: str) -> tuple[str, str, list[tuple[str, str]]] | None:
    """Return the URL's user and hosts, path and parameters; None: it is malformed."""
    try:
        parts = urlsplit(text)
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        return None
    # An "@" behind the hosts was part of a password, which ended at its first "/" or "?".
    stray = "#" in text or "@" in parts.path or "@" in parts.query or any(character.isspace() for character in text)
    if stray or parts.scheme not in SCHEMES or not _HOSTS.fullmatch(parts.netloc.rpartition("@")[2]):
        return None
    return parts.netloc, parts.path, given


def _url(place: str, path: str, query: str) -> str:
    # Not by `urlunsplit`, which leaves the slashes of an empty host out.
    return f"postgresql://{place}{path}{'?' if query else ''}{query}"


def _with_namespace(url: str, namespace: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}namespace={namespace}"
