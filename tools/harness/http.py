"""Where a relay serves HTTP, and clients of it."""

import re

import httpx

from nh.address import TcpAddress, parse_rpc_address
from tools.harness.relay import Relay

TIMEOUT_S = 60.0
"""Longer than anything here takes: the HTTP process has a low priority, so a busy host starts it late."""


def http_address(relay: Relay) -> tuple[str, int]:
    """(host, port), from the line that nh prints when it is ready."""
    found = re.search(r"http ([^ ;]+)", relay.program.wait_for_line("ready"))
    assert found, relay.program.output
    address = parse_rpc_address(found[1])
    assert isinstance(address, TcpAddress)
    return address.host, address.port


def http_client(relay: Relay) -> httpx.Client:
    """A client of that address, without any proxy of the environment."""
    host, port = http_address(relay)
    return httpx.Client(base_url=f"http://{host}:{port}", timeout=TIMEOUT_S, trust_env=False)
