"""Creates the services of all shards from what they share: model files, the learned models of all stores, options."""

from __future__ import annotations

from typing import Any

from ..checking.union import united
from ..domain.transition import Transition
from ..formats.model_files import read_models
from ..messages.host_options import SpexOptions
from ..messages.specifications import StoredSpecification
from ..runtime.hosting import check_service
from ..runtime.service import StoreReader
from ..runtime.store import Batch
from ..runtime.watch import Watch
from .core import Engine, EngineOptions
from .models import ModelSource, stored_acceptances, stored_models
from .service import SpexService


class SpexHost:
    """Creates the service of each shard, also after a restart, from what was read once.

    Args:
        source: The models.
        options: The options.

    Attributes:
        warnings: Why malformed model files could not be read.
    """

    def __init__(self, source: ModelSource, options: SpexOptions) -> None:
        self._source = source
        self._options = options
        self._specifications = [StoredSpecification.of(plain) for plain in options.specifications]
        self.warnings = [str(error) for error in source.malformed.values()]

    def service(self, batch: Batch, watch: Watch, now: int) -> SpexService:
        """Return the service of one shard.

        Raises:
            StoreError: A row that must be read at the start is damaged.
        """
        given = self._options
        options = EngineOptions(given.prune_interval_us, given.silent_before_us, watch, given.sightings)
        check_service(batch, None)
        engine = Engine(batch, self._source, options, now)
        for specification in self._specifications:
            engine.register(specification, None)
        return SpexService(engine, takes_code=given.takes_code)


def prepare(plain: list[Any], stores: StoreReader) -> SpexHost:
    """Return the host, after reading the model files and the models in the stores of all shards.

    Args:
        plain: The options in plain form.
        stores: Reads the stores.

    Raises:
        ImplModelError: There are two files for one specification, or the folder cannot be read.
    """
    options = SpexOptions.of(plain)
    parts = stores(_read_part)
    files, malformed = read_models(options.impl_models_dir)
    stored = united((name, transitions, True) for models, _ in parts for name, transitions in models)
    source = ModelSource(
        files=files,
        malformed=malformed,
        stored={model.specification: model for model in stored},
        accepted={(name, Transition._make(step), digest) for _, accepted in parts for name, step, digest in accepted},
        learning_mode=options.learning_mode,
    )
    return SpexHost(source, options)


def _read_part(batch: Batch) -> list[Any]:
    models = [[name, [list(t) for t in model.transitions]] for name, model in stored_models(batch).items()]
    return [models, [[name, list(t), digest] for name, t, digest in stored_acceptances(batch)]]
