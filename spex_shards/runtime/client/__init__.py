"""The client's side of shards: channels, the courier, and the process that owns the supervisor."""

from .client_options import ClientOptions
from .core import Client
from .owner import SupervisorOwner

__all__ = ["Client", "ClientOptions", "SupervisorOwner"]
