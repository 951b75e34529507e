"""The rooms' import rules (pyproject.toml, docs/explanation/architecture.md): who may know whom."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator, Set
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_room_imports_what_it_must_not_know() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_domain_loads_without_any_means_of_io() -> None:
    # the rules above are about what nh's modules name; this one is about what really gets loaded
    program = (
        "import sys, nh.calls.table\n"
        "print(*(name for name in ('socket', 'select', 'selectors', 'logging') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_no_circle_of_imports_is_in_nh() -> None:
    # imports for type checkers and those within functions count: a circle of types cannot be read from an end
    paths = {module_name(path): path for path in (ROOT / "nh").rglob("*.py")}
    graph = {
        name: [each for each in imports(path, paths.keys()) if each != name] for name, path in paths.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as exc:
        raise AssertionError(" imports ".join(reversed(exc.args[1]))) from None


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, modules: Set[str]) -> Iterator[str]:
    """Those of `modules` that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules else str(node.module) for name in submodules]
        yield from (name for name in names if name in modules)
