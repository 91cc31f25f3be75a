"""The secret of a cluster, which gates and clients have in common."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_LEAST: Final = 16


def token_of(text: str | bytes) -> bytes:
    """Return a token from the text of a file or an option, without surrounding space.

    Raises:
        ValueError: It is no text, or has fewer than 16 characters, and could be guessed.
    """
    token = (text.encode() if isinstance(text, str) else text).strip()
    try:
        token.decode()
    except UnicodeDecodeError:
        raise ValueError("a token must be text in UTF-8, as openssl rand -hex 32 makes it") from None
    if len(token) < _LEAST:
        raise ValueError(f"a token must have at least {_LEAST} characters, got one with {len(token)}")
    return token


def token_from(token: str | None, file: str | os.PathLike[str] | None) -> bytes:
    """Return the token that is given as a text or in a file; empty: none is given.

    Raises:
        ValueError: Both are given, the file cannot be read, or the token is too short to be secret.
    """
    if token is not None and file is not None:
        raise ValueError("the options token and token_file name the same thing: give one of them")
    try:
        if file is not None:
            return token_of(Path(file).read_bytes())
        return b"" if token is None else token_of(token)
    except OSError as error:
        raise ValueError(f"the option token_file: {file} cannot be read: {error}") from None
