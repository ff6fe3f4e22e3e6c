"""Which settings the code reads, by type: `x.count` reads a setting if x is of the settings class that has it.

Types follow from annotations (of parameters, fields and return values) and from assignments, as plain code needs. What
a settings class reads of itself counts if something outside reads the property or method that does so, up to those that
only make a key of the settings.
"""

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

_FOR_KEYS = {"configuration", "_unread"}
_COPIES = {"model_copy", "model_validate"}
Types = dict[str, str]
"""Names of classes by the name of what is of them."""


class _Reader(ast.NodeVisitor):
    """Notes (class, attribute) of all that is read in modules; twice over them, for what is assigned further down."""

    def __init__(self, fields: dict[str, Types]) -> None:
        self.fields, self.returns = fields, {}
        self.read: dict[str, set[tuple[str, str]]] = {}
        self._env: Types = {}
        self._class = self._function = ""
        self._depth = 0

    def visit_Module(self, node: ast.Module) -> None:
        self._env = {}
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer, self._class = self._class, node.name
        self.fields.setdefault(node.name, {})
        self.generic_visit(node)
        self._class = outer

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer = self._env, self._function
        if node.returns is not None and (kind := self._annotated(node.returns)):
            self.returns[node.name] = kind
            if self._class and any(getattr(each, "id", "").endswith("property") for each in node.decorator_list):
                self.fields[self._class][node.name] = kind
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        self._env = {**self._env, **{each.arg: self._annotated(each.annotation) for each in arguments}}
        if self._class and arguments and arguments[0].arg in ("self", "cls"):
            self._env[arguments[0].arg] = self._class
            self._function = f"{self._class}.{node.name}"
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1
        self._env, self._function = outer

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.target, ast.Name) and (kind := self._annotated(node.annotation)):
            if self._class and not self._depth:
                self.fields[self._class][node.target.id] = kind
            else:
                self._env[node.target.id] = kind
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            for name, value in pairs:
                kind = self._type(value)
                if isinstance(name, ast.Name):
                    self._env[name.id] = kind
                elif isinstance(name, ast.Attribute) and kind and (owner := self._type(name.value)):
                    self.fields.setdefault(owner, {})[name.attr] = kind

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load) and (owner := self._type(node.value)):
            self.read.setdefault(self._function, set()).add((owner, node.attr))
        self.generic_visit(node)

    def _type(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            return self._env.get(node.id, "")
        if isinstance(node, ast.Attribute):
            return self.fields.get(self._type(node.value), {}).get(node.attr, "")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _COPIES:
            return self._type(node.func.value)
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
            return self.returns.get(name, name if name in self.fields else "")
        return ""

    def _annotated(self, node: ast.expr | None) -> str:
        """The class in an annotation, of `X`, `"X"` or `X | None`; the first one that has fields."""
        if node is None:
            return ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node = ast.parse(node.value, mode="eval").body
        names = [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]
        if isinstance(node, ast.Subscript):  # a container of them is none of them
            return ""
        return next((name for name in names if name in self.fields), "")


def unread(kinds: Iterable[type[BaseModel]], sources: Iterable[str]) -> set[str]:
    """Fields of settings classes that nothing in the sources reads, as `Class.field`; fields that hold another of these
    classes count by what is in it."""
    known = {kind.__name__: kind for kind in kinds}
    fields: dict[str, Types] = {}
    for name, kind in known.items():
        held = {field: _inner(info.annotation) for field, info in kind.model_fields.items()}
        fields[name] = {field: inner for field, inner in held.items() if inner in known}
    trees = [ast.parse(source) for source in sources]
    for tree in trees:  # every class that may hold settings
        fields |= {n.name: {} for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name not in fields}
    reader = _Reader(fields)
    for _ in range(3):
        reader.read.clear()
        for tree in trees:
            reader.visit(tree)
    read: set[tuple[str, str]] = set()
    within = {place: what for place, what in reader.read.items() if place.partition(".")[0] in known}
    more = set().union(*(what for place, what in reader.read.items() if place not in within))
    while more - read:
        read |= more
        members = [f"{kind}.{name}" for kind, name in more if name not in _FOR_KEYS]
        more = set().union(*(within.get(member, set()) for member in members))
    return {
        f"{name}.{field}"
        for name, kind in known.items()
        for field in kind.model_fields
        if (name, field) not in read and field not in fields[name]
    }


def _inner(annotation: object) -> str:
    """The name of a class, or of that in `X | None`."""
    parts = [each for each in get_args(annotation) if isinstance(each, type) and issubclass(each, BaseModel)]
    return parts[0].__name__ if parts else getattr(annotation, "__name__", "")


def sources_of(*folders: Path) -> list[str]:
    return [path.read_text() for folder in folders for path in sorted(folder.rglob("*.py"))]
