"""The options of the plugin: command line, then pytest's ini file, then defaults."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

from ..checking.relations import Relation

DEFAULT_FOLDER = "spex_impl_models"


class Mode(StrEnum):
    """What a test run does with the models."""

    CHECK = "check"
    UPDATE = "update"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of a test run.

    Attributes:
        mode: Whether models are checked or updated.
        folder: The folder of the model files.
        specifications: What is judged even if no test used it, as ``module:Name``.
        relation: What models are asked for in place of equivalence; None: equivalence.
        complete: Whether `check` fails on an incomplete model.
        frozen: Whether `check` fails on a step that is not in the model file.
        failures_teach: Whether steps that only failed tests showed are learned.
        processes: Whether processes that tests start are observed.
        report: The HTML file to write, or None.
    """

    mode: Mode
    folder: Path
    specifications: tuple[str, ...] = ()
    relation: Relation | None = None
    complete: bool = False
    frozen: bool = False
    failures_teach: bool = False
    processes: bool = False
    report: Path | None = None


def settings_of(config: pytest.Config) -> Settings | None:
    """Return the options of a run; None: the project does not use the plugin, or it is off.

    Raises:
        pytest.UsageError: A value breaks its rule; names the option, the rule and the value.
    """
    mode, folder = config.getoption("--spex"), config.getoption("--spex-models-dir") or config.getini("spex_models_dir")
    if config.option.collectonly or (mode is None and not folder):
        return None
    chosen = _mode(mode or config.getini("spex_mode"))
    if chosen is Mode.OFF:
        return None
    return Settings(
        mode=chosen,
        folder=config.rootpath / Path(folder or DEFAULT_FOLDER),
        specifications=tuple(map(_name, config.getini("spex_specifications"))),
        relation=_relation(config.getini("spex_relation")),
        complete=config.getoption("--spex-complete") or _flag(config, "spex_complete"),
        frozen=config.getoption("--spex-frozen") or _flag(config, "spex_frozen"),
        failures_teach=_flag(config, "spex_learn_from_failures"),
        processes=_flag(config, "spex_processes"),
        report=_report(config.getoption("--spex-report"), config.invocation_params.dir),
    )


def _mode(text: str) -> Mode:
    if not text:
        return Mode.CHECK if os.environ.get("CI") else Mode.UPDATE
    if text not in list(Mode):
        raise pytest.UsageError(f"the ini option spex_mode must be check, update or off, got: {text!r}")
    return Mode(text)


def _flag(config: pytest.Config, name: str) -> bool:
    try:
        return bool(config.getini(name))
    except (ValueError, pytest.UsageError):  # the second from pytest 9 on
        raise pytest.UsageError(f"the ini option {name} must be true or false") from None


def _name(text: str) -> str:
    module, colon, name = text.partition(":")
    if not (module and colon and name):
        raise pytest.UsageError(f"the ini option spex_specifications must have lines module:Name, got: {text!r}")
    return text


def _relation(text: str) -> Relation | None:
    if not text:
        return None
    if text not in list(Relation):
        raise pytest.UsageError(f"the ini option spex_relation must be one of {', '.join(Relation)}, got: {text!r}")
    return Relation(text)


def _report(text: str | None, here: Path) -> Path | None:
    if text is not None and not text.endswith(".html"):
        raise pytest.UsageError(f"--spex-report must be a file that ends in .html, got: {text!r}")
    return None if text is None else here / text
