"""Finds the places of a specification's transitions in the source: the file, and the line of each tuple in the class.

The source is parsed with `ast`, and never run. Each entry of the class's list `transitions` is read if it consists of
literals and names of its module (such as Enum members), or is ``*Other.transitions``. Transitions that are computed in
another way have the line of the assignment; without source, they have no place.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..domain.names import as_name
from ..domain.specification import Specification, is_specification
from ..domain.transition import Transition

MOST_INHERITED = 32
"""How many classes deep ``*Other.transitions`` is followed."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line (from 1) of a file; the path is relative to the current directory if the file lies below that."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Places:
    """The places of a class and its transitions; `declared` is None if there is no source."""

    declared: Place | None = None
    transitions: dict[Transition, Place] = field(default_factory=dict)

    def of(self, transition: Transition | None) -> Place | None:
        """Return a transition's place, or that of the class if it has none."""
        return self.declared if transition is None else self.transitions.get(transition, self.declared)


def locate(cls: type[Specification]) -> Places:
    """Return the places of a specification in the source that it was imported from.

    Args:
        cls: The specification. One made by `define` or from stored data has no place.
    """
    body = _body_of(cls)
    if body is None:
        return Places()
    found: dict[Transition, Place] = {}
    for transition, place in _entries(cls, 0):
        if transition in cls.transitions:
            found.setdefault(transition, place)
    return Places(Place(_shown(body.file), body.node.lineno), found)


@dataclass(frozen=True, slots=True)
class _Body:
    file: Path
    node: ast.ClassDef
    names: dict[str, Any]


def _entries(cls: type[Specification], depth: int) -> Iterator[tuple[Transition, Place]]:
    for owner in cls.__mro__:
        body = _body_of(owner) if "transitions" in vars(owner) else None
        value = None if body is None else _assigned(body.node, "transitions")
        if body is not None and value is not None:
            yield from _listed(body, value, depth)
            whole = Place(_shown(body.file), value.lineno)
            yield from ((transition, whole) for transition in owner.__dict__["transitions"])
            return


def _listed(body: _Body, value: ast.expr, depth: int) -> Iterator[tuple[Transition, Place]]:
    for item in value.elts if isinstance(value, (ast.List, ast.Tuple, ast.Set)) else ():
        if isinstance(item, ast.Starred):
            other = item.value
            taken: Any = _resolve(other.value, body.names) if isinstance(other, ast.Attribute) else None
            if is_specification(taken) and depth < MOST_INHERITED:
                yield from _entries(taken, depth + 1)
        elif isinstance(item, (ast.Tuple, ast.List)) and len(item.elts) == 3:
            names = [as_name(_resolve(part, body.names)) for part in item.elts]
            if None not in names:
                source, action, target = map(str, names)
                yield Transition(source, action, target), Place(_shown(body.file), item.lineno)


def _resolve(node: ast.expr, names: dict[str, Any]) -> Any:
    """Return the value of a literal, a name or an attribute, or None; nothing is imported or called for that."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        holder = _resolve(node.value, names)
        # Statically: a `__getattr__` or property of the application must not run.
        return inspect.getattr_static(holder, node.attr, None) if holder is not None else None
    return None


def _assigned(node: ast.ClassDef, name: str) -> ast.expr | None:
    value = None
    for statement in node.body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == name for t in statement.targets
        ):
            value = statement.value
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            value = statement.value if statement.target.id == name else value
    return value


def _body_of(cls: type) -> _Body | None:
    module = sys.modules.get(cls.__module__)
    try:
        file = inspect.getsourcefile(module) if module is not None else None
        tree = ast.parse(Path(file).read_bytes()) if file else None
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    if tree is None or file is None or module is None:
        return None
    node = _class_in(tree, cls.__qualname__.replace(".<locals>", "").split("."))
    return None if node is None else _Body(Path(file), node, vars(module))


def _class_in(tree: ast.Module, path: list[str]) -> ast.ClassDef | None:
    node: ast.AST | None = tree
    for name in path:
        # The last definition of a name counts, as when the module is run.
        inner = [n for n in _definitions(node) if n.name == name] if node is not None else []
        node = inner[-1] if inner else None
    return node if isinstance(node, ast.ClassDef) else None


def _definitions(node: ast.AST) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield child
        elif isinstance(child, ast.stmt):
            yield from _definitions(child)  # inside `if`, `try` or `with`


def _shown(path: Path) -> str:
    here = Path.cwd()
    absolute = path.resolve()
    return absolute.relative_to(here).as_posix() if absolute.is_relative_to(here) else str(path)
