"""The application's side of shards: channels, the courier, the supervisor's owner, routing and fan-out."""

from .core import Client, ClientOptions
from .owner import SupervisorOwner

__all__ = ["Client", "ClientOptions", "SupervisorOwner"]
