"""``check``: stored models, judged by their specifications."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ..domain.conformance import Result, Verdict
from ..domain.impl_model import ImplModel
from ..domain.specification import registered
from ..errors import DeserialisationFailed, SpexError
from ..facade import check
from ..model_files import read_model, read_models
from ..options import UNSET
from ..settings import options_from
from .output import UNUSABLE, Format, command, imported

NOT_EQUIVALENT = 1

_MEANING = {
    Verdict.INCOMPLETE: "nothing wrong was seen, but not everything that is specified",
    Verdict.VIOLATION: "something was seen that is not specified",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """One model, or what should have been one: its verdict, or why there is none."""

    specification: str
    transitions: int | None = None
    result: Result | None = None
    error: str | None = None
    unknown: bool = False

    @property
    def equivalent(self) -> bool:
        """Whether it is."""
        return self.result is not None and self.result.equivalent

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "specification": self.specification,
            "transitions": self.transitions,
            "verdict": None if self.result is None else self.result.verdict.value,
            "decided": None if self.result is None else self.result.decided,
            "error": self.error,
        }

    def line(self) -> str:
        """Return it as text."""
        if self.result is None:
            return f"{self.specification}: no verdict: {self.error}"
        meaning = _MEANING[self.result.verdict]
        doubt = "" if self.result.decided else " (it may be a violation: that was not found out)"
        return f"{self.specification}: {self.result.verdict.value}: {meaning}{doubt}"


def check_models(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]", help="A model file, or a directory of them. Default: the option impl_models_dir."
        ),
    ] = None,
    specification: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:NAME",
            help="A specification to import; may be given often. Default: the option specifications.",
        ),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How to write the verdicts.")] = Format.TEXT,
) -> None:
    """Check stored models against their specifications.

    Exits with 0 when all are equivalent, with 1 when some are not or a file is malformed, and with 2 when there is
    nothing to check or a specification cannot be found.
    """
    with command(form) as output:
        options = options_from({"specifications": specification or UNSET, "impl_models_dir": path or UNSET})
        imported(options["specifications"])
        place = Path(options["impl_models_dir"])
        checked = [_checked(name, found) for name, found in sorted(_read(place).items())]
        if not checked:
            output.fail(f"there is no model in {place}: no file there ends in .spex")
        output.write(
            "\n".join([*(one.line() for one in checked if not one.equivalent), _summary(checked)]),
            {"equivalent": all(one.equivalent for one in checked), "models": [one.plain() for one in checked]},
        )
        raise typer.Exit(_exit_code(checked))


def _read(path: Path) -> dict[str, ImplModel | DeserialisationFailed]:
    if path.is_dir():
        models, malformed = read_models(path)
        return {**models, **malformed}
    if not path.exists():
        raise FileNotFoundError(2, "there is no such file or directory of models", str(path))
    try:
        model = read_model(path)
        return {model.specification: model}
    except DeserialisationFailed as error:
        return {path.stem: error}


def _checked(name: str, found: ImplModel | DeserialisationFailed) -> Checked:
    if isinstance(found, DeserialisationFailed):
        return Checked(name, error=str(found))
    size = len(found.transitions)
    if registered(name) is None:
        text = "no imported module has this specification; name it with --specification MODULE:NAME"
        return Checked(name, size, error=text, unknown=True)
    try:
        return Checked(name, size, check(found))
    except SpexError as error:
        return Checked(name, size, error=str(error))


def _summary(checked: list[Checked]) -> str:
    total, failed = len(checked), sum(not one.equivalent for one in checked)
    if failed:
        return f"{failed} of {total} {'model is' if total == 1 else 'models are'} not equivalent"
    return "the only model is equivalent" if total == 1 else f"all {total} models are equivalent"


def _exit_code(checked: list[Checked]) -> int:
    if any(one.unknown for one in checked):
        return UNUSABLE
    return 0 if all(one.equivalent for one in checked) else NOT_EQUIVALENT
