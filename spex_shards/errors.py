"""The exceptions of the library, and their names on the wire.

::

    SpexError
    ├── SpecificationError (ValueError)
    ├── TransitionError
    │   ├── DeviationStillEquivalent
    │   ├── DeviationNotEquivalent
    │   ├── DeviationFromSpecification
    │   └── TransitionTimeout
    ├── InstanceError
    │   ├── IdentifierInUse
    │   └── InstanceNotFound (KeyError)
    ├── ImplModelError
    │   ├── ImplModelNotFound
    │   └── DeserialisationFailed
    ├── StoreError
    ├── OperationFailed
    ├── ServiceError
    ├── ShardError
    │   ├── ShardDown (ConnectionError)
    │   ├── ShardFailed
    │   ├── CallTimeout (TimeoutError)
    │   └── PoisonRequest
    ├── HandlerError
    │   └── PredicateError
    ├── DataDirError
    │   ├── LayoutMismatch
    │   └── DataDirLocked
    └── ManagerClosed
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self

MOST_SHOWN: Final = 500


def encodable(text: str) -> str:
    """Return `text` with lone surrogates escaped, so that it can be sent and printed."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def show(value: object) -> str:
    """Return `repr(value)` for an error's text: cut if it is long, and never an exception, whatever the value does."""
    try:
        text = encodable(repr(value))
    except Exception as error:
        return f"<a value of type {type(value).__qualname__} that cannot be shown: {type(error).__name__}>"
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"


def words(error: BaseException) -> str:
    """Return an exception's class and text, whatever its `__str__` does."""
    try:
        return f"{type(error).__name__}: {encodable(str(error))}"
    except Exception:
        return f"{type(error).__name__} (it has no text)"


class RemoteTraceback(Exception):
    """The text of a traceback from another process; it is the ``__cause__`` of the error that it explains."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    @classmethod
    def of(cls, error: BaseException) -> RemoteTraceback:
        """Return the traceback of an exception, for another process."""
        import traceback  # needed only when something fails, and heavy

        return cls("".join(traceback.format_exception(error)))

    def __str__(self) -> str:
        return "\n" + self.text


class SpexError(Exception):
    """The base class of all errors of the library.

    Args:
        message: A plain sentence: what happened, to what, and if it helps, what to do.
        **context: Facts for programs; the keys of each class are part of its contract.

    Attributes:
        reason: A stable name of the kind of error, in snake_case.
        context: The facts, always a dict.
    """

    reason: ClassVar[str] = "spex_error"

    def __new__(cls, *args: Any, **_: Any) -> Self:
        """Set `message` and `context`: the error can be shown and sent even if a subclass's `__init__` sets neither."""
        error = super().__new__(cls, *args)
        error.message = ""
        error.context = {}
        return error

    def __init__(self, message: str = "", **context: Any) -> None:
        Exception.__init__(self, message)
        self.message = message
        self.context: dict[str, Any] = context

    def __str__(self) -> str:
        return str(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        cause = self.__cause__
        text = cause.text if isinstance(cause, RemoteTraceback) else None if cause is None else show(cause)
        return rebuild, (type(self), self.message, self.context, text)

    def __copy__(self) -> SpexError:
        return rebuild(type(self), self.message, dict(self.context), None, self.__cause__)


def rebuild(
    cls: type[SpexError],
    message: str,
    context: dict[str, Any],
    cause_text: str | None = None,
    cause: BaseException | None = None,
) -> SpexError:
    """Return an error of `cls` as it was before it was pickled, copied or sent.

    It does not call the class's own ``__init__``, so that any subclass of an application survives.
    """
    error = cls.__new__(cls)
    SpexError.__init__(error, message, **context)
    if cause_text is not None:
        error.__cause__ = RemoteTraceback(cause_text)
    elif cause is not None:
        error.__cause__ = cause
    return error


class SpecificationError(SpexError, ValueError):
    """A malformed declaration of a specification; names the entry or option and the rule."""

    reason = "specification_error"


class TransitionError(SpexError):
    """An error about an observed, or a missing, transition."""

    reason = "transition_error"


class DeviationStillEquivalent(TransitionError):
    """An observed transition is not in the model; with it, the model would still be equivalent.

    The text says what was observed, whether that is specified, what the verdict means, and what to do.
    Context: `instance`, `deviating_transition`, `verdict`.
    """

    reason = "deviation_still_equivalent"


class DeviationNotEquivalent(TransitionError):
    """An observed transition is not in the model; with it, the model is incomplete, or a violation.

    The text says what was observed, whether that is specified, what the verdict means, and what to do.
    Context: `instance`, `deviating_transition`, `verdict`.
    """

    reason = "deviation_not_equivalent"


class DeviationFromSpecification(TransitionError):
    """An observed step is not allowed by the specification after what the instance did before (`judge = "run"`).

    Context: `instance`, `deviating_transition`, `verdict`, `possible` (the names of the specified states that the run
    may have been in), `allowed` (the specification's transitions that could have followed: tuples of `Transition`).
    """

    reason = "deviation_from_specification"


class TransitionTimeout(TransitionError):
    """No transition followed the instance's newest one within the transition timeout. Context: `instance`."""

    reason = "transition_timeout"


class InstanceError(SpexError):
    """An error about an instance's identifier."""

    reason = "instance_error"


class IdentifierInUse(InstanceError):
    """There is already an instance with that identifier. Context: `identifier`."""

    reason = "instance_identifier_already_in_use"


class InstanceNotFound(InstanceError, KeyError):
    """There is no instance with that identifier. Context: `identifier`."""

    reason = "instance_identifier_not_found"


class ImplModelError(SpexError):
    """An error about an implementation model or its file."""

    reason = "impl_model_error"


class ImplModelNotFound(ImplModelError):
    """There is no implementation model of that specification. Context: `specification`, `identifier`."""

    reason = "impl_model_not_found"


class DeserialisationFailed(ImplModelError):
    """The text of a model is malformed. Context: `line` (from 1), and `file` if there is one."""

    reason = "deserialisation_failed"


class StoreError(SpexError):
    """The store could not read or write something; the request that got this error had no effect."""

    reason = "store_error"


class OperationFailed(SpexError):
    """An operation of an application's service raised an exception that is not a `ServiceError`.

    The remote traceback is the ``__cause__``; no change of the operation is kept. Context: `operation`.
    """

    reason = "operation_failed"


class ServiceError(SpexError):
    """The base class for the errors of an application's service.

    If an operation raises one of the service's declared classes, the caller receives that class, and no change of the
    operation is kept.
    """

    reason = "service_error"


class ShardError(SpexError):
    """An error about the process of a shard.

    Context, also available as attributes: `shard` (index), `pid`, `exit` (how the process ended, or None),
    `maybe_executed` (True if the request may have been, or may yet be, applied).
    """

    reason = "shard_error"

    @property
    def shard(self) -> int | None:
        """The shard's index."""
        return self.context.get("shard")

    @property
    def pid(self) -> int | None:
        """The process id of the shard's worker, if known."""
        return self.context.get("pid")

    @property
    def exit(self) -> str | None:
        """How the worker ended: a signal's name, an exit code, or None."""
        return self.context.get("exit")

    @property
    def maybe_executed(self) -> bool:
        """Whether the request may have been, or may yet be, applied."""
        return bool(self.context.get("maybe_executed", False))


class ShardDown(ShardError, ConnectionError):
    """There is no channel to the shard."""

    reason = "shard_down"


class ShardFailed(ShardError):
    """The shard died too often and was given up; the other shards continue."""

    reason = "shard_failed"


class CallTimeout(ShardError, TimeoutError):
    """The caller's wait ended before the answer came."""

    reason = "call_timeout"


class PoisonRequest(ShardError):
    """The request killed its shard each time it was run, and is refused."""

    reason = "poison_request"


class HandlerError(SpexError):
    """A handler of the application did something that is not allowed; the ``__cause__`` is the remote traceback."""

    reason = "handler_error"


class PredicateError(HandlerError):
    """The predicate of `delete_instances` raised. Context: `deleted`, the number deleted on the other shards."""

    reason = "predicate_error"


class DataDirError(SpexError):
    """A data directory cannot be used in its present state."""

    reason = "data_dir_error"


class LayoutMismatch(DataDirError):
    """The directory was made for another number of shards."""

    reason = "layout_mismatch"


class DataDirLocked(DataDirError):
    """Another supervisor or manager owns the directory. Context: `pid` of the holder, if known."""

    reason = "data_dir_locked"


class ManagerClosed(SpexError):
    """The manager was not started yet, or is closed."""

    reason = "manager_closed"


class DeviationWarning(UserWarning):
    """The Python warning of the mode ``"warn"``, once for each distinct deviation of a process."""


CLASSES: tuple[type[SpexError], ...] = (
    SpexError,
    SpecificationError,
    TransitionError,
    DeviationStillEquivalent,
    DeviationNotEquivalent,
    DeviationFromSpecification,
    TransitionTimeout,
    InstanceError,
    IdentifierInUse,
    InstanceNotFound,
    ImplModelError,
    ImplModelNotFound,
    DeserialisationFailed,
    StoreError,
    OperationFailed,
    ServiceError,
    ShardError,
    ShardDown,
    ShardFailed,
    CallTimeout,
    PoisonRequest,
    HandlerError,
    PredicateError,
    DataDirError,
    LayoutMismatch,
    DataDirLocked,
    ManagerClosed,
)
CLASS_BY_CODE: dict[str, type[SpexError]] = {cls.__name__: cls for cls in CLASSES}
"""Code on the wire → class. An error's code is the name of its class."""


def code_of(cls: type[SpexError]) -> str:
    """Return the code of `cls`, or of its nearest base class that belongs to the library."""
    return next(base.__name__ for base in cls.__mro__ if CLASS_BY_CODE.get(base.__name__) is base)
