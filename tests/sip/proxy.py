"""A real Net::SIP::StatelessProxy between two networks."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.sip.message import host_port_of

PROXY = Path(__file__).parents[1] / "netsip" / "perl" / "proxy.pl"

NEAR = "127.0.0.1"
FAR = "127.0.0.2"

Legs = tuple[tuple[str, int], tuple[str, int]]


@contextlib.contextmanager
def running_proxy(helper: str, near: str = NEAR, far: str = FAR) -> Iterator[Legs]:
    """proxy.pl with the NAT helper at `helper`; where its two legs listen."""
    with subprocess.Popen(
        ["perl", str(PROXY), helper, near, far], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        legs = process.stdout.readline().split()
        assert len(legs) == 2, "proxy.pl did not start; what it said is on standard error"
        yield host_port_of(f"sip:{legs[0]}"), host_port_of(f"sip:{legs[1]}")
        assert process.poll() is None, f"the proxy died with status {process.returncode}"
        process.communicate(timeout=20)  # it ends with its standard input
    assert process.returncode == 0
