"""Annotations that mean the same under each version of Python.

Since Python 3.14 (PEP 649) the annotations of a class are evaluated when a program asks for them, when all
members of the class are there: `bytes` is then the member of that name, and msgspec refuses the class.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_annotation_of_a_field_names_a_member_of_its_class() -> None:
    paths = [path for room in ("nh", "tools", "benchmarks") for path in (ROOT / room).rglob("*.py")]
    found = [
        f"{path.relative_to(ROOT)}: {each}: say builtins.bytes, or what else is meant"
        for path in paths
        for each in ambiguous(path.read_text())
    ]
    assert found == []


def test_such_an_annotation_is_found() -> None:
    source = "class A:\n    key: tuple[bytes, ...]\n    bytes: int\n\n    def size(self) -> int: ...\n"
    assert list(ambiguous(source)) == ["A.key: bytes"]
    assert list(ambiguous(source.replace("[bytes", "[builtins.bytes"))) == []


def ambiguous(source: str) -> Iterator[str]:
    """CLASS.FIELD: NAME of each annotation that names a member of its class."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            members = {name for statement in node.body for name in bound(statement)}
            for statement in node.body:
                if isinstance(statement, ast.AnnAssign):
                    named = (each.id for each in ast.walk(statement.annotation) if isinstance(each, ast.Name))
                    field = ast.unparse(statement.target)
                    yield from (f"{node.name}.{field}: {name}" for name in named if name in members)


def bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement of a class's body binds."""
    match statement:
        case ast.AnnAssign(target=ast.Name(name)):
            yield name
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
