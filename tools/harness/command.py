"""A subcommand of nh, run in this process for a relay under test."""

from typer.testing import CliRunner, Result

from nh.cli.main import app
from tools.harness.relay import Place


def nh(place: Place, command: str, *words: str) -> Result:
    """What came of `nh COMMAND` with a relay's runtime directory."""
    return CliRunner().invoke(app, [command, *words, "--runtime-dir", str(place.directory)])


def nh_ok(place: Place, command: str, *words: str) -> Result:
    """The same; it succeeds."""
    result = nh(place, command, *words)
    assert result.exit_code == 0, result.output
    return result
