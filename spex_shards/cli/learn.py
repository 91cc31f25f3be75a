"""The command ``learn``: runs another command, and saves what its module-level calls showed as models."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from ..domain.impl_model import ImplModel
from ..domain.transition import Transition
from ..errors import ImplModelError
from ..formats.model_files import read_models, write_models
from ..manager.options import ENVIRONMENT_PREFIX, UNSET
from ..manager.settings import options_from
from ..review.offline import has_instances, learned_models
from ..runtime.store.location import shards_of
from .output import command, report

NOT_FOUND: Final = 127
KILLED: Final = 128
"""What a shell adds to the number of the signal that ended a command."""
LOOK_EVERY: Final = 0.5
"""Seconds between two looks at the command."""
_FORWARDED: Final = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
)  # fmt: skip
_FROM_KERNEL: Final = 128
"""The `si_code` of a signal that the terminal sent, to the command as well (SI_KERNEL)."""


def learn_models(
    arguments: Annotated[
        list[str], typer.Argument(metavar="COMMAND...", help="The command, after --, with its own options.")
    ],
    models_dir: Annotated[
        Path | None, typer.Option("--models", help="Where model files are. Default: the option impl_models_dir.")
    ] = None,
) -> None:
    """Run a command, and learn models from the module-level calls of all its processes: spex-shards learn -- COMMAND.

    Their default manager gets a temporary data directory, in which all models learn; options in pyproject.toml, and in
    the environment, are overridden, and arguments of spex_shards.configure are not. When the command has ended, what
    was learned is united with the model files. Signals are passed on to the command. Exits as the command does (128
    and more: it was killed by that signal); with 127 if there is no such command, with 2 if the models could not be
    saved.
    """
    with command() as output:
        folder = Path(options_from({"impl_models_dir": models_dir or UNSET})["impl_models_dir"]).absolute()
        if folder.exists() and not folder.is_dir():
            raise ValueError(
                f"{'--models' if models_dir else 'the option impl_models_dir'} must be a directory, got: {folder}"
            )
        program = shutil.which(arguments[0])
        if program is None:
            output.fail(f"there is no command {arguments[0]!r}: write it after --, as in spex-shards learn -- python "
                        "app.py", NOT_FOUND)  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="spex-shards-", ignore_cleanup_errors=True) as temporary:
            data_dir = Path(temporary) / "data"
            status = _run(program, arguments, environment_for(data_dir, folder, os.environ))
            there = shards_of(data_dir) is not None
            learned = {name: steps for name, steps in learned_models(data_dir).items() if steps} if there else {}
            if learned:
                _save(folder, learned)
            else:
                new = "the models have all that the command reported"
                none = "no module-level call of the command reported anything"
                report(f"nothing was learned: {new if there and has_instances(data_dir) else none}")
    raise typer.Exit(status)


def environment_for(data_dir: Path, models_dir: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which the default manager of every process learns in `data_dir`."""
    options = {
        "manager": "sharded",  # so that several processes can use one directory
        "distribution_factor": "1",
        "data_dir": str(data_dir),
        "impl_models_dir": str(models_dir),
        "learning_mode": "true",
        "mode": "observe",
    }
    return {**environment, **{f"{ENVIRONMENT_PREFIX}{name.upper()}": value for name, value in options.items()}}


def _run(program: str, arguments: list[str], environment: Mapping[str, str]) -> int:
    waited = {*_FORWARDED, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    try:
        child = os.posix_spawn(program, arguments, environment, setsigmask=before, setsigdef=[signal.SIGPIPE])
        while True:
            # Another thread, if there is one, may get SIGCHLD instead: so look from time to time.
            found = signal.sigtimedwait(waited, LOOK_EVERY)
            if found is not None and found.si_signo in _FORWARDED:
                if found.si_code < _FROM_KERNEL:
                    os.kill(child, found.si_signo)
                continue
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended and not os.WIFSTOPPED(status):
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else KILLED - code
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _save(folder: Path, learned: Mapping[str, frozenset[Transition]]) -> None:
    files = read_models(folder)
    for name in learned:
        if name in files.malformed:
            raise ImplModelError(f"{files.malformed[name]}; repair or remove that file first (nothing was written)")
    models = []
    for name, steps in learned.items():
        known = files.models[name].transitions if name in files.models else frozenset()
        models.append(ImplModel(specification=name, transitions=steps | known))
    for path, model in zip(write_models(folder, models), models, strict=True):
        report(f"learned: {path} ({len(model.transitions)} transitions)")
