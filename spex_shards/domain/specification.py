"""`Specification`: the class that users derive from, and the register of all such classes by name."""

from __future__ import annotations

import copyreg
import inspect
import logging
import types
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any, ClassVar, cast

from .. import formats
from ..errors import DeviationStillEquivalent, ImplModelNotFound, SpecificationError, SpexError
from ..log_fields import about_error
from ..runtime.system.importing import importable
from .declaration import Declaration, Prunable, declare, mode_of
from .lts import LTS
from .names import CLOSE, nearest
from .observable import Observable
from .ports import inputs_among, port
from .readable import Readable
from .run_property import RunProperty
from .transition import INITIALISATION, Transition

OPTIONS = ("transition_timeout", "prune_timeout", "prunable_states", "equivalence", "judge", "properties")
BESIDES = ("inputs", "outputs", "mode")
"""Options that are no part of the declaration, since no shard asks for them."""
_DERIVED = ("states", "actions", "terminal_states", "lts", "declaration")
_SETTABLE = ("transitions", "initial_state", "name", "error_handler", *OPTIONS, *BESIDES)
_CHECKED_FOR = tuple(option for option in _SETTABLE if option != "mode")
"""Attributes with names like these are refused. But `model`, `node` and `code` are good names, and are like `mode`."""
_registered: dict[str, type[Specification]] = {}
OWN_MODES: dict[str, str] = {}
"""The modes of the registered specifications that have one of their own, by name."""

logger = logging.getLogger("spex_shards")


class SpecificationMeta(type):
    """The metaclass of specifications; it makes classes that cannot be imported by name picklable (`reduce_class`)."""


class Specification(Observable, Readable, metaclass=SpecificationMeta):
    """The required behaviour of something, declared as a labelled transition system.

    Derive a class and list the transitions; everything else is optional::

        class Order(Specification):
            transitions = [("new", "pay", "paid"), ("paid", "ship", "shipped")]

    A class is registered by its name; a later class of the same name replaces it.

    Attributes:
        transitions: Entries (source, action, target): lists or tuples of three `str` or `str`-valued Enum members.
            After creation this is a tuple of `Transition`, in order of first appearance, without duplicates. A subclass
            that gives none inherits its parent's.
        initial_state: One of the states; by default the first entry's source.
        name: By default ``module.QualName``. Set it (1 to 200 bytes, printable, no ``/``, no leading dot) to keep using
            a stored model after the class was moved or renamed.
        transition_timeout: The longest time between two observed transitions of an instance: a `timedelta`, seconds, or
            None (no limit). Reads back as a `timedelta`.
        prune_timeout: How long an instance must be idle before it may be pruned; types as `transition_timeout`.
        prunable_states: `TERMINAL`, `ALL`, or a collection of states of the implementation. Default: none.
        equivalence: ``"branching"`` (default), ``"divergence_preserving_branching"`` or ``"strong"``.
        judge: What an observation is judged by while the program runs. ``"model"`` (default): by the implementation
            model; a step that the model does not know is a deviation, unless the model still conforms with it.
            ``"run"``: by the specification alone; a step is a deviation (`DeviationFromSpecification`) exactly if the
            specification does not allow it after what the instance did before. No model is needed. ``"both"``: a
            step that the specification allows is judged by the model as well.
        properties: Properties that every run must have beside the transitions, made by `spex_shards.properties`.
            `check` decides them for the model. `judge = "run"` and `"both"` decide them at each step.
        mode: ``"off"``, ``"observe"``, ``"warn"`` or ``"enforce"``: what the observations of its instances do to the
            program that reports them, whatever the mode of the manager is. Default None: the manager's mode.
        inputs, outputs: Which actions the environment does, and which the program; `relation="ioco"` needs them. If
            only one is given, all other actions belong to the other. After creation: tuples of `str`, or None.
        states, actions, terminal_states, lts, declaration: Derived when the class is created; must not be assigned.

    Raises:
        SpecificationError: The declaration is malformed, or an attribute is nearly called as an option is. Raised when
            the class is created; names the entry, option or attribute, and the rule.
    """

    name: ClassVar[str]
    transitions: ClassVar[Any] = ()
    initial_state: ClassVar[str | None] = None
    transition_timeout: ClassVar[timedelta | float | None] = None
    prune_timeout: ClassVar[timedelta | float | None] = None
    prunable_states: ClassVar[Prunable | Collection[str]] = ()
    equivalence: ClassVar[str] = "branching"
    judge: ClassVar[str] = "model"
    properties: ClassVar[Collection[RunProperty]] = ()
    inputs: ClassVar[Collection[str] | None] = None
    outputs: ClassVar[Collection[str] | None] = None
    mode: ClassVar[str | None] = None
    states: ClassVar[tuple[str, ...]] = ()
    actions: ClassVar[tuple[str, ...]] = ()
    terminal_states: ClassVar[tuple[str, ...]] = ()
    lts: ClassVar[LTS | None] = None
    declaration: ClassVar[Declaration]

    def __init_subclass__(cls, *, register: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        body = cls.__dict__
        name = body.get("name", f"{cls.__module__}.{cls.__qualname__}")
        for derived in _DERIVED:
            if derived in body:
                raise SpecificationError(
                    f"{name}: {derived} is derived from the transitions and must not be assigned: leave it out"
                )
        _check_spelling(str(name), body)
        _check_handler(str(name), body.get("error_handler"))
        entries = body.get("transitions", cls.transitions)
        inherits = "transitions" not in body and "initial_state" not in body
        initial = cls.initial_state if inherits else body.get("initial_state")
        options = {option: getattr(cls, option) for option in OPTIONS}
        _take(cls, declare(name, entries, initial, **options))
        _take_besides(cls)
        if register:
            _register(cls)

    @classmethod
    def error_handler(cls, error: SpexError, caller: Any) -> SpexError | None:  # noqa: ARG003 - the contract's
        """Decide what an error means: return None to accept it, or return (or raise) an error for the caller.

        The default logs the error on the logger ``spex_shards``, and accepts `DeviationStillEquivalent` and
        `ImplModelNotFound`. A handler runs in the shard.

        Args:
            error: The error.
            caller: The `Caller`; None for timeouts.
        """
        return default_handler(error)

    @classmethod
    def _repr_html_(cls) -> str:
        return formats.notebook.html(cls._notebook_title(), cls._notebook_steps())

    @classmethod
    def _repr_mimebundle_(cls, **_: object) -> dict[str, str]:
        return formats.notebook.bundle(repr(cls), cls._notebook_title(), cls._notebook_steps())

    @classmethod
    def _notebook_title(cls) -> str:
        name = getattr(cls, "name", cls.__qualname__)
        return f"{name}: {formats.notebook.counted(len(cls.transitions), 'specified transition')}"

    @classmethod
    def _notebook_steps(cls) -> list[Transition]:
        starts = [] if cls.initial_state is None else [Transition(None, INITIALISATION, cls.initial_state)]
        return [*starts, *cls.transitions]

    @classmethod
    def define(cls, name: str, transitions: Iterable[tuple[str, str, str]], **options: Any) -> type[Specification]:
        """Return a new specification made from data.

        Args:
            name: Its name, used as it is.
            transitions: Its entries, as in the class form.
            **options: `initial_state`, `transition_timeout`, `prune_timeout`, `prunable_states`, `equivalence`,
                `judge`, `properties`, `inputs`, `outputs`, `mode`, `error_handler` (a function of error and caller).

        Raises:
            TypeError: An option is unknown.
            SpecificationError: As in the class form.
        """
        known = (*OPTIONS, *BESIDES, "initial_state", "error_handler")
        unknown = sorted(set(options) - set(known))
        if unknown:
            meant = nearest(unknown[0], known)
            hint = f"did you mean {meant!r}?" if meant else f"the options are {', '.join(known)}"
            raise TypeError(f"define() got an unknown option: {', '.join(unknown)}; {hint}")
        if options.get("initial_state", cls) is None:
            del options["initial_state"]
        handler = options.pop("error_handler", None)
        body = {"name": name, "transitions": transitions, "__module__": cls.__module__, **options}
        if handler is not None:
            if not callable(handler) and not isinstance(handler, classmethod):
                raise SpecificationError(f"{name}: error_handler must be callable, got: {handler!r}")
            body["error_handler"] = (
                handler if isinstance(handler, (classmethod, staticmethod)) else staticmethod(handler)
            )
        return cast(type[Specification], type(_class_name(name), (cls,), body))


def default_handler(error: SpexError) -> SpexError | None:
    """Log `error`, and accept it if it is harmless; specifications without a handler of their own use this."""
    accepted = isinstance(error, (DeviationStillEquivalent, ImplModelNotFound))
    level = logging.WARNING if accepted else logging.ERROR
    logger.log(level, "%s", error, extra={"spex_default_handler": True, **about_error(error)})
    return None if accepted else error


def registered(name: str) -> type[Specification] | None:
    """Return the class of that name in this process, or None."""
    return _registered.get(name)


def all_registered() -> dict[str, type[Specification]]:
    """Return a copy of the register: name → class."""
    return dict(_registered)


def from_declaration(declaration: Declaration) -> type[Specification]:
    """Return a class made from stored data, with the default handler; it is not registered."""
    body: dict[str, Any] = {
        "name": declaration.name,
        "transitions": declaration.transitions,
        **{option: getattr(declaration, option) for option in OPTIONS},
    }
    if declaration.initial_state is not None:
        body["initial_state"] = declaration.initial_state
    made = types.new_class(declaration.name, (Specification,), {"register": False}, lambda space: space.update(body))
    return cast(type[Specification], made)


def is_specification(value: object) -> bool:
    """Return whether `value` is a subclass of `Specification` (not `Specification` itself)."""
    return isinstance(value, type) and issubclass(value, Specification) and value is not Specification


def has_own_handler(cls: type[Specification]) -> bool:
    """Return whether `cls` has a handler of its own."""
    function = getattr(cls.error_handler, "__func__", cls.error_handler)
    return function is not Specification.error_handler.__func__  # type: ignore[attr-defined]


def _take(cls: type[Specification], declaration: Declaration) -> None:
    cls.declaration = declaration
    cls.name = declaration.name
    cls.transitions = declaration.transitions
    cls.initial_state = declaration.initial_state
    cls.transition_timeout = declaration.transition_timeout
    cls.prune_timeout = declaration.prune_timeout
    cls.prunable_states = declaration.prunable_states
    cls.equivalence = declaration.equivalence
    cls.judge = declaration.judge
    cls.properties = declaration.properties
    cls.states = declaration.states
    cls.actions = declaration.actions
    cls.terminal_states = declaration.terminal_states
    cls.lts = declaration.lts


def _register(cls: type[Specification]) -> None:
    _registered[cls.name] = cls
    if cls.mode is None:
        OWN_MODES.pop(cls.name, None)
    else:
        OWN_MODES[cls.name] = cls.mode


def _take_besides(cls: type[Specification]) -> None:
    """Check inputs, outputs and the mode."""
    cls.mode = mode_of(cls.name, cls.mode)
    try:
        cls.inputs, cls.outputs = port("inputs", cls.inputs), port("outputs", cls.outputs)
        inputs_among(cls.actions, cls.inputs, cls.outputs)
    except ValueError as error:
        raise SpecificationError(f"{cls.name}: {error}") from None


def _class_name(name: object) -> str:
    # An invalid name must not fail here, as a class name: `declare` refuses it with a fitting message.
    return name if isinstance(name, str) and name.isprintable() else "Specification"


def _check_spelling(name: str, body: Mapping[str, object]) -> None:
    """Refuse a public attribute whose name is nearly that of an option, which would else silently have no effect.

    A class may have attributes of its own, and methods and nested classes of any name. An attribute is not taken for a
    misspelling of an option that the same class gives as well; a constant like ``NAMES`` only if it is called exactly
    as an option is, but for the case.
    """
    for attribute, value in body.items():
        if attribute.startswith("_") or attribute in _SETTABLE or callable(value) or hasattr(type(value), "__get__"):
            continue
        meant = nearest(attribute, _CHECKED_FOR, 1.0 if attribute.isupper() else CLOSE)
        if meant is not None and meant not in body:
            raise SpecificationError(
                f"{name}: {attribute!r} is no option of a specification, and would have no effect: did you mean "
                f"{meant!r}? Give an attribute of your own another name, or a leading underscore"
            )


def _check_handler(name: str, handler: object) -> None:
    if handler is None:
        return
    if not isinstance(handler, (classmethod, staticmethod)):
        rule = "error_handler must be a classmethod or a staticmethod"
        raise SpecificationError(f"{name}: {rule}, got: {handler!r}; write @classmethod above it")
    function = inspect.unwrap(handler.__func__)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise SpecificationError(f"{name}: error_handler must not be async, got: {function!r}")


def reduce_class(cls: type[Specification]) -> str | tuple[Any, ...]:
    """Return how to pickle `cls`: by name if it can be imported, else by its content."""
    # The class is made first and gets its methods in a second step: the `__class__` cell of a method refers to the
    # class, so the class must exist before its methods are unpickled.
    if cls is Specification or importable(cls):
        return cls.__qualname__
    own = {key: value for key, value in cls.__dict__.items() if key not in _NOT_SHIPPED}
    ports = {option: getattr(cls, option) for option in BESIDES}
    return _make_class, (cls.__name__, cls.__bases__, cls.declaration, ports), own, None, None, _set_body


_NOT_SHIPPED = {*Specification.__annotations__, "__module__", "__dict__", "__weakref__", "__doc__", "__annotations__"}


def _make_class(
    name: str, bases: tuple[type, ...], declaration: Declaration, ports: dict[str, Any]
) -> type[Specification]:
    body = {option: getattr(declaration, option) for option in ("name", "transitions", *OPTIONS)} | ports
    if declaration.initial_state is not None:
        body["initial_state"] = declaration.initial_state
    return cast(type[Specification], types.new_class(name, bases, {}, lambda space: space.update(body)))


def _set_body(cls: type[Specification], own: dict[str, Any]) -> None:
    for key, value in own.items():
        setattr(cls, key, value)


copyreg.pickle(SpecificationMeta, reduce_class)  # type: ignore[arg-type]
