"""nh.cli.examples: every example is a command line that nh understands, and every command has one."""

import shlex
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from nh.cli.examples import EXAMPLES
from nh.cli.main import app

LINES = [line for examples in EXAMPLES.values() for line, _ in examples]


def test_every_command_has_an_example() -> None:
    group: Any = get_command(app)
    assert set(EXAMPLES) == set(group.commands)


@pytest.mark.parametrize("line", LINES)
def test_an_example_is_understood(line: str) -> None:
    program, name, *words = shlex.split(line)
    assert program == "nh"
    group: Any = get_command(app)
    command = group.commands[name]
    context = command.make_context(name, list(words))
    assert context.params or name == "load"  # whose words are another program's


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - {"load"}))  # that executes another program
def test_the_help_shows_the_examples(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).stdout
    for line, what in EXAMPLES[name]:
        assert f"{line}  ({what})" in shown
