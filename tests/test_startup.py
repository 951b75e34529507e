"""What a start loads: each process only what it uses, because imports are most of what a start costs."""

import subprocess
import sys

import pytest

ASYNC_AND_DRAWING = {"asyncio", "argparse", "pydantic", "rich"}
HEAVY = {"psutil"}
HTTP = {"nh.http", "uvicorn", "starlette", "websockets", "prometheus_client"}


@pytest.mark.parametrize(
    ("program", "unwanted"),
    [
        (
            "nh.supervisor.main",
            ASYNC_AND_DRAWING
            | HEAVY
            | HTTP
            | {
                "typer",
                "nh.shard",
                "nh.calls.table",
                "nh.sdp",
                "nh.wire.ng",
                "nh.wire.rtpproxy",
                "nh.supervisor.timeouts",
            },
        ),
        (
            "nh.shard.link.control",
            ASYNC_AND_DRAWING | HEAVY | {"typer", "sqlite3", "nh.supervisor", "nh.wire", "nh.rpc"},
        ),
        (
            "nh.cli.main",
            ASYNC_AND_DRAWING
            | HEAVY
            | {"multiprocessing", "nh.client", "nh.stats", "nh.supervisor", "nh.shard"},
        ),
        ("nh.errors", HEAVY | {"msgspec", "typer"}),
    ],
)
def test_a_process_loads_only_what_it_uses(program: str, unwanted: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {program}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not unwanted & set(done.stdout.split())
