"""The command ``merge``: unites the models of several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..domain.impl_model import ImplModel
from ..errors import ImplModelError
from ..formats.model_files import paths_by_name, read_model, read_models, write_models
from ..review import sidecar_of
from ..review.provenance import Tests, united_tests
from ..review.sidecar import behaviour_part, read_tests, with_tests
from .formats import Case, Outcome, Report, ReportFormat
from .output import command, report
from .sources import FormatOption

Sources = dict[str, list[tuple[Path, ImplModel]]]


def merge_models(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Model files, or directories of them.")],
    target: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The directory to write to.")],
    learning: Annotated[bool, typer.Option("--learning", help="Write models that go on learning.")] = False,
    form: FormatOption = ReportFormat.TEXT,
) -> None:
    """Unite the models of each specification: the result has every transition that one of them has.

    Files in DIR that are not named as sources are not read, and are replaced. Exits with 0, or with 2 when it cannot be
    done; then nothing is written.
    """
    with command(form, "merge") as output:
        found = _read(sources)
        if not found:
            output.fail(f"there is no model in {', '.join(map(str, sources))}: no file there ends in .spex")
        merged = [
            ImplModel(
                specification=name,
                transitions=frozenset(t for _, model in models for t in model.transitions),
                learning_mode=learning,
            )
            for name, models in sorted(found.items())
        ]
        sidecars = {name: _common_sidecar(name, [path for path, _ in models]) for name, models in found.items()}
        tests = {name: _all_tests([path for path, _ in models]) for name, models in found.items()}
        written = write_models(target, merged)
        for model, path in zip(merged, written, strict=True):
            _put_sidecar(path, sidecars[model.specification], tests[model.specification])
        output.report(_report(found, merged, written))


def _read(sources: list[Path]) -> Sources:
    found: Sources = {}
    for source in sources:
        if not source.exists():
            raise FileNotFoundError(2, "there is no such file or directory of models", str(source))
        if source.is_dir():
            models, malformed = read_models(source)
            if malformed:
                raise ImplModelError(f"{next(iter(malformed.values()))} (nothing was written)")
            paths = paths_by_name(source)
            listed = [(paths[name], model) for name, model in models.items()]
        else:
            listed = [(source, read_model(source))]
        for path, model in listed:
            found.setdefault(model.specification, []).append((path, model))
    return found


def _common_sidecar(name: str, paths: list[Path]) -> bytes | None:
    """Return the sidecar that all models of a name share; None if they differ, as it would be wrong for the whole.

    Frequencies are left out: whether the models were learned from different instances is not known. Tests are united.
    """
    sidecars = map(sidecar_of, paths)
    texts = {behaviour_part(path.read_bytes()) if path.exists() else None for path in sidecars}
    if len(texts) == 1:
        return texts.pop()
    report(f"the models of {name} were learned with different specifications, or it is not known which")
    return None


def _all_tests(paths: list[Path]) -> Tests:
    tests: Tests = {}
    for path in paths:
        try:
            tests = united_tests(tests, read_tests(path))
        except ValueError:
            continue  # it is copied as it is, if all are the same
    return tests


def _put_sidecar(path: Path, content: bytes | None, tests: Tests) -> None:
    sidecar = sidecar_of(path)
    if content is None:
        sidecar.unlink(missing_ok=True)
    else:
        sidecar.write_bytes(with_tests(content, tests) if tests else content)


def _report(found: Sources, merged: list[ImplModel], written: list[Path]) -> Report:
    cases, plain = [], []
    for model, path in zip(merged, written, strict=True):
        name, size = model.specification, len(model.transitions)
        sizes = [len(one.transitions) for _, one in found[name]]
        shown = f"{' + '.join(map(str, sizes))} → {size} transitions"
        cases.append(Case(name=name, outcome=Outcome.PASSED, summary=f"{name}: {shown}, written to {path}"))
        plain.append({"specification": name, "transitions": size, "of": sizes, "file": str(path)})
    number = len(merged)
    summary = f"{number} {'model' if number == 1 else 'models'} written"
    return Report(command="merge", cases=tuple(cases), summary=summary, plain={"models": plain})
