"""The behaviour of one shard: plain methods and `tick(now)`, over a store; no clock, process or message."""

from .checks import CheckPending, Checks
from .core import Engine, EngineOptions
from .models import ModelSource, stored_acceptances, stored_models
from .watch import Watch

__all__ = [
    "CheckPending",
    "Checks",
    "Engine",
    "EngineOptions",
    "ModelSource",
    "Watch",
    "stored_acceptances",
    "stored_models",
]
