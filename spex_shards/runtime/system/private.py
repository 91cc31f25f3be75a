"""Files and folders that nobody but this user, or root, can have put there or can change.

A data directory is trusted as it is: what lies in it was acknowledged. So nothing is read or written where another user
of the machine may have prepared it. A folder must belong to this user (or root), and no other may write to it; then
everything in it is this user's doing from that moment on. A file is opened relative to such a folder's descriptor,
never through a symbolic link, and must be a regular file that is held to the same rules, as it may be older than the
folder's modes.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ...errors import DataDirError
from .descriptors import take_standard_ones

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_PLAIN: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe in a file's place must not be waited for


def open_folder(path: Path) -> int:
    """Return a descriptor of a folder that can be trusted.

    Raises:
        DataDirError: Another user owns it, or can write to it; or it is reached through another user's symbolic link.
        OSError: It cannot be opened.
    """
    if stat.S_ISLNK((link := path.lstat()).st_mode):
        _check_owner(path, link, "is a symbolic link that")
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        _check_owner(path, found)
        _check_mode(path, found)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def folder(path: Path) -> Iterator[int]:
    """Give a descriptor as `open_folder` does, and close it."""
    descriptor = open_folder(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_file(path: Path, flags: int) -> int:
    """Return a descriptor of a file in a folder that can be trusted, as can the file; a new one is this user's alone.

    Raises:
        DataDirError: The folder or the file is another user's doing, or the file is none.
        OSError: It cannot be opened.
    """
    take_standard_ones()
    with folder(path.parent) as within:
        try:
            # What is there is looked at before anything of it is cut.
            descriptor = os.open(path.name, flags & ~os.O_TRUNC | _PLAIN, 0o600, dir_fd=within)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _refused(path, "is a symbolic link", f"remove it: rm {path}") from None
            error.filename = str(path)
            raise
    try:
        _check_file(path, os.fstat(descriptor), writing=flags & os.O_ACCMODE != os.O_RDONLY)
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_file(path: Path) -> bytes:
    """Return a file's bytes, opened as by `open_file`."""
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
        return file.read()


def replace_file(fresh: Path, path: Path) -> None:
    """Give a file of a trusted folder another's name in the same folder, at once.

    Raises:
        DataDirError: The folder cannot be trusted.
        OSError: It cannot be done.
    """
    with folder(path.parent) as within:
        os.replace(fresh.name, path.name, src_dir_fd=within, dst_dir_fd=within)


def check_files(path: Path, *names: str, writing: bool) -> None:
    """Refuse files that are opened by others' code; those that are missing are fine. The folder is looked at first.

    Raises:
        DataDirError: The folder or a file is another user's doing.
        OSError: The folder cannot be opened.
    """
    with folder(path) as within:
        for name in names:
            try:
                found = os.stat(name, dir_fd=within, follow_symlinks=False)
            except FileNotFoundError:
                continue
            _check_file(path / name, found, writing=writing)


def take_for_oneself(path: Path) -> None:
    """Take from others the right to write to a folder of this user's in which there is nothing yet.

    Raises:
        DataDirError: The folder cannot be trusted, or there is something in it that others may have put there.
        OSError: It cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        mode = stat.S_IMODE(found.st_mode)
        if mode & _OTHERS_WRITE and found.st_uid == os.geteuid() and _is_empty(descriptor):
            os.fchmod(descriptor, mode & ~_OTHERS_WRITE)
            if not _is_empty(descriptor):  # somebody was quicker: it is refused below
                os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
    os.close(open_folder(path))


def make_private(path: Path) -> None:
    """Make a folder in a trusted one, or take one that is there, and close it to all others.

    Raises:
        DataDirError: It is another user's.
        OSError: It cannot be made.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check_owner(path, os.fstat(descriptor))
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def _is_empty(descriptor: int) -> bool:
    return not os.listdir(descriptor)


def _check_file(path: Path, found: os.stat_result, *, writing: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = "is a symbolic link" if stat.S_ISLNK(found.st_mode) else "is no regular file"
        raise _refused(path, kind, f"remove it: rm {path}")
    _check_owner(path, found)
    _check_mode(path, found)
    if writing and found.st_nlink > 1:
        raise _refused(path, "has another name elsewhere, whose content would be changed", f"copy it: cp {path} …")


def _check_owner(path: Path, found: os.stat_result, what: str = "") -> None:
    me = os.geteuid()
    if found.st_uid not in (me, 0):
        what = f"{what} belongs to user {found.st_uid}" if what else f"belongs to user {found.st_uid}"
        raise _refused(path, f"{what}, and this process is user {me}", "run as that user, or have it changed by chown")


def _check_mode(path: Path, found: os.stat_result) -> None:
    if found.st_mode & _OTHERS_WRITE:
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        raise _refused(
            path, f"can be written by other users (mode {mode})", f"look at what is there, then: chmod go-w {path}"
        )


def _refused(path: Path, what: str, advice: str) -> DataDirError:
    text = f"{path} {what}: nothing there is used, since another user may have put it there; {advice}"
    return DataDirError(text, path=str(path))


def sync_folder(folder: Path) -> None:
    """Have a folder's entries on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
