"""The command ``render``: draws models, and writes the HTML report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..checking.conformance import Result
from ..checking.relabelling import Relabelling
from ..checking.relations import Relation, RelationResult
from ..domain.frequency import Frequencies
from ..domain.impl_model import ImplModel
from ..domain.specification import Specification, registered
from ..facade import check
from ..formats.model_files import SUFFIX, paths_by_name, read_model
from ..render import DRAWN, Form, drawn_svg, form_of, written_as
from ..render.html import report
from ..render.view import View, marks_of, view_of
from ..review import cover
from ..review.deviations import deviations_in
from ..review.sidecar import read_frequencies
from ..review.taken import taken_in
from .formats import Case, Outcome, Report, ReportFormat
from .output import command, imported
from .overrides import chosen_from
from .relations import HideOption, RelationOption, RenameOption, view_from
from .sources import (
    STDOUT,
    FormatOption,
    SpecificationsOption,
    models_of,
    read_directory,
    read_source,
    write_each,
    write_target,
)


def render_models(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A model's file, MODULE:NAME, or a directory of models.")
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="The file to write, or - for stdout (with --to). Of several models: HTML, or a directory (with --to).",
        ),
    ],
    form_out: Annotated[
        Form | None, typer.Option("--to", help="html, svg, dot or mermaid. Default: what the ending of TARGET says.")
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="A data directory or a namespace's URL: the report lists its instances' deviations."
        ),
    ] = None,
    names_must_agree: Annotated[
        bool, typer.Option("--names-must-agree", help="HTML: judge by the names of states as well, as check does.")
    ] = False,
    specification: SpecificationsOption = None,
    relation: RelationOption = None,
    hide: HideOption = None,
    rename: RenameOption = None,
    form: FormatOption = ReportFormat.TEXT,
) -> None:
    """Draw a model: as a self-contained HTML report beside its specification, as SVG (by Graphviz), dot or Mermaid.

    Exits with 0, or with 2 when it cannot be done; the verdict does not change the exit code.
    """
    with command(form, "render") as output, models_of(source) as found:
        source = found or source
        options = chosen_from(specifications=specification or None)
        imported(options["specifications"])
        if target == STDOUT and form_out is None:
            raise ValueError("what is written to stdout must be named by --to")
        if form_out is None and Path(source).is_dir() and not Path(target).suffix:
            raise ValueError("what is written into a directory must be named by --to")
        chosen = form_out or form_of(Path(target))
        seen = view_from(hide, rename)
        known = {} if seen or chosen is not Form.HTML else _frequencies(source)
        if seen and data_dir is not None:
            raise ValueError("--hide and --rename cannot be given with --data-dir: its deviations have their own names")
        if relation is not None and names_must_agree:
            raise ValueError("--names-must-agree belongs to an equivalence, and --relation is given")
        models = [seen.model(model) for model in _models(source)]
        shown = _Seen(data_dir, seen, known, names_must_agree, relation)
        if chosen is not Form.HTML and _is_folder(source, target, models):
            texts = {model.specification: _drawing([model], chosen, shown) for model in models}
            paths = write_each(target, texts, chosen)
            output.report(_report(models, chosen, target, paths))
        elif write_target(output, target, _drawing(models, chosen, shown)):
            output.report(_report(models, chosen, target))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is shown of the models: a data directory, the view, frequencies by specification, and what is asked."""

    data_dir: str | None
    view: Relabelling
    frequencies: dict[str, Frequencies]
    names_must_agree: bool
    relation: Relation | None


def _is_folder(source: str, target: str, models: list[ImplModel]) -> bool:
    """Return whether each model gets a file of its own."""
    named = target != STDOUT and (Path(target).is_dir() or not Path(target).suffix)
    return len(models) > 1 or (Path(source).is_dir() and named)


def _frequencies(source: str) -> dict[str, Frequencies]:
    """Return the frequencies that lie beside model files, by specification."""
    place = Path(source)
    if not place.is_dir() and place.suffix.lower() != SUFFIX:
        return {}
    paths = paths_by_name(place) if place.is_dir() else {read_model(place).specification: place}
    found = {name: read_frequencies(path) for name, path in paths.items()}
    return {name: frequencies for name, frequencies in found.items() if frequencies is not None}


def _models(source: str) -> list[ImplModel]:
    return read_directory(Path(source)) if Path(source).is_dir() else [read_source(source)]


def _drawing(models: list[ImplModel], form: Form, seen: _Seen) -> str:
    if form is Form.HTML:
        names = ", ".join(model.specification for model in models[:3]) + (" …" if len(models) > 3 else "")
        return report([_view(model, seen) for model in models], f"Review of {names}")
    if form not in (Form.SVG, Form.DOT, Form.MERMAID):
        raise ValueError(f"{form} is no drawing; a drawing must be {', '.join((*DRAWN, Form.DOT, Form.MERMAID))}")
    cls, result = _judged(models[0], seen)
    marks = {} if cls is None or result is None else marks_of(models[0], cls, result)
    return drawn_svg(models[0], marks) if form is Form.SVG else written_as(models[0], form, marks=marks)


def _judged(model: ImplModel, seen: _Seen) -> tuple[type[Specification] | None, Result | RelationResult | None]:
    declared = registered(model.specification)
    if declared is None:
        return None, None
    cls = seen.view.specification(declared)
    if seen.relation is not None:
        return cls, check(model, cls, relation=seen.relation)
    return cls, check(model, cls, names_must_agree=seen.names_must_agree)


def _view(model: ImplModel, seen: _Seen) -> View:
    cls, result = _judged(model, seen)
    frequencies = seen.frequencies.get(model.specification)
    if seen.data_dir is None:
        return view_of(model, cls, result, frequencies=frequencies)
    extra = cover(model, cls.declaration, result).unexplained if cls is not None and isinstance(result, Result) else ()
    deviations = deviations_in(seen.data_dir, model.specification, extra)
    counted = taken_in(seen.data_dir, model.specification)
    return view_of(model, cls, result, deviations, counted if counted.instances else frequencies)


def _report(models: list[ImplModel], form: Form, target: str, paths: dict[str, str] | None = None) -> Report:
    names = [model.specification for model in models]
    written = {name: "drawn" if paths is None else f"drawn, written to {paths[name]}" for name in names}
    cases = tuple(Case(name=name, outcome=Outcome.PASSED, summary=f"{name}: {written[name]}") for name in names)
    plain = {"form": form.value, "file": target, "models": names}
    return Report(command="render", cases=cases, summary=f"{form} written to {target}", plain=plain)
