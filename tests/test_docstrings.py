"""Docstrings name every argument that they describe some of, and every public attribute of a constructor.

A class whose docstring begins with "See …" has the attributes that are described there.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

ELSEWHERE = {"rare"}
"""Attributes that a class has for others: see nh.calls.rare.HasRare."""


def test_public_attributes_and_arguments_are_described() -> None:
    paths = [path for room in ("nh", "tools", "benchmarks") for path in sorted((ROOT / room).rglob("*.py"))]
    found = [f"{path.relative_to(ROOT)}: {each}" for path in paths for each in undescribed(path.read_text())]
    assert found == []


def test_what_is_not_described_is_found() -> None:
    text = '"""A.\n\n    Args:\n        size: of it.\n    """'
    made = "def __init__(self, size, more):\n        self.size = self._more = size"
    source = f"class A:\n    {text}\n\n    {made}\n"
    assert list(undescribed(source)) == ["A: more"]
    assert list(undescribed(source.replace("_more", "rest"))) == ["A: more", "A: rest"]
    assert list(undescribed(source.replace(", more", ""))) == []
    assert list(undescribed(source.replace("size: of it", "length: of it"))) == [
        "A: size",
        "A: more",
        "A: length",
    ]


def test_what_is_raised_and_returned_is_a_section_of_its_own() -> None:
    paths = [path for room in ("nh", "tools", "benchmarks") for path in sorted((ROOT / room).rglob("*.py"))]
    found = [
        f"{path.relative_to(ROOT)}: {text.splitlines()[0]}"
        for path in paths
        for text in docstrings(path.read_text())
        if re.search(r"\n\n(Args|Attributes|Raises|Returns):? \S", text)
    ]
    assert found == []


def docstrings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def undescribed(source: str) -> Iterator[str]:
    """NAME: WORD of each argument that `Args:` leaves out or invents, and each attribute without a word."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            made = next((each for each in node.body if is_function(each, "__init__")), None)
            text = ast.get_docstring(node) or ""
            if isinstance(made, ast.FunctionDef):
                words = [*wrong_arguments(made, text), *undescribed_attributes(made, text)]
                yield from (f"{node.name}: {word}" for word in dict.fromkeys(words))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            text = ast.get_docstring(node) or ""
            yield from (f"{node.name}(): {word}" for word in wrong_arguments(node, text))


def is_function(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == name


def wrong_arguments(function: ast.FunctionDef | ast.AsyncFunctionDef, text: str) -> Iterator[str]:
    """The arguments that `Args:` of a docstring leaves out, and those that it invents."""
    _, section, rest = text.partition("\nArgs:\n")
    if not section:
        return
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    names = [each.arg for each in every if each is not None and each.arg not in ("self", "cls")]
    described = re.findall(r"^    (\w+(?:, \w+)*):", rest.split("\n\n")[0], re.MULTILINE)
    words = [word for line in described for word in line.split(", ")]
    yield from (name for name in names if name not in words)
    yield from (word for word in words if word not in names)


def undescribed_attributes(constructor: ast.FunctionDef, text: str) -> Iterator[str]:
    """The public attributes that a constructor sets, and that its class's docstring has no word of."""
    if text.startswith("See "):
        return
    for node in ast.walk(constructor):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            of_self = isinstance(node.value, ast.Name) and node.value.id == "self"
            public = of_self and not node.attr.startswith("_") and node.attr not in ELSEWHERE
            if public and not re.search(rf"\b{node.attr}\b", text):
                yield node.attr
