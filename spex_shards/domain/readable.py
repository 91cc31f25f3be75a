"""The ways in which a specification is made from what exists: a machine of another library, or a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from .. import formats
from .difference import in_order
from .transition import Transition

if TYPE_CHECKING:
    from .specification import Specification

machines: Callable[..., type[Specification]] | None = None
"""Makes a specification from a machine; the façade sets it, since adapters are above the domain."""


class Readable:
    """The part of `Specification` that makes specifications from machines and texts."""

    @classmethod
    def from_machine(
        cls, machine: Any, name: str | None = None, *, auto_transitions: bool = False, **options: Any
    ) -> type[Specification]:
        """Return a specification with the transitions that a machine of another library declares.

        The states of a compound state are taken apart: a transition of a state counts for all states within it.
        Conditions, guards and callbacks are not read.

        Args:
            machine: A `Machine` of the library transitions, with its states and transitions; or a machine, or a class
                of machines, of python-statemachine.
            name: The specification's name; by default that of the machine's class, or of its model's.
            auto_transitions: Whether the transitions ``to_STATE`` count that the library transitions adds by itself.
            **options: Options of `define`.

        Raises:
            TypeError: `machine` is none of these.
            ValueError: It has no initial state, no transitions, or parallel or history states.
            SpecificationError: An option is wrong.
        """
        assert machines is not None
        return machines(machine, name, base=cls, auto_transitions=auto_transitions, **options)

    @classmethod
    def from_mermaid(cls, text: str, name: str, **options: Any) -> type[Specification]:
        """Return a specification from a Mermaid state diagram, as written by hand or by ``spex-shards render``.

        Args:
            text: The diagram (``stateDiagram-v2``), without nested states. ``[*] --> STATE`` names the initial state,
                and each other arrow needs an action: ``new --> paid : pay``. ``τ`` is the internal action.
            name: The specification's name.
            **options: Options of `define`.

        Raises:
            DeserialisationFailed: The text is malformed; names the line and the rule.
            SpecificationError: An option is wrong.
        """
        return _defined(cls, name, formats.mermaid_text.parse(text), options)

    @classmethod
    def from_scxml(cls, text: str, name: str, **options: Any) -> type[Specification]:
        """Return a specification from an SCXML document (W3C); it is read as data, and nothing in it is executed.

        States, transitions and initial states are read, compound states included. Conditions make a transition one of
        several possibilities. Everything else (data, scripts, actions on entry and exit, invocations) is left out, and
        logged on the logger ``spex_shards`` at level INFO.

        Args:
            text: The document.
            name: The specification's name.
            **options: Options of `define`.

        Raises:
            DeserialisationFailed: The text is malformed, has a document type, or has parallel or history states; names
                the line and the rule.
            SpecificationError: An option is wrong.
        """
        return _defined(cls, name, formats.scxml_text.parse(text), options)

    @classmethod
    def from_aut(cls, text: str, name: str, **options: Any) -> type[Specification]:
        """Return a specification from Aldebaran text, as CADP and mCRL2 write it; its states are called "0", "1", ….

        Args:
            text: The text.
            name: The specification's name.
            **options: Options of `define`.

        Raises:
            DeserialisationFailed: The text is malformed; names the line and the rule.
            SpecificationError: An option is wrong.
        """
        return _defined(cls, name, in_order(formats.aut_text.parse(text)), options)


def _defined(cls: Any, name: str, steps: Iterable[Transition], options: dict[str, Any]) -> type[Specification]:
    listed = list(steps)
    initial = next(step.target for step in listed if step.source is None)
    made = cls.define(name, [step for step in listed if step.source is not None], initial_state=initial, **options)
    return cast("type[Specification]", made)
