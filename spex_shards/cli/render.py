"""The command ``render``: draws models, and writes the HTML report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..checking.conformance import Result
from ..checking.relabelling import Relabelling
from ..domain.frequency import Frequencies
from ..domain.impl_model import ImplModel
from ..domain.specification import Specification, registered
from ..errors import ImplModelError
from ..facade import check
from ..formats.model_files import SUFFIX, paths_by_name, read_model, read_models
from ..manager.options import UNSET
from ..manager.settings import options_from
from ..render import DRAWN, Form, drawn_svg, form_of, written_as
from ..render.html import report
from ..render.view import View, marks_of, view_of
from ..review import cover
from ..review.deviations import deviations_in
from ..review.sidecar import read_frequencies
from ..review.taken import taken_in
from .formats import Case, Outcome, Report, ReportFormat
from .output import command, imported
from .relations import HideOption, RenameOption, view_from
from .sources import STDOUT, FormatOption, SpecificationsOption, read_source, write_target


def render_models(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A model's file, MODULE:NAME, or (for HTML) a directory of models.")
    ],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The file to write, or - for stdout (with --to).")],
    form_out: Annotated[
        Form | None, typer.Option("--to", help="html, svg, dot or mermaid. Default: what the ending of TARGET says.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="A data directory: the report lists its instances' deviations.")
    ] = None,
    names_must_agree: Annotated[
        bool, typer.Option("--names-must-agree", help="HTML: judge by the names of states as well, as check does.")
    ] = False,
    specification: SpecificationsOption = None,
    hide: HideOption = None,
    rename: RenameOption = None,
    form: FormatOption = ReportFormat.TEXT,
) -> None:
    """Draw a model: as a self-contained HTML report beside its specification, as SVG (by Graphviz), dot or Mermaid.

    Exits with 0, or with 2 when it cannot be done; the verdict does not change the exit code.
    """
    with command(form, "render") as output:
        options = options_from({"specifications": specification or UNSET})
        imported(options["specifications"])
        if target == STDOUT and form_out is None:
            raise ValueError("what is written to stdout must be named by --to")
        chosen = form_out or form_of(Path(target))
        seen = view_from(hide, rename)
        known = {} if seen or chosen is not Form.HTML else _frequencies(source)
        if seen and data_dir is not None:
            raise ValueError("--hide and --rename cannot be given with --data-dir: its deviations have their own names")
        models = [seen.model(model) for model in _models(source)]
        if not models:
            output.fail(f"there is no model in {source}: no file there ends in .spex")
        if write_target(output, target, _drawing(models, chosen, _Seen(data_dir, seen, known, names_must_agree))):
            output.report(_report(models, chosen, target))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is shown of the models: a data directory, the view, frequencies by specification, and how names count."""

    data_dir: Path | None
    view: Relabelling
    frequencies: dict[str, Frequencies]
    names_must_agree: bool


def _frequencies(source: str) -> dict[str, Frequencies]:
    """Return the frequencies that lie beside model files, by specification."""
    place = Path(source)
    if not place.is_dir() and place.suffix.lower() != SUFFIX:
        return {}
    paths = paths_by_name(place) if place.is_dir() else {read_model(place).specification: place}
    found = {name: read_frequencies(path) for name, path in paths.items()}
    return {name: frequencies for name, frequencies in found.items() if frequencies is not None}


def _models(source: str) -> list[ImplModel]:
    if not Path(source).is_dir():
        return [read_source(source)]
    models, malformed = read_models(Path(source))
    if malformed:
        raise ImplModelError(str(next(iter(malformed.values()))))
    return [model for _, model in sorted(models.items())]


def _drawing(models: list[ImplModel], form: Form, seen: _Seen) -> str:
    if form is Form.HTML:
        names = ", ".join(model.specification for model in models[:3]) + (" …" if len(models) > 3 else "")
        return report([_view(model, seen) for model in models], f"Review of {names}")
    if len(models) > 1:
        raise ValueError(f"only HTML can show {len(models)} models; name one model's file")
    if form not in (Form.SVG, Form.DOT, Form.MERMAID):
        raise ValueError(f"{form} is no drawing; a drawing must be {', '.join((*DRAWN, Form.DOT, Form.MERMAID))}")
    cls, result = _judged(models[0], seen)
    marks = {} if cls is None or result is None else marks_of(models[0], cls, result)
    return drawn_svg(models[0], marks) if form is Form.SVG else written_as(models[0], form, marks=marks)


def _judged(model: ImplModel, seen: _Seen) -> tuple[type[Specification] | None, Result | None]:
    declared = registered(model.specification)
    if declared is None:
        return None, None
    cls = seen.view.specification(declared)
    return cls, check(model, cls, names_must_agree=seen.names_must_agree)


def _view(model: ImplModel, seen: _Seen) -> View:
    cls, result = _judged(model, seen)
    frequencies = seen.frequencies.get(model.specification)
    if seen.data_dir is None:
        return view_of(model, cls, result, frequencies=frequencies)
    extra = cover(model, cls.declaration, result).unexplained if cls is not None and result is not None else ()
    deviations = deviations_in(seen.data_dir, model.specification, extra)
    counted = taken_in(seen.data_dir, model.specification)
    return view_of(model, cls, result, deviations, counted if counted.instances else frequencies)


def _report(models: list[ImplModel], form: Form, target: str) -> Report:
    cases = tuple(
        Case(name=model.specification, outcome=Outcome.PASSED, summary=f"{model.specification}: drawn")
        for model in models
    )
    plain = {"form": form.value, "file": target, "models": [model.specification for model in models]}
    return Report(command="render", cases=cases, summary=f"{form} written to {target}", plain=plain)
