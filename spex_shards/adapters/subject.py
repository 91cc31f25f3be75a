"""What all adapters share: whose transitions are reported, of which specification, and how."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar
from uuid import uuid4

from ..domain import receiving
from ..domain.specification import Specification, is_specification

MOVED: Final = "set_state"
"""The action of a change of state that no transition of the other library made, such as an assignment."""

logger = logging.getLogger("spex_shards")

Source = type[Specification] | Callable[[Any], type[Specification] | None] | None
"""A specification, a function that chooses one (None: do not observe this one), or None: derive it."""
T = TypeVar("T")


class Subject:
    """An object of another library whose transitions are reported.

    Args:
        cls: The specification.
        identifier: The instance's identifier.
        waits: Whether reports wait.

    Attributes:
        state: The state that was reported last; None: nothing was reported yet.
    """

    __slots__ = ("_cls", "_identifier", "_waits", "state")

    def __init__(self, cls: type[Specification], identifier: Any, *, waits: bool) -> None:
        self._cls, self._identifier, self._waits = cls, identifier, waits
        self.state: str | None = None

    @property
    def off(self) -> bool:
        """Whether nothing needs to be reported."""
        return receiving.receiver.off(self._cls)

    def begins(self, state: str) -> None:
        """Report that the object exists, in `state`."""
        self.state = state
        receiving.receiver.step(self._cls, self._identifier, None, None, state, waits=self._waits)

    def was(self, state: str) -> None:
        """Note in which state the object is before a step; a change that was not reported is reported now."""
        if self.state is None or self.state == state:
            self.state = state
        else:
            self.did(MOVED, state)

    def did(self, action: str, state: str) -> None:
        """Report a transition."""
        before, self.state = self.state, state
        receiving.receiver.step(self._cls, self._identifier, action, state, before, waits=self._waits)


class Adapter:
    """How the objects that one call of ``observe`` names are observed.

    Args:
        specification: See `Source`.
        identifier: None: each object is an instance of its own, under a random identifier; the name of an attribute,
            perhaps with dots; or a function of the object.
        wait: Whether reports wait; None: unless that would hold up an event loop.
        derive: Makes the specification of an object where none is given.

    Raises:
        TypeError: `specification` or `identifier` is something else.
    """

    def __init__(
        self, specification: Source, identifier: Any, *, wait: bool | None, derive: Callable[[Any], type[Specification]]
    ) -> None:
        if specification is not None and not is_specification(specification) and isinstance(specification, type):
            raise TypeError(f"the specification must be a Specification class, got: {specification!r}")
        if specification is not None and not callable(specification):
            raise TypeError(f"the specification must be a class or a function that chooses one, got: {specification!r}")
        if isinstance(identifier, str):
            identifier = attrgetter(identifier)
        elif identifier is not None and not callable(identifier):
            raise TypeError(f"identifier must be the name of an attribute, or a function, got: {identifier!r}")
        self._specification = specification
        self._identifier = identifier
        self._derive = derive
        self._wait = wait

    def specification_of(self, thing: Any) -> type[Specification] | None:
        """Return the specification of an object, or None if it is not observed."""
        given = self._specification
        if given is None:
            return self._derive(thing)
        return given if is_specification(given) else given(thing)  # type: ignore[return-value,call-arg]

    def subject(self, thing: Any, model: Any, *, in_loop: bool = False) -> Subject | None:
        """Return the subject for a machine and the object whose state it is; None: it is not observed.

        `in_loop` says that the machine works in an event loop.

        An error of the application's function is logged: a report must not harm what is observed.
        """
        try:
            cls = self.specification_of(thing)
            if cls is None:
                return None
            identifier = uuid4().hex if self._identifier is None else self._identifier(model)
        except Exception as error:
            logger.error("%r is not observed: %s: %s", type(thing).__qualname__, type(error).__name__, error)
            return None
        return Subject(cls, identifier, waits=not in_loop if self._wait is None else self._wait)


class Weakly(Generic[T]):
    """Values by the identity of objects, kept as long as the object lives (or for ever, if it cannot be told)."""

    def __init__(self) -> None:
        self._values: dict[int, tuple[Any, T]] = {}

    def get(self, thing: Any) -> T | None:
        """Return the value of an object, or None."""
        found = self._values.get(id(thing))
        return None if found is None else found[1]

    def put(self, thing: Any, value: T) -> T:
        """Set the value of an object; return it."""
        key, values = id(thing), self._values
        try:
            held: Any = weakref.ref(thing, lambda _: values.pop(key, None))
        except TypeError:  # an object without a place for weak references
            held = thing
        values[key] = (held, value)
        return value

    def knows(self, thing: Any) -> bool:
        """Return whether an object has a value."""
        return id(thing) in self._values

    def drop(self, thing: Any) -> None:
        """Forget an object."""
        self._values.pop(id(thing), None)


def named_after(thing: Any, library: str, *others: Any) -> str:
    """Return a name for the specification of an object: that of its class, or of the first class of another origin."""
    classes = [type(one) for one in (thing, *others)]
    own = [cls for cls in classes if cls.__module__.partition(".")[0] != library]
    cls = (own or classes)[0]
    return f"{cls.__module__}.{cls.__qualname__}".replace("<locals>.", "")
