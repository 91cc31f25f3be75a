"""The behaviour of one shard: plain methods and `tick(now)`, over a store; no clock, process or message."""

from .core import Engine, EngineOptions
from .models import ModelSource, stored_acceptances, stored_models
from .watch import Watch

__all__ = ["Engine", "EngineOptions", "ModelSource", "Watch", "stored_acceptances", "stored_models"]
