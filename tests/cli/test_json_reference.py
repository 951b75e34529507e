"""docs/reference/json.md lists the fields that the commands print, and the protocol has the same."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.main import get_command

from nh.calls.media import RelayMedia, Side
from nh.calls.media_state import MediaState
from nh.cli.config import Shown
from nh.cli.health import Health
from nh.cli.json_text import json_text
from nh.cli.main import app
from nh.cli.upgrade import Upgraded
from nh.doctor.findings import Finding
from nh.logs.settings import LogLevel
from nh.results import (
    CallDetail,
    CallRecord,
    CallSummary,
    DrainState,
    EndedCall,
    EndSummary,
    GroupDetail,
    LogState,
    Reloaded,
)
from nh.verdict import Verdict
from nh.wire.native.values import to_json

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "json.md"


def documented(command: str) -> list[str]:
    (line,) = (line for line in PAGE.read_text().splitlines() if line.startswith(f"| {command} |"))
    return re.findall(r"`(\w+)`", line.split("|")[2])


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("`nh health`", Health),
        ("`nh calls`", CallSummary),
        ("`nh calls CALL-ID`", CallDetail),
        ("`nh calls --ended`", EndedCall),
        ("`nh calls --ended CALL-ID`", CallRecord),
        ("`nh drain`, `nh undrain`", DrainState),
        ("`nh upgrade`, `nh shards`", Upgraded),
        ("`nh reload`", Reloaded),
        ("`nh log`", LogState),
    ],
)
def test_the_page_lists_the_fields_of_a_result(command: str, kind: type[msgspec.Struct]) -> None:
    assert documented(command) == list(kind.__struct_encode_fields__)


def test_the_page_lists_the_fields_of_what_only_the_command_line_has() -> None:
    assert documented("`nh config`") == list(Shown._fields)
    assert documented("`nh why`") == ["call_id", "verdicts", *Verdict.__struct_fields__]
    assert documented("`nh doctor`") == ["status", "findings", *Finding.__struct_fields__]


def test_every_command_that_prints_json_is_on_the_page() -> None:
    group: Any = get_command(app)
    printing = {
        name
        for name, command in group.commands.items()
        if any("--json" in parameter.opts for parameter in command.params)
    }
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `nh ")]
    assert printing == {name for row in rows for name in re.findall(r"`nh (\w+)", row)}


END = EndSummary("192.0.2.1:4000", "PCMU", 10, 0.1, None, None)

RESULTS: list[msgspec.Struct] = [
    DrainState(True, 3, 1.5),
    Reloaded(("silent_s",), ("shards",)),
    LogState(LogLevel.INFO, {"rpc": LogLevel.DEBUG}),
    CallSummary(b"call", 0, 1.0, 0.5, 1, 4, 10, 2000, MediaState.ONE_WAY, END, None),
    GroupDetail(
        cseq=1,
        id=b"alice",
        side=Side.FROM,
        used=True,
        age_s=1.0,
        media=(RelayMedia("192.0.2.1", 10_000, 2),),
        local_ports=(10_000, 10_001),
    ),
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_the_command_line_prints_what_the_protocol_has(result: msgspec.Struct) -> None:
    assert json.loads(json_text(result)) == json.loads(msgspec.json.encode(to_json(result)))
