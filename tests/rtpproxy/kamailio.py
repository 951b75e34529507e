"""A real Kamailio with the configuration of docs/how-to/rtpproxy.md, and nh relays for it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.ng.kamailio import Kamailio, running_documented
from tests.ng.relays import NgRelay, running_nh
from tools.harness.ports import claim_ports

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "how-to" / "rtpproxy.md"

NODES: Final = ("1 == udp:127.0.0.1:22222", "2 == udp:127.0.0.1:22223")


class Relay(NamedTuple):
    """A running nh.

    Args:
        nh: as the tests of ng know it.
        node: where Kamailio asks it.
    """

    nh: NgRelay
    node: str


@contextlib.contextmanager
def running_relay(**settings: object) -> Iterator[Relay]:
    """`nh run --rtpproxy`, which ends well behind the test; settings as of running_nh()."""
    with claim_ports(1) as claimed:
        address = f"127.0.0.1:{claimed[0]}"
        with running_nh(rtpproxy=address, **settings) as nh:  # type: ignore[arg-type]
            yield Relay(nh, f"udp:{address}")


@contextlib.contextmanager
def running_kamailio(first: str, second: str) -> Iterator[Kamailio]:
    """A Kamailio with two relays, of which it asks the first one first."""
    nodes = {NODES[0]: f"1 == {first}", NODES[1]: f"2 == {second}"}
    with running_documented(DOCUMENT, nodes) as kamailio:
        yield kamailio
