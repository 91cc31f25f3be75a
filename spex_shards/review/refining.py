"""Compares the models in a file or directory with their specifications by a relation, such as trace inclusion."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..checking.relabelling import Relabelling
from ..checking.relations import Holding, Relation, RelationResult
from ..domain.impl_model import ImplModel
from ..domain.specification import registered
from ..errors import DeserialisationFailed
from ..facade import check
from .findings import Finding, Level, Rule
from .judging import AS_IT_IS, UNKNOWN, Known, Stored, stored_models
from .locating import Place, Places, locate

MEANING = {
    Holding.HOLDS: "the relation holds",
    Holding.INCOMPLETE: "the model stops where the specification goes on; nothing was seen that is forbidden",
    Holding.VIOLATION: "something was seen that is not allowed",
    Holding.UNDECIDED: "it was not found out with bounded memory",
}
RULES = {Holding.INCOMPLETE: Rule.INCOMPLETE, Holding.VIOLATION: Rule.VIOLATION, Holding.UNDECIDED: Rule.NO_VERDICT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refined:
    """The comparison of one model file.

    Attributes:
        specification: The specification's name.
        path: The model's file.
        model: The model as it was compared; None if its file is malformed.
        result: The answer; None if there is none, and `error` says why.
        unknown: Whether there is no answer because no class of that name was imported.
        places: The places of the specification in the source.
        line: The first wrong line of a malformed file.
    """

    specification: str
    path: Path
    model: ImplModel | None = None
    result: RelationResult | None = None
    error: str | None = None
    unknown: bool = False
    places: Places = field(default_factory=Places)
    line: int = 1

    @property
    def holds(self) -> bool:
        """Whether the relation holds."""
        return self.result is not None and self.result.holds

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings; none if the relation holds."""
        name, file = self.specification, Place(str(self.path), self.line)
        if self.result is None:
            rule = Rule.UNKNOWN if self.unknown else Rule.MALFORMED if self.model is None else Rule.NO_VERDICT
            return (Finding(rule, Level.ERROR, name, f"{name}: {self.error}", file),)
        if self.holds:
            return ()
        verdict, why = self.result.verdict, self.result.counterexample
        text = f"{name}: {self.result.relation}: {verdict.value}: {MEANING[verdict]}"
        text = text if why is None else f"{text}\n{why.text}"
        return (Finding(RULES[verdict], Level.ERROR, name, text, self.places.declared or file),)


def refine(path: Path, relation: Relation, view: Relabelling) -> list[Refined]:
    """Compare a model file, or all model files of a directory, with the specifications of the same names.

    Args:
        path: The file or directory.
        relation: The relation.
        view: The actions of models and specifications to hide or rename first.

    Raises:
        ImplModelError: Two files are for one specification, or the directory cannot be read.
        FileNotFoundError: There is no such file or directory.
    """
    return related(stored_models(path), relation, view)


def related(
    entries: Iterable[Stored], relation: Relation, view: Relabelling = AS_IT_IS, *, known: Known = registered
) -> list[Refined]:
    """Compare models that were read before, as `refine` does; `known` finds the specifications."""
    return [_refine(*entry, relation, view, known) for entry in entries]


def _refine(
    name: str,
    found: ImplModel | DeserialisationFailed,
    path: Path,
    relation: Relation,
    view: Relabelling,
    known: Known,
) -> Refined:
    if isinstance(found, DeserialisationFailed):
        file = Path(found.context.get("file", path))
        return Refined(specification=name, path=file, error=str(found), line=found.context["line"])
    cls, seen = known(name), view.model(found)
    if cls is None:
        return Refined(specification=name, path=path, model=seen, error=UNKNOWN, unknown=True)
    try:
        result = check(seen, view.specification(cls), relation=relation)
    except ValueError as error:
        return Refined(specification=name, path=path, model=seen, error=str(error))
    return Refined(specification=name, path=path, model=seen, result=result, places=locate(cls))
