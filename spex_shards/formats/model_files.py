"""The directory of model files: reads all of them, and replaces one atomically.

A model file's name ends in ``.spex`` and has no leading dot; all other files in the directory are ignored. The header
of a file, not its name, says which specification the model belongs to. A model is written back to the file that it came
from.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from ..domain.impl_model import ImplModel
from ..errors import DeserialisationFailed, ImplModelError
from .spex_text import specification_named_in

SUFFIX: Final = ".spex"
MAX_FILE_BYTES: Final = 256 * 1024 * 1024
MAX_NAME_BYTES: Final = 200
_HEAD_BYTES: Final = 64 * 1024  # the first line of the header lies within this many bytes


class ModelFiles(NamedTuple):
    """The models of a directory and the errors of its malformed files, by specification name; no name is in both."""

    models: dict[str, ImplModel]
    malformed: dict[str, DeserialisationFailed]


def read_models(directory: Path) -> ModelFiles:
    """Read all model files of a directory; a missing directory has none. Nothing is written.

    A file that is malformed or cannot be read does not affect the others. Its error names the file; context: `file`,
    `line`. The error belongs to the specification that the header names; if the header cannot be read either, to the
    one that the file is named after.

    Raises:
        ImplModelError: Two files belong to one specification (context: `files`), or the directory cannot be read.
    """
    models: dict[str, ImplModel] = {}
    malformed: dict[str, DeserialisationFailed] = {}
    owners: dict[str, Path] = {}
    for path in _model_paths(directory):
        name, model = _read(path)
        if name is None:
            name = _sound(path.stem)
        elif name in owners:
            raise ImplModelError(
                f"two files are models of {name}: {owners[name]} and {path}; remove one of them",
                files=(str(owners[name]), str(path)),
            )
        else:
            owners[name] = path
        if isinstance(model, ImplModel):
            models[name] = model
        else:
            malformed[name] = model
    return ModelFiles({name: model for name, model in models.items() if name not in malformed}, malformed)


def read_model(path: Path) -> ImplModel:
    """Read one model file.

    Raises:
        DeserialisationFailed: It is malformed or cannot be read. Context: `file`, `line`.
    """
    model = _read(path)[1]
    if isinstance(model, ImplModel):
        return model
    raise model


def write_model(directory: Path, model: ImplModel) -> Path:
    """Write a model to its file, or to ``NAME.spex`` if it has no file yet; return the path.

    The file is replaced atomically and durably: it always has either the old or the new content, and the new content is
    on the disk when this returns. A missing directory is created.

    Raises:
        ImplModelError: The specification's name cannot be a file name, or cannot be written.
        OSError: The file cannot be written; a note names it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    return _write(directory, model, paths_by_name(directory))


def write_models(directory: Path, models: Iterable[ImplModel]) -> list[Path]:
    """Write several models, each as `write_model` does; return their paths.

    Raises:
        ExceptionGroup: The errors of all models that could not be written; the others have been written.
        OSError: The directory cannot be created or read.
    """
    directory.mkdir(parents=True, exist_ok=True)
    places = paths_by_name(directory)
    written: list[Path] = []
    errors: list[Exception] = []
    for model in models:
        try:
            written.append(_write(directory, model, places))
        except (OSError, ImplModelError) as error:
            errors.append(error)
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {len(errors) + len(written)} models could not be written", errors)
    return written


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other processes that use this function out of a directory of models, during a block; no file is made.

    Blocks until the others have left. A missing directory is created.

    Raises:
        OSError: The directory cannot be created or opened.
    """
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:  # a file system on a network may lock no directory
        os.close(descriptor)
        name = hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:32]
        descriptor = os.open(
            Path(tempfile.gettempdir()) / f"spex-shards-{os.getuid()}-{name}.lock", os.O_RDWR | os.O_CREAT, 0o600
        )
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def file_name(specification: str) -> str:
    """Return the name of a specification's model file.

    Raises:
        ImplModelError: The specification's name cannot be a file name.
    """
    size = len(specification.encode(errors="replace"))
    if not 1 <= size <= MAX_NAME_BYTES or specification.startswith(".") or not {"/", "\0"}.isdisjoint(specification):
        raise ImplModelError(
            f"a name of a model file must have 1 to {MAX_NAME_BYTES} bytes, no leading dot, no slash and no NUL, "
            f"got: {specification!r}"
        )
    return specification + SUFFIX


def _model_paths(directory: Path) -> list[Path]:
    try:
        return list(_spex_files(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ImplModelError(f"the directory of models {directory} cannot be read: {error.strerror}") from error


def _spex_files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.name.endswith(SUFFIX) and not path.name.startswith(".") and not path.is_dir():
            yield path


def _read(path: Path) -> tuple[str | None, ImplModel | DeserialisationFailed]:
    """Return the specification's name from a file's header (None: unreadable), and the model or the error."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return None, _error(path, 1, f"the file cannot be read: {error.strerror}")
    if len(raw) > MAX_FILE_BYTES:
        return _name_in(raw), _error(path, 1, f"the file is larger than {MAX_FILE_BYTES} bytes")
    try:
        model = ImplModel.deserialise(raw.decode())
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return _name_in(raw), _error(path, line, f"line {line}: the file must be UTF-8; {error.reason}")
    except DeserialisationFailed as error:
        return _name_in(raw), _error(path, error.context["line"], error.message)
    return model.specification, model


def _error(path: Path, line: int, rule: str) -> DeserialisationFailed:
    shown = _sound(str(path))
    return DeserialisationFailed(f"{shown}: {rule}", file=shown, line=line)


def _sound(text: str) -> str:
    """Return a part of a path as text that can be sent and stored, even if the file's name is not UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def _name_in(raw: bytes) -> str | None:
    """Return the specification's name if the header's first line is valid, whatever follows it."""
    line = raw[:_HEAD_BYTES].lstrip().partition(b"\n")[0]
    try:
        return specification_named_in(line.decode())
    except UnicodeDecodeError:
        return None


def paths_by_name(directory: Path) -> dict[str, Path]:
    """Return specification name → file for a directory, read from the files' first lines."""
    places: dict[str, Path] = {}
    for path in _spex_files(directory):
        try:
            with path.open("rb") as file:
                name = _name_in(file.read(_HEAD_BYTES))
        except OSError:
            continue  # an unreadable file has no name; an attempt to write it will raise the reason
        if name is not None:
            places.setdefault(name, path)
    return places


def _write(directory: Path, model: ImplModel, places: dict[str, Path]) -> Path:
    path = directory / file_name(model.specification)
    path = places.get(model.specification, path)
    taken = next((name for name, place in places.items() if place == path and name != model.specification), None)
    if taken is not None:
        raise ImplModelError(
            f"{path} holds the model of {taken!r}: rename it, or {model.specification!r} cannot be saved"
        )
    try:
        content = model.serialise().encode()
    except ValueError as error:
        raise ImplModelError(f"the model of {model.specification!r} cannot be written: {error}") from error
    replace_file(path, content)
    return path


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file's content atomically and durably: it always has either the old or the new content.

    Raises:
        OSError: It cannot be written; names the file.
    """
    # If the temporary file is left behind, it is not read as a model: it is hidden and does not end in .spex.
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error  # not that of the other file
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
