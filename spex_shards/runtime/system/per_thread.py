"""Values of which each thread has its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


class PerThread(threading.local, Generic[_Value]):
    """A value of which each thread has its own.

    Args:
        make: Makes a thread's value, when the thread first asks for it.

    Attributes:
        value: The present thread's value.
    """

    def __init__(self, make: Callable[[], _Value]) -> None:
        self._make = make
        self.renew()

    def renew(self) -> None:
        """Replace the present thread's value by a new one."""
        self.value = self._make()
