"""docs/reference/kernel.md explains every reason that `nh calls` may give for a direction in user space."""

import ast
import inspect
from pathlib import Path

import pytest

from nh.shard.media.kernel import offload_rules
from nh.shard.media.kernel import path as kernel_path

PAGE = (Path(__file__).parents[2] / "docs/reference/kernel.md").read_text(encoding="utf-8")


def reasons() -> list[str]:
    """The texts that the functions which look for obstacles may return."""
    found = [kernel_path.FULL]
    for module, name in (
        (kernel_path, "_entry_for"),
        (offload_rules, "why_not_latched"),
        (offload_rules, "find_obstacle"),
    ):
        (function,) = (
            node
            for node in ast.walk(ast.parse(inspect.getsource(module)))
            if isinstance(node, ast.FunctionDef) and node.name == name
        )
        texts = [text for each in function.body[1:] for text in texts_in(each)]
        assert texts, name
        found += texts
    return found


def texts_in(statement: ast.stmt) -> list[str]:
    """The constants of several words, as reasons are."""
    constants = [node.value for node in ast.walk(statement) if isinstance(node, ast.Constant)]
    return [each for each in constants if isinstance(each, str) and " " in each.strip()]


@pytest.mark.parametrize("reason", reasons())
def test_every_reason_is_explained(reason: str) -> None:
    assert f"| {reason} |" in PAGE
