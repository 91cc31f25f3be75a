"""The ways in which a program that exists reports to a specification: decorated functions, and blocks of code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from .observing import Observation
from .tracking import Tracking

if TYPE_CHECKING:
    from .specification import Specification


class Observable:
    """The part of `Specification` that reports what code did."""

    @classmethod
    def observes(
        cls,
        action: str | None = None,
        *,
        to: Any = None,
        identifier: str | Callable[..., Any],
        on_error: Any = None,
        new: bool = False,
        wait: bool | None = None,
    ) -> Observation:
        """Return a decorator that reports what the calls of a function did; the function stays what it is.

        It decorates functions, methods, class methods, static methods and coroutine functions. A transition is reported
        when the function has returned. An instance that does not exist yet is created first, in the specification's
        initial state. What a report may raise is decided by the mode of the default manager ("observe", unless it is
        configured: nothing).

        Args:
            action: The action; may be left out with `new`.
            to: The state that it leads to, or a function of the result that returns the state (None: nothing happened).
            identifier: Whose transition it is: the name of a parameter, perhaps with attributes after dots
                (``"order_id"``, ``"self.id"``), or a function whose parameters are named as those of the decorated
                function. It is found before the call.
            on_error: Reported if the function raises: a state, to which `action` leads after any `Exception`; or
                a mapping from exception classes to a state, or to a pair (action, state). The exception goes on.
            new: Whether the function makes the instance: its creation is reported when it has returned, in state `to`
                if there is no action. The identifier is found afterwards, and may use ``result``.
            wait: Whether a call returns only when its report is stored. Default: True, but False for coroutine
                functions, since a wait would hold up the event loop.

        Raises:
            TypeError, ValueError: What is given, or decorated, does not fit.
        """
        return Observation(_class(cls), action, to=to, identifier=identifier, on_error=on_error, new=new, wait=wait)

    @classmethod
    def tracking(
        cls, identifier: Any, *, initial_state: str | None = None, on_error: Any = None, wait: bool | None = None
    ) -> Tracking:
        """Return a context manager for code that is about one instance, for ``with`` and ``async with``.

        ::

            with Order.tracking(order.id, on_error={PaymentRefused: ("refuse", "unpaid")}) as instance:
                instance.did("pay", "paid")

        The first report creates the instance if it does not exist.

        Args:
            identifier: The instance's.
            initial_state: The state in which it is created; by default the specification's initial state.
            on_error: What is reported if the block ends with an exception: a mapping from exception classes to a pair
                (action, state). The exception goes on.
            wait: Whether `did` returns only when its report is stored. Default: True, but False after ``async with``.

        Raises:
            TypeError, ValueError: `on_error` is something else.
        """
        return Tracking(_class(cls), identifier, initial_state, on_error, wait)


def _class(cls: type[Observable]) -> type[Specification]:
    return cast("type[Specification]", cls)
