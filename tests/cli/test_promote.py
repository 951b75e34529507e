"""nh.cli.promote: what it asks a standby for, and what it says."""

import contextlib
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from nh.cli import promote
from nh.cli.main import app
from nh.commands import Promote
from nh.results import Promoting


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ([], Promote("", force=False)),
        (["relays"], Promote("relays", force=False)),
        (["--force"], Promote("", force=True)),
    ],
)
def test_calls_are_taken_from_a_relay_that_holds_on_to_them_by_force_only(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], asked: Promote
) -> None:
    """Without --force the relay that has the calls loses none: it is asked for them."""
    requests: list[Promote] = []

    def request(command: Promote) -> Promoting:
        requests.append(command)
        return Promoting("relays", "")

    client = contextlib.nullcontext(SimpleNamespace(request=request))
    monkeypatch.setattr(promote, "connect_to", lambda *_, **__: client)
    monkeypatch.setattr(promote, "_wait_until_serving", lambda *_: 3)
    result = CliRunner().invoke(app, ["promote", *arguments])
    assert result.exit_code == 0, result.output
    assert requests == [asked]
    assert "this relay serves relays now: 3 calls" in result.stdout
