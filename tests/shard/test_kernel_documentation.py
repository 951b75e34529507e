"""docs/reference/kernel.md explains every reason that `nh calls` may give for a direction in user space."""

import ast
import inspect
from pathlib import Path

import pytest

from nh.shard.media import kernel_path

PAGE = (Path(__file__).parents[2] / "docs/reference/kernel.md").read_text(encoding="utf-8")


def reasons() -> list[str]:
    """The texts that the functions which look for obstacles may return."""
    deciding = ("_entry_for", "_not_latched", "_obstacle")
    functions = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(kernel_path)))
        if isinstance(node, ast.FunctionDef) and node.name in deciding
    ]
    assert len(functions) == len(deciding)
    returns = [node for each in functions for node in ast.walk(each) if isinstance(node, ast.Return)]
    constants = [part for each in returns for part in ast.walk(each) if isinstance(part, ast.Constant)]
    texts = [str(each.value) for each in constants if each.value]
    return [kernel_path.FULL, *(text for text in texts if " " in text.strip())]


@pytest.mark.parametrize("reason", reasons())
def test_every_reason_is_explained(reason: str) -> None:
    assert f"| {reason} |" in PAGE
