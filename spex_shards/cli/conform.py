"""The command ``conform``: the cases of an event log, checked against a specification."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..checking.alignment import Move, MoveKind, NoCompleteRun
from ..checking.relabelling import Relabelling
from ..domain.difference import one_line
from ..domain.specification import Specification
from ..domain.transition import INTERNAL
from ..event_log import Conformance, EventLog, LogError, PartingGroup, Variant, conform
from ..formats.model_files import replace_file
from ..formats.notebook import counted
from ..render.variants import figure, page, percent
from .logs import ActionOption, CaseOption, LogArgument, StateOption, TimestampOption, attributes_of, read_events
from .output import Format, Output, command, imported
from .progress import bar
from .relations import HideOption, RenameOption, view_from

NOT_ALLOWED = 1
MOST_LINES = 10
"""So many partings and variants are listed in a text; JSON has all."""
MOST_NAMES = 6
"""So many states, and so many allowed actions, are listed for a parting."""
MOST_MOVES = 16
"""So many moves of a variant are listed."""
_SIGNS = {MoveKind.SAME: "", MoveKind.MISSING: "+", MoveKind.SURPLUS: "-"}


def conform_log(
    log: LogArgument,
    specification: Annotated[str, typer.Option(metavar="MODULE:NAME", help="What the cases should do.")],
    case: CaseOption = None,
    action: ActionOption = None,
    state: StateOption = None,
    timestamp: TimestampOption = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="A case must end in a terminal state. Default: it may end anywhere.")
    ] = False,
    hide: HideOption = None,
    rename: RenameOption = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the variants, with their alignments, as an HTML page.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How to write the result.")] = Format.TEXT,
) -> None:
    """Check which cases of an event log a specification allows, where the others part, and how well both fit.

    NAMES are attributes of the log, as for replay; the state is read and not judged. Exits with 0 when all cases are
    allowed, with 1 when some are not, and with 2 when it could not be done.
    """
    with command(form) as output:
        _check_report(report)
        cls, view = imported([specification])[0], view_from(hide, rename)
        read = read_events(log, attributes_of(log, case=case, action=action, state=state, timestamp=timestamp))
        if not read.cases:
            raise LogError(f"{log}: a log must have a case to be checked, and there is none")
        found = _conform(log, read, cls, view, complete=complete)
        if report is not None:
            replace_file(report, page(found, f"Cases of {log.name}").encode())
        _finish(output, found, report)


def _check_report(report: Path | None) -> None:
    """Refuse a place that cannot be written to before anything long is done."""
    if report is None:
        return
    if report.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--report must be a file that ends in .html, got: {str(report)!r}")
    if not report.parent.is_dir():
        raise ValueError(f"--report must be in a folder that is there, got: {str(report)!r}")


def _conform(path: Path, log: EventLog, cls: type[Specification], view: Relabelling, *, complete: bool) -> Conformance:
    hidden = [action for action, name in view.names.items() if name == INTERNAL]
    renamed = {action: name for action, name in view.names.items() if name != INTERNAL}
    with bar("aligning", 0, counts=True) as step:
        try:
            return conform(log, cls, complete=complete, hide=hidden, rename=renamed, progress=step.of)
        except NoCompleteRun as error:
            raise ValueError(f"--complete: {error}") from None
        except LogError as error:
            raise LogError(f"{path}: {error}") from None


def _finish(output: Output, found: Conformance, report: Path | None) -> None:
    lines = [*_headline(found), *_partings(found), *_variants(found)]
    lines += [f"written to {report}"] if report is not None else []
    plain = found.plain() | ({} if report is None else {"report": str(report)})
    output.write("\n".join(lines), plain)
    raise typer.Exit(0 if found.conforms else NOT_ALLOWED)


def _headline(found: Conformance) -> list[str]:
    share = percent(found.allowed, found.cases)
    fitting = sum(variant.allowed for variant in found.variants)
    of_all = f"{found.allowed} of {counted(found.cases, 'case')} allowed ({share})"
    fitness = f"fitness {figure(found.trace_fitness)} (mean of cases), {figure(found.log_fitness)} (whole log)"
    return [
        f"{found.specification}: {of_all}, {fitting} of {counted(len(found.variants), 'variant')}",
        f"  {fitness}; precision {figure(found.precision.ratio)}",
    ]


def _partings(found: Conformance) -> list[str]:
    if not found.partings:
        return []
    lines = [f"  {_parting(group)}" for group in found.partings[:MOST_LINES]]
    return ["where cases part:", *lines, *_more(len(found.partings), "place")]


def _parting(group: PartingGroup) -> str:
    what = "ends" if group.action is None else one_line(group.action)
    place = f"after step {group.at}" if group.action is None else f"step {group.at + 1}"
    states = _listed([one_line(state) for state in group.possible])
    allowed = _listed(list(dict.fromkeys(one_line(step.action) for step in group.allowed))) or "nothing more"
    return (
        f"{counted(group.cases, 'case')}: {what} in {states}, where {allowed} is specified; "
        f"case {one_line(group.example)}, {place}"
    )


def _listed(names: list[str]) -> str:
    """Return names as a list of alternatives, a long one cut."""
    if len(names) > MOST_NAMES:
        return f"{', '.join(names[:MOST_NAMES])} or {len(names) - MOST_NAMES} more"
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _variants(found: Conformance) -> list[str]:
    lines = [f"  {_variant(variant, found.cases)}" for variant in found.variants[:MOST_LINES]]
    edited = any(not variant.allowed for variant in found.variants[:MOST_LINES])
    legend = " (+ is missing, - is too much)" if edited else ""
    return [f"variants{legend}:", *lines, *_more(len(found.variants), "variant")]


def _variant(variant: Variant, cases: int) -> str:
    count = len(variant.cases)
    verdict = "allowed" if variant.allowed else counted(variant.alignment.cost, "edit")
    return f"{counted(count, 'case')} ({percent(count, cases)}), {verdict}: {_line(variant)}"


def _line(variant: Variant) -> str:
    """Return the moves in one line; of a long one those at its beginning, and those around edits."""
    moves = [move for move in variant.alignment.moves if move.kind is not MoveKind.SILENT]
    if not moves:
        return "no step"
    edits = [place for place, move in enumerate(moves) if move.kind is not MoveKind.SAME]
    near = sorted({place + one for place in edits for one in (-1, 0, 1) if 0 <= place + one < len(moves)})[:MOST_MOVES]
    shown = sorted({*near, *range(min(MOST_MOVES - len(near), len(moves)))})
    parts, last = [], -1
    for place in shown:
        parts += [f"… {place - last - 1} more …"] if place > last + 1 else []
        parts.append(_move(moves[place]))
        last = place
    return ", ".join([*parts, *([f"… {len(moves) - 1 - last} more"] if last < len(moves) - 1 else [])])


def _move(move: Move) -> str:
    return _SIGNS[move.kind] + one_line(move.action)


def _more(number: int, noun: str) -> list[str]:
    return [f"  and {counted(number - MOST_LINES, f'more {noun}')}"] if number > MOST_LINES else []
