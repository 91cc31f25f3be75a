"""What a notebook shows of an answer: its text, and a drawing of the system that it is about."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import TYPE_CHECKING, Self

from .. import formats
from ..domain.impl_model import ImplModel
from ..domain.lts import LTS
from ..domain.transition import Transition

if TYPE_CHECKING:
    from ..formats.marks import Marks

_NOTHING = LTS("", ())


class ShownAnswer:
    """An answer about a model or system, which shows itself in notebooks."""

    def about(self, system: ImplModel | LTS) -> Self:
        """Return the same answer, with the model or system that it is about; that is drawn."""
        found = copy(self)
        found.__dict__["_about"] = system
        return found

    def told(self) -> tuple[str, Marks]:
        """Return the answer as text, and the transitions that are marked."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        (title, transitions), (text, marks) = self._system().to_show(), self.told()
        return formats.notebook.html(title, transitions, marks, text)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        (title, transitions), (text, marks) = self._system().to_show(), self.told()
        return formats.notebook.bundle(repr(self), title, transitions, marks, text)

    def _system(self) -> ImplModel | LTS:
        found: ImplModel | LTS = self.__dict__.get("_about", _NOTHING)
        return found


def marked(missing: Iterable[Transition] = (), deviating: Iterable[Transition] = ()) -> Marks:
    """Return marks for transitions of a system, whose states may be numbers: a drawing has their names as text."""
    mark = formats.marks.Mark
    return dict.fromkeys(map(_in_text, missing), mark.MISSING) | dict.fromkeys(map(_in_text, deviating), mark.DEVIATING)


def _in_text(transition: Transition) -> Transition:
    source, action, target = transition
    return Transition(None if source is None else str(source), action, str(target))
