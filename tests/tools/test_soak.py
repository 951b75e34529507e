"""The soak tool: a verdict on a relay without faults, and findings where something is lost or left."""

import json
import sys
from pathlib import Path

import pytest

from tools.harness.ports import claim_ports
from tools.harness.program import Program
from tools.soak.leaks import Reading, memory_trend

SOAK = [sys.executable, "-m", "tools.soak", "--minutes", "0.15", "--calls", "10", "--call-s", "2"]
MIB = 1 << 20


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_without_faults_every_promise_is_kept(tmp_path: Path) -> None:
    with claim_ports(200) as ports:
        arguments = ["--seed", "7", "--fault", "none", "--ports", f"{ports[0]}-{ports[-1]}"]
        arguments += [
            "--patience-s",
            "3",
        ]  # the other tests use the CPUs: gaps are longer, packets arrive all the same
        with Program([*SOAK, *arguments, "--json", str(tmp_path / "soak.json")]) as program:
            assert program.wait(120) == 0, program.output
    assert "seed 7" in program.output
    assert "Every promise was kept." in program.output
    report = json.loads((tmp_path / "soak.json").read_bytes())
    assert (report["lost"], report["doubled"], report["findings"]) == (0, 0, [])
    assert report["calls"] > 10
    _, most, after = report["descriptors"]
    assert 0 < after < most
    assert report["sent"] > 10 * 2 * 50


def test_what_it_cannot_do_is_said() -> None:
    with Program([*SOAK, "--shards", "100000"]) as program:
        assert program.wait(60) == 2
    assert "soak: nh run ended before it was ready" in program.output


def readings(*mib: int) -> list[Reading]:
    return [Reading(50, size * MIB) for size in mib for _ in range(30)]


def test_memory_that_grows_and_grows_is_a_finding() -> None:
    [line] = memory_trend(readings(100, 200, 300))
    assert line == "memory grew from 200 to 300 MiB in the last third of the time"


def test_memory_that_fills_up_once_is_none() -> None:
    assert memory_trend(readings(100, 200, 205)) == []
