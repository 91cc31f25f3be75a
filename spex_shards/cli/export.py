"""The command ``export``: writes the models of a data directory to model files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..domain.impl_model import ImplModel
from ..domain.transition import Transition
from ..errors import ImplModelError
from ..formats.model_files import ModelFiles, read_models, write_models
from ..review.offline import learned_models
from ..runtime.store.location import is_url, shown
from .output import command, report
from .overrides import PlaceOption, chosen_from, place_from


def export_models(
    data_dir: PlaceOption = None,
    models_dir: Annotated[
        Path | None, typer.Option(help="Where the model files are. Default: the option impl_models_dir.")
    ] = None,
) -> None:
    """Write the models that the shards of a data directory learned, united, to model files.

    A model is united with its existing file, unless the file's learning mode is off: then the file stays as it is. The
    data directory is only read; no manager may use it. A namespace of a database is read as it is at the moment.
    """
    with command() as output:
        options = chosen_from(impl_models_dir=models_dir)
        target = Path(options["impl_models_dir"])
        place = place_from(data_dir)
        learned = learned_models(place)
        if not learned:
            what = "namespace" if is_url(place) else "data directory"
            output.fail(f"the {what} {shown(place)} has no models: nothing was learned in it")
        files = read_models(target)
        _refuse_malformed(files, learned)
        for name in [name for name in learned if name in files.models and not files.models[name].learning_mode]:
            report(f"kept as it is: the model of {name}, whose file says 'Learning mode: false'")
            del learned[name]
        written = write_models(target, [_united(name, found, files) for name, found in learned.items()])
        output.write(
            "\n".join([*map(str, written), f"{len(written)} {'file' if len(written) == 1 else 'files'} written"])
        )


def _refuse_malformed(files: ModelFiles, learned: dict[str, frozenset[Transition]]) -> None:
    for name in learned:
        if name in files.malformed:
            raise ImplModelError(f"{files.malformed[name]}; repair or remove that file first (nothing was written)")


def _united(name: str, learned: frozenset[Transition], files: ModelFiles) -> ImplModel:
    known = files.models[name].transitions if name in files.models else frozenset()
    return ImplModel(specification=name, transitions=learned | known, learning_mode=True)
