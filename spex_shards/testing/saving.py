"""Merges what a test run has learned into the committed model files, and says what is new in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..domain.declaration import Declaration
from ..domain.difference import in_order
from ..domain.impl_model import ImplModel
from ..domain.transition import Transition
from ..errors import DeserialisationFailed
from ..formats.model_files import locked, paths_by_name, read_models, write_models
from ..review.provenance import united_tests
from ..review.sidecar import read_tests, write_sidecar

Shown = Mapping[str, Mapping[Transition, Collection[str]]]
"""Specification → transition → the tests that showed it, in the order in which they did."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What a test run has learned.

    Attributes:
        transitions: Specification → its transitions.
        declarations: The specifications that the run used; their sidecars are written.
        shown: Which tests showed them; empty: not known.
        ran: The tests of a complete run; None: it was partial, or this is not known.
    """

    transitions: Mapping[str, Collection[Transition]]
    declarations: Mapping[str, Declaration] = field(default_factory=dict)
    shown: Shown = field(default_factory=dict)
    ran: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class Union:
    """The committed models, united with what was learned.

    Attributes:
        models: All models by specification, with learning off; none of a malformed file.
        committed: The models as they are in the files.
        malformed: The errors of files that could not be read.
        paths: The files of models that have one.
    """

    models: Mapping[str, ImplModel]
    committed: Mapping[str, ImplModel]
    malformed: Mapping[str, DeserialisationFailed]
    paths: Mapping[str, Path]

    def added(self, name: str) -> tuple[Transition, ...]:
        """Return the transitions that a committed model does not have yet, in order."""
        before = self.committed.get(name)
        after = self.models.get(name)
        known = frozenset() if before is None else before.transitions
        return () if after is None else in_order(after.transitions - known)


def unite(folder: Path, learned: Learned) -> Union:
    """Return the models of a folder, united with what was learned; nothing is written.

    Raises:
        ImplModelError: There are two files for one specification, or the folder cannot be read.
    """
    committed, malformed = read_models(folder)
    united = {name: set(model.transitions) for name, model in committed.items()}
    for name, transitions in learned.transitions.items():
        if name not in malformed:
            united.setdefault(name, set()).update(transitions)
    models = {name: ImplModel(specification=name, transitions=frozenset(t)) for name, t in sorted(united.items())}
    return Union(models, committed, malformed, paths_by_name(folder) if folder.is_dir() else {})


def save(folder: Path, learned: Learned) -> Union:
    """Merge what was learned into the model files, with learning off; transitions are added and never removed.

    Parts of a suite that run at the same time do not lose each other's models. Files whose content stays the same are
    not touched.

    Returns:
        The union; `committed` is what the files had before.

    Raises:
        ImplModelError: There are two files for one specification.
        ExceptionGroup: The errors of models that could not be saved; the others were.
        OSError: The folder cannot be created, or a sidecar cannot be written.
    """
    with locked(folder):
        union = unite(folder, learned)
        write_models(folder, [model for name, model in union.models.items() if model != union.committed.get(name)])
        for name, path in paths_by_name(folder).items():
            if name in learned.declarations and name in union.models:
                _note(path, union.models[name], learned)
        return union


def _note(path: Path, model: ImplModel, learned: Learned) -> None:
    try:
        known = read_tests(path)
    except ValueError:
        known = {}
    tests = united_tests(known, learned.shown.get(model.specification, {}), ran=learned.ran)
    kept = {transition: names for transition, names in tests.items() if transition in model.transitions}
    write_sidecar(path, learned.declarations[model.specification], kept)
