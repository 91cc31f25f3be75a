"""Judges the models in a file or directory by their specifications, with what a reviewer needs besides the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..checking.conformance import Result, Verdict
from ..checking.properties import PropertyResult
from ..checking.relabelling import Relabelling
from ..checking.relations import Holding
from ..domain.impl_model import ImplModel
from ..domain.specification import Specification, all_registered, registered
from ..errors import DeserialisationFailed, SpexError
from ..facade import check
from ..formats.model_files import paths_by_name, read_model, read_models
from .coverage import Coverage, cover
from .locating import Places, locate
from .sidecar import Changed, changed_since

AS_IT_IS = Relabelling()
Stored = tuple[str, ImplModel | DeserialisationFailed, Path]
"""A specification's name, its model or why that cannot be read, and the model's file."""
Known = Callable[[str], type[Specification] | None]
"""Finds a specification by its name."""
UNKNOWN = "no imported module has this specification; name it with --specification MODULE:NAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """The review of one model file.

    Attributes:
        specification: The specification's name.
        path: The model's file.
        model: The model; None if its file is malformed.
        result: The verdict; None if there is none, and `error` says why.
        unknown: Whether there is no verdict because no class of that name was imported.
        coverage: What the model has shown of the specification.
        changed: How the specification has changed since the model was learned; None if it has not.
        places: The places of the specification in the source.
        note: Another problem: a sidecar that cannot be read.
        line: The first wrong line of a malformed file.
        naming: A sentence about a state that has the name of another specified state, if the model is no violation and
            all its names are the specification's; None if there is no such state.
    """

    specification: str
    path: Path
    model: ImplModel | None = None
    result: Result | None = None
    error: str | None = None
    unknown: bool = False
    coverage: Coverage = field(default_factory=Coverage)
    changed: Changed | None = None
    places: Places = field(default_factory=Places)
    note: str | None = None
    line: int = 1
    naming: str | None = None

    @property
    def broken(self) -> tuple[PropertyResult, ...]:
        """Return the properties that a run of the model breaks."""
        properties = () if self.result is None else self.result.properties
        return tuple(one for one in properties if one.verdict is Holding.VIOLATION)

    @property
    def equivalent(self) -> bool:
        """Whether the model is equivalent to the specification."""
        return self.result is not None and self.result.equivalent


def review(path: Path, view: Relabelling = AS_IT_IS, *, names_must_agree: bool = False) -> list[Reviewed]:
    """Judge a model file, or all model files of a directory, by the specifications of the same names.

    Args:
        path: The file or directory.
        view: The actions of models and specifications to hide or rename first.
        names_must_agree: Whether states must have the names that the specification gives them; see `spex_shards.check`.

    Raises:
        ImplModelError: Two files are for one specification, or the directory cannot be read.
        FileNotFoundError: There is no such file or directory.
    """
    return judged(stored_models(path), view, names_must_agree=names_must_agree)


def judged(
    entries: Iterable[Stored],
    view: Relabelling = AS_IT_IS,
    *,
    names_must_agree: bool = False,
    known: Known = registered,
) -> list[Reviewed]:
    """Judge models that were read before, as `review` does.

    Args:
        entries: The models, each with the file that it came from or would be written to.
        view: The actions to hide or rename first.
        names_must_agree: Whether states must have the names that the specification gives them.
        known: Finds the specifications.
    """
    return [_review(*entry, view, known, strict=names_must_agree) for entry in entries]


def stored_models(path: Path) -> list[Stored]:
    """Return the model of a file, or all models of a directory: name, model (or why it cannot be read), and file.

    Raises:
        ImplModelError: Two files are for one specification, or the directory cannot be read.
        FileNotFoundError: There is no such file or directory.
    """
    if not path.exists():
        text = "there is no such file or directory of models; a test suite or `replay --learn` makes one"
        raise FileNotFoundError(2, text, str(path))
    if path.is_dir():
        models, malformed = read_models(path)
        found: dict[str, ImplModel | DeserialisationFailed] = {**models, **malformed}
        paths = paths_by_name(path)
        return [(name, found[name], paths.get(name, path)) for name in sorted(found)]
    try:
        model = read_model(path)
        return [(model.specification, model, path)]
    except DeserialisationFailed as error:
        return [(path.stem, error, path)]


def without_model(named: Iterable[type[Specification]], models: Iterable[str]) -> list[type[Specification]]:
    """Return the specifications that have transitions and no model, by name.

    Args:
        named: Specifications; all others of their modules are examined as well. (One made by `define` has no module of
            its own.)
        models: The names of the specifications that have a model.
    """
    asked, known = {cls.name: cls for cls in named}, set(models)
    modules = {cls.__module__ for cls in asked.values()} - {Specification.__module__}
    found = {**{name: cls for name, cls in all_registered().items() if cls.__module__ in modules}, **asked}
    return [cls for name, cls in sorted(found.items()) if name not in known and cls.transitions]


def _review(
    name: str, found: ImplModel | DeserialisationFailed, path: Path, view: Relabelling, known: Known, *, strict: bool
) -> Reviewed:
    if isinstance(found, DeserialisationFailed):
        return Reviewed(specification=name, path=_file(found, path), error=str(found), line=found.context["line"])
    cls = known(name)
    if cls is None:
        return Reviewed(specification=name, path=path, model=found, error=UNKNOWN, unknown=True)
    seen = view.model(found)
    try:
        judge = view.specification(cls)
        result = check(seen, judge, names_must_agree=strict)
    except SpexError as error:
        return Reviewed(specification=name, path=path, model=found, error=str(error))
    changed, note = None, None
    try:
        changed = changed_since(path, cls.declaration)
    except (OSError, ValueError) as error:
        note = str(error)
    return Reviewed(
        specification=name, path=path, model=seen, result=result,
        coverage=cover(seen, judge.declaration, result), changed=changed, places=_places(cls, view), note=note,
        naming=None if strict else _naming(seen, judge, result),
    )  # fmt: skip


def _places(cls: type[Specification], view: Relabelling) -> Places:
    """Return the places of the relabelled transitions; if several transitions become one, the place of the first."""
    places = locate(cls)
    listed = reversed(places.transitions.items())
    return Places(places.declared, {t._replace(action=view.action(t.action)): place for t, place in listed})


def _naming(model: ImplModel, cls: type[Specification], result: Result) -> str | None:
    """Return the sentence about a state with a wrong name, unless the verdict is about that already."""
    states = {state for t in model.transitions for state in (t.source, t.target) if state is not None}
    if result.verdict is Verdict.VIOLATION or not states <= set(cls.states):
        return None
    named = check(model, cls, names_must_agree=True)
    if named.verdict is not Verdict.VIOLATION or named.explanation is None:
        return None
    sentence = named.explanation.sentence.partition(", and names must agree")[0]
    told = result.explanation
    return None if told is not None and told.sentence.startswith(sentence.partition(":")[0]) else sentence


def _file(error: DeserialisationFailed, path: Path) -> Path:
    return Path(error.context.get("file", path))
