"""The findings of a review, each with a rule, a level and a place in a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from ..checking.conformance import Result, Verdict
from ..domain.difference import one_line, shown
from ..domain.specification import Specification
from ..domain.transition import INTERNAL
from .locating import Place, locate

if TYPE_CHECKING:
    from ..checking.unseen import Unseen
    from .coverage import Coverage
    from .judging import Reviewed

EQUIVALENT: Final = "what was seen is what is specified"


class Level(StrEnum):
    """The severity of a finding."""

    ERROR = "error"
    WARNING = "warning"


class Rule(StrEnum):
    """The kinds of findings; the value is the rule's name in every output format."""

    VIOLATION = "violation"
    INCOMPLETE = "incomplete"
    UNCOVERED = "uncovered-transition"
    PROPERTY = "property"
    MALFORMED = "malformed-model"
    NO_VERDICT = "no-verdict"
    UNKNOWN = "model-without-specification"
    NO_MODEL = "specification-without-model"
    CHANGED = "specification-changed"
    SIDECAR = "malformed-sidecar"
    DIFFERENT = "model-changed"


DESCRIPTIONS = {
    Rule.VIOLATION: "Something was seen that no later observation can repair; the first sentence names the cause.",
    Rule.INCOMPLETE: "Nothing wrong was seen, but not everything that is specified.",
    Rule.PROPERTY: "A property of runs does not hold for the model.",
    Rule.UNCOVERED: "A transition of the specification was not seen.",
    Rule.MALFORMED: "A model file cannot be read.",
    Rule.NO_VERDICT: "A model could not be judged.",
    Rule.UNKNOWN: "There is a model, and no imported module has its specification.",
    Rule.NO_MODEL: "There is a specification, and no model of it.",
    Rule.CHANGED: "The specification has changed since the model was learned.",
    Rule.SIDECAR: "The note about what a model was learned with cannot be read.",
    Rule.DIFFERENT: "A model has transitions that an older one has not, or the other way round.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; `place` is None if there is no file to point at."""

    rule: Rule
    level: Level
    specification: str
    text: str
    place: Place | None = None


def meaning(result: Result) -> str:
    """Return a verdict in words; if the model is not equivalent, the sentence that names the cause."""
    doubt = "" if result.decided else " (It may be a violation: that was not found out.)"
    return f"{EQUIVALENT if result.explanation is None else result.explanation.sentence}{doubt}"


def reasons(result: Result) -> tuple[str, ...]:
    """Return the lines that follow the sentence of `meaning`: the evidence, and what to do."""
    return () if result.explanation is None else result.explanation.reasons[1:]


def not_seen(coverage: Coverage) -> list[str]:
    """Return the missing transitions and unseen actions of a model, as one text each."""
    return [*map(shown, coverage.missing), *(f"{_deed(one)} in {one_line(str(one.state))}" for one in coverage.unseen)]


def _deed(one: Unseen) -> str:
    return "a silent step" if one.action == INTERNAL else one_line(one.action)


def findings_of(reviewed: Reviewed) -> list[Finding]:
    """Return the findings about one model, errors first; without a place in the source, at the place of its file."""
    file = Place(str(reviewed.path), 1)
    found = [finding if finding.place is not None else replace(finding, place=file) for finding in _found(reviewed)]
    return sorted(found, key=lambda finding: finding.level is not Level.ERROR)


def no_model(cls: type[Specification]) -> Finding:
    """Return the finding that a specification has no model."""
    text = f"{cls.name}: there is no model of this specification: none of it was seen"
    return Finding(Rule.NO_MODEL, Level.WARNING, cls.name, text, locate(cls).declared)


def _found(one: Reviewed) -> Iterator[Finding]:
    name = one.specification
    if one.changed is not None:
        yield Finding(Rule.CHANGED, Level.WARNING, name, f"{name}: {one.changed}", one.places.declared)
    if one.note is not None:
        yield Finding(Rule.SIDECAR, Level.WARNING, name, f"{name}: {one.note}", Place(str(one.path), 1))
    if one.result is None:
        rule = Rule.UNKNOWN if one.unknown else Rule.MALFORMED if one.model is None else Rule.NO_VERDICT
        yield Finding(rule, Level.ERROR, name, f"{name}: {one.error}", Place(str(one.path), one.line))
    elif not one.result.equivalent:
        violated = one.result.verdict is Verdict.VIOLATION
        explanation = one.result.explanation
        more = [] if explanation is None else explanation.text.splitlines()[1:]
        text = "\n".join([f"{name}: {one.result.verdict.value}: {meaning(one.result)}", *more])
        place = one.places.of(None if explanation is None else explanation.specified)
        yield Finding(Rule.VIOLATION if violated else Rule.INCOMPLETE, Level.ERROR, name, text, place)
    for decided in () if one.result is None else one.result.properties:
        if not decided.holds:
            level = Level.ERROR if decided in one.broken else Level.WARNING
            yield Finding(Rule.PROPERTY, level, name, f"{name}: {decided.text}", one.places.declared)
    for transition in one.coverage.missing:
        text = f"{name}: {shown(transition)} was not seen"
        yield Finding(Rule.UNCOVERED, Level.WARNING, name, text, one.places.of(transition))
    for unseen in one.coverage.unseen:
        text = f"{name}: {_deed(unseen)} was not seen in {one_line(str(unseen.state))}"
        yield Finding(Rule.UNCOVERED, Level.WARNING, name, text, one.places.declared)
