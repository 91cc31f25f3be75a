"""The note in a data directory that says where the stores of its shards are, if they are not in the directory."""

from __future__ import annotations

import os
from typing import Final, NamedTuple, NoReturn

from ...errors import DataDirError, StoreError
from ..data_dir import DataDir
from ..protocol import records
from ..system.private import open_file, read_file, replace_file, sync_folder
from .meta_pages import DATA

_NAME: Final = "store"
_FORMAT: Final = 1
LEAVING: Final = "leaving"
ARRIVING: Final = "arriving"
MOVED: Final = "moved"
"""The states of a place that a move is done with."""


class StoreNote(NamedTuple):
    """Where the stores are.

    Attributes:
        shown: The place, without a password.
        identity: The identity of the place.
        state: Empty: the stores are there. `LEAVING`: they are being moved there. `ARRIVING`: they are being moved from
            there into the directory.
    """

    shown: str
    identity: bytes
    state: str = ""

    def refuse(self, directory: DataDir) -> NoReturn:
        """Raise the error that the directory's own files are not its stores."""
        path = directory.path
        text = f"the shards of {path} are in {self.shown}: give that as the option store, or to the command instead of "
        text += "the directory"
        if self.state:
            text = unusable(str(path), self.state, self.shown)
        raise DataDirError(text, path=str(path), place=self.shown)


def unusable(shown: str, state: str, other: str) -> str:
    """Return why a place whose contents are being moved, or were moved, cannot be used."""
    if state == MOVED:
        return f"what {shown} held was moved to {other}: use that"
    source, target = (shown, other) if state == LEAVING else (other, shown)
    return f"a move from {source} to {target} was interrupted; finish it with: spex-shards move {source} {target}"


def read_note(directory: DataDir) -> StoreNote | None:
    """Return the note of a data directory; None: its stores are its own files.

    Raises:
        DataDirError: The note is damaged or cannot be read.
    """
    path = directory.path / _NAME
    try:
        found_format, *fields = records.unseal(read_file(path), "the note of the store")
    except FileNotFoundError:
        return None
    except (OSError, StoreError, TypeError, ValueError) as error:
        raise DataDirError(f"the file {path} cannot be read: {error}", path=str(path)) from error
    if found_format != _FORMAT:
        raise DataDirError(f"a newer version wrote the file {path}; open the directory with that", path=str(path))
    return StoreNote(*fields)


def write_note(directory: DataDir, note: StoreNote) -> None:
    """Replace the note atomically and durably.

    Raises:
        DataDirError: It cannot be written.
    """
    path = directory.path / _NAME
    fresh = path.with_name(f"{_NAME}.new")
    try:
        with os.fdopen(open_file(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
            file.write(records.seal([_FORMAT, *note]))
            file.flush()
            os.fsync(file.fileno())
        replace_file(fresh, path)
        sync_folder(directory.path)
    except OSError as error:
        raise DataDirError(f"the file {path} cannot be written: {error}", path=str(path)) from error


def remove_note(directory: DataDir) -> None:
    """Remove the note durably, if there is one: the stores are the directory's own files again."""
    (directory.path / _NAME).unlink(missing_ok=True)
    sync_folder(directory.path)


def has_own_stores(directory: DataDir) -> bool:
    """Return whether a data directory has stores of its own."""
    return any(directory.path.glob(f"shard-*/{DATA}"))


def check_own(directory: DataDir) -> None:
    """Check that a data directory's stores are its own files.

    Raises:
        DataDirError: They are in a database, or were moved to one.
    """
    note = read_note(directory)
    if note is not None:
        note.refuse(directory)


def check_not_own(directory: DataDir, shown: str) -> None:
    """Check that a data directory has no stores of its own, because a place elsewhere was given for them.

    Raises:
        DataDirError: It has.
    """
    if read_note(directory) is None and has_own_stores(directory):
        text = f"{directory.path} has shards of its own, and cannot be used with the store {shown}; move them"
        command = f"spex-shards move {directory.path} {shown}"
        raise DataDirError(f"{text} by {command}, or give another data_dir", path=str(directory.path))


def check_elsewhere(directory: DataDir, shown: str, identity: bytes) -> None:
    """Check that a data directory's stores are in this place, and note it if the directory is new.

    Raises:
        DataDirError: They are elsewhere, or its own files.
    """
    note = read_note(directory)
    if note is None:
        check_not_own(directory, shown)
        write_note(directory, StoreNote(shown, identity))
    elif note.state:
        note.refuse(directory)
    elif note.identity != identity:
        text = f"{directory.path} belongs to another namespace than {shown}: to that of {note.shown} before"
        raise DataDirError(f"{text}; give another data_dir", path=str(directory.path), place=shown)
