"""The behaviour of one shard of Spex, as methods that change a batch; without clocks, processes or messages."""

from .checks import Checks
from .core import Engine, EngineOptions
from .models import ModelSource, stored_acceptances, stored_models

__all__ = ["Checks", "Engine", "EngineOptions", "ModelSource", "stored_acceptances", "stored_models"]
