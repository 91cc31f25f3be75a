"""The command ``suggest``: lists the runs that would show what no test has shown yet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from ..checking.suggesting import Suggestion, suggest
from ..domain.declaration import Declaration
from ..domain.difference import one_line, shown
from ..domain.specification import registered
from ..domain.transition import Transition
from ..review import cover, review, without_model
from .formats import Case, Outcome, Report, ReportFormat
from .output import command, imported
from .overrides import chosen_from
from .sources import FormatOption, SpecificationsOption


def suggest_tests(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH", help="A model file, or a directory of them. Default: the option impl_models_dir."
        ),
    ] = None,
    specification: SpecificationsOption = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Take every transition, and tell its target from all other states.")
    ] = False,
    skeletons: Annotated[bool, typer.Option("--pytest", help="Write tests to be filled in, to stdout.")] = False,
    form: FormatOption = ReportFormat.TEXT,
) -> None:
    """Suggest tests: shortest sequences of actions that would show what models have not shown of their specifications.

    Exits with 0, or with 2 when it cannot be done.
    """
    with command(form, "suggest") as output:
        options = chosen_from(specifications=specification or None, impl_models_dir=path)
        named = imported(options["specifications"])
        place = Path(options["impl_models_dir"])
        found = _suggested(place, named, thorough=thorough)
        if not found:
            output.fail(f"there is no model in {place} whose specification is known, and no specification was named")
        if skeletons:
            output.text(_skeletons(found))
        else:
            output.report(_report(found))


def _suggested(place: Path, named: tuple[Any, ...], *, thorough: bool) -> dict[str, list[Suggestion]]:
    if not place.exists() and not named:
        what = "there is no such file or directory of models, and no specification was named"
        raise FileNotFoundError(2, what, str(place))
    reviewed = review(place) if place.exists() else []
    found: dict[str, list[Suggestion]] = {}
    for one in reviewed:
        cls = registered(one.specification)
        if cls is not None and one.result is not None and one.model is not None:
            missing = cover(one.model, cls.declaration, one.result).missing
            found[cls.name] = _for(cls.declaration, missing, thorough=thorough)
    for cls in without_model(() if place.is_file() else named, [one.specification for one in reviewed]):
        found[cls.name] = _for(cls.declaration, cls.transitions, thorough=thorough)
    return found


def _for(declaration: Declaration, missing: tuple[Transition, ...], *, thorough: bool) -> list[Suggestion]:
    if declaration.lts is None:
        return []
    try:
        return suggest(declaration.lts, missing, thorough=thorough)
    except ValueError as error:
        raise ValueError(f"{declaration.name}: {error}") from None


def _report(found: dict[str, list[Suggestion]]) -> Report:
    cases = []
    for name, listed in found.items():
        count = f"{len(listed)} {'run' if len(listed) == 1 else 'runs'}"
        details = [", ".join(map(one_line, one.actions)) + _what(one) for one in listed]
        summary = f"{name}: {count} suggested" if listed else f"{name}: nothing is missing"
        cases.append(Case(name=name, outcome=Outcome.PASSED, summary=summary, details=tuple(details)))
    total = sum(map(len, found.values()))
    plain = {
        "suggestions": [
            {
                "specification": name,
                "actions": list(one.actions),
                "run": [list(step) for step in one.run],
                "shows": [list(step) for step in one.shows],
            }
            for name, listed in found.items()
            for one in listed
        ]
    }
    summary = f"{total} {'run' if total == 1 else 'runs'} suggested"
    return Report(command="suggest", cases=tuple(cases), summary=summary, plain=plain)


def _what(one: Suggestion) -> str:
    return f"  (shows {', '.join(map(shown, one.shows))})" if one.shows else ""


def _skeletons(found: dict[str, list[Suggestion]]) -> str:
    tests: dict[str, str] = {}
    for name, listed in found.items():
        for one in listed:
            called = test = _test_name(name, one)
            number = 1
            while test in tests:
                number += 1
                test = f"{called}_{number}"
            tests[test] = _skeleton(test, one)
    return "\n\n\n".join(tests.values()) + ("\n" if tests else "")


def _test_name(name: str, one: Suggestion) -> str:
    words = [word for part in (name.rpartition(".")[2], *one.actions) for word in re.findall(r"\w+", part.lower())]
    return f"test_{'_'.join(words)}"


def _skeleton(test: str, one: Suggestion) -> str:
    shows = [f"    # shows {shown(step)}" for step in one.shows]
    steps = [f"    # {shown(step)}" for step in one.run]
    told = ", ".join(map(one_line, one.actions)).replace("\\", "\\\\").replace('"""', r"\"\"\"")
    return "\n".join(
        [
            f"def {test}() -> None:",
            f'    """{told}."""',
            *shows,
            *steps,
            '    raise NotImplementedError("have the program do this")',
        ]
    )
