"""Opens files and folders that only this user, or root, can have created or changed.

The library trusts the content of a data directory: it was acknowledged to callers. So it must not read or write in a
place where another user of the machine could have prepared something. A folder must belong to this user or to root, and
nobody else may have the right to write to it; from then on only this user can change its content. A file is opened
relative to the descriptor of such a folder, never through a symbolic link. The file must be a regular file and obey the
same rules, because it may be older than the folder's current permissions.
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
_PLAIN: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # non-blocking: opening a named pipe must not wait


def open_folder(path: Path) -> int:
    """Return a descriptor of a folder, after checking that it can be trusted.

    Raises:
        DataDirError: Another user owns it or can write to it, or `path` is another user's symbolic link.
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
    """Open a trusted folder with `open_folder`, and close it at the end of the ``with`` block."""
    descriptor = open_folder(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_file(path: Path, flags: int) -> int:
    """Return a descriptor of a file, after checking that it and its folder can be trusted.

    A new file is created with permissions for this user alone.

    Raises:
        DataDirError: Another user owns the folder or the file or can write to it, or it is not a regular file.
        OSError: It cannot be opened.
    """
    take_standard_ones()
    with folder(path.parent) as within:
        try:
            # The file is checked before it is truncated: it may be somebody else's.
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
    """Return the content of a file that is opened by `open_file`."""
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
        return file.read()


def replace_file(fresh: Path, path: Path) -> None:
    """Atomically rename `fresh` to the name of `path` in the same trusted folder.

    Raises:
        DataDirError: The folder cannot be trusted.
        OSError: The file cannot be renamed.
    """
    with folder(path.parent) as within:
        os.replace(fresh.name, path.name, src_dir_fd=within, dst_dir_fd=within)


def check_files(path: Path, *names: str, writing: bool) -> None:
    """Check the folder `path`, then those of the named files that exist, before code of others opens them.

    Args:
        path: The folder.
        names: File names in it; a missing file is fine.
        writing: Whether the files will be written to: then they must not have a second hard link.

    Raises:
        DataDirError: Another user owns the folder or a file or can write to it.
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
    """Remove the write permission of other users from an empty folder of this user; leave any other folder as it is.

    Raises:
        DataDirError: The folder cannot be trusted afterwards, or others may have put something into it.
        OSError: It cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        mode = stat.S_IMODE(found.st_mode)
        if mode & _OTHERS_WRITE and found.st_uid == os.geteuid() and _is_empty(descriptor):
            os.fchmod(descriptor, mode & ~_OTHERS_WRITE)
            if not _is_empty(descriptor):  # another user was quicker: restore the mode, so that it is refused below
                os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
    os.close(open_folder(path))


def make_private(path: Path) -> None:
    """Create a folder in a trusted one if it is missing, and remove all permissions of other users from it.

    Raises:
        DataDirError: It belongs to another user.
        OSError: It cannot be created.
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
    """Write the entries of a folder to the disk, so that new names survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
