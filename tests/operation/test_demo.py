"""`make demo`."""

import subprocess
import sys

from tools.harness.ports import claim_ports


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.demo", *arguments],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_the_demo_loses_no_packet() -> None:
    with claim_ports(200) as ports:
        port_range = f"{ports[0]}-{ports[-1]}"
        result = demo("--calls", "4", "--seconds", "0.4", "--shards", "2", "--ports", port_range)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Every packet arrived" in result.stdout
    assert "demo-3@nh" in result.stdout


def test_the_demo_refuses_what_it_cannot_do() -> None:
    result = demo("--calls", "0")
    assert result.returncode == 2
    assert "argument --calls: '0' is not a whole number from 1 to 500" in result.stderr
