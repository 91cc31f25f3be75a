"""The behaviour of one shard of Spex: plain methods, over a batch; no clock, process or message."""

from .checks import Checks
from .core import Engine, EngineOptions
from .models import ModelSource, stored_acceptances, stored_models

__all__ = ["Checks", "Engine", "EngineOptions", "ModelSource", "stored_acceptances", "stored_models"]
