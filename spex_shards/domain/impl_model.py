"""`ImplModel`: the observed behaviour of an implementation, as a value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .. import formats
from .difference import Difference, difference
from .transition import INITIALISATION, Transition


@dataclass(frozen=True, kw_only=True, slots=True)
class ImplModel:
    """The implementation model of a specification: the transitions that its instances were seen to make.

    It is frozen, and compared by value.

    Args:
        specification: Name of the specification.
        transitions: Any iterable of triples (source, action, target) of `str`. The source is None exactly if the action
            is ``__initialisation__``.
        learning_mode: Whether new transitions are added without being judged.

    Raises:
        TypeError: An argument or a name has another type.
        ValueError: An entry is not a triple, or its source is None without an initialisation, or the other way round.
    """

    specification: str
    transitions: frozenset[Transition] = frozenset()
    learning_mode: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.specification, str):
            raise TypeError(f"the specification must be a name (str), got: {self.specification!r}")
        if not isinstance(self.learning_mode, bool):
            raise TypeError(f"learning_mode must be a bool, got: {self.learning_mode!r}")
        object.__setattr__(self, "transitions", frozenset(map(_checked, self.transitions)))

    @property
    def initialisations(self) -> tuple[str, ...]:
        """The states in which instances were initialised, sorted."""
        return tuple(sorted(t.target for t in self.transitions if t.source is None))

    def diff(self, other: ImplModel) -> Difference:
        """Return the changes from this model to `other`; the result is false if there are none.

        Names and learning modes are not compared.

        Raises:
            TypeError: `other` is not a model.
        """
        if not isinstance(other, ImplModel):
            raise TypeError(f"a model can be compared with a model only, got: {other!r}")
        return difference(self.transitions, other.transitions)

    def serialise(self) -> str:
        """Return the content of the model's `.spex` file; equal models have equal texts.

        Raises:
            ValueError: A name contains a lone surrogate, which no file can hold.
        """
        return formats.spex_text.write(self.specification, self.learning_mode, self.transitions)

    def to_mermaid(self) -> str:
        """Return the model as a Mermaid state diagram; equal models have equal texts."""
        return formats.mermaid_text.write(self.transitions)

    def to_dot(self) -> str:
        """Return the model as Graphviz dot text; equal models have equal texts.

        Raises:
            ValueError: A name contains a lone surrogate.
        """
        return formats.dot_text.write(self.specification, self.transitions)

    def to_show(self) -> tuple[str, frozenset[Transition]]:
        """Return what a notebook shows: a title, and the transitions."""
        size = formats.notebook.counted(sum(t.source is not None for t in self.transitions), "transition")
        return f"{self.specification}: {size}, learning {'on' if self.learning_mode else 'off'}", self.transitions

    def _repr_html_(self) -> str:
        return formats.notebook.html(*self.to_show())

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return formats.notebook.bundle(repr(self), *self.to_show())

    @classmethod
    def deserialise(cls, text: str) -> ImplModel:
        """Return the model from a text that `serialise`, or the library's Elixir ancestor, wrote.

        Raises:
            DeserialisationFailed: The text is malformed; the message names the line and the rule. Context: `line`.
            TypeError: `text` is not a `str`.
        """
        if not isinstance(text, str):
            raise TypeError(f"the text of a model must be a str, got: {type(text).__name__}")
        parsed = formats.spex_text.parse(text)
        return cls(
            specification=parsed.specification,
            transitions=parsed.transitions,
            learning_mode=parsed.learning_mode,
        )


def _checked(entry: Iterable[str | None]) -> Transition:
    if not isinstance(entry, (tuple, list)) or len(entry) != 3:
        raise ValueError(f"a transition of a model must be a triple (source, action, target), got: {entry!r}")
    source, action, target = entry
    if type(action) is str and type(target) is str and (type(source) is str or source is None):
        if (source is None) == (action == INITIALISATION):
            return entry if isinstance(entry, Transition) else Transition(source, action, target)
        raise ValueError(
            f"the source of a model's transition must be None for {INITIALISATION} and for nothing else, got: {entry!r}"
        )
    if not isinstance(action, str) or not isinstance(target, str) or not isinstance(source, (str, type(None))):
        raise TypeError(f"a transition of a model must be made of str (the source may be None), got: {entry!r}")
    # Instances of subclasses of str, such as Enum members, are replaced by their values.
    return _checked(tuple(None if name is None else str.__str__(name) for name in (source, action, target)))
