"""The client's side of shards: channels, the courier, and the process that owns the supervisor."""

from .core import Client, ClientOptions
from .owner import SupervisorOwner

__all__ = ["Client", "ClientOptions", "SupervisorOwner"]
