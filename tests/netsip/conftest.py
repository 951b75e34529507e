"""What the tests with Net::SIP have in common: a relay, Perl's own server, and Perl clients of both."""

from collections.abc import Iterator

import pytest

from tests.netsip.perl_helper import PerlHelperClient
from tools.harness.other_relays import running_nathelper
from tools.harness.ports import claim_ports
from tools.harness.relay import Relay, running_relay


@pytest.fixture(scope="session")
def relay() -> Iterator[Relay]:
    """A relay with the default settings, for tests that keep to calls of their own."""
    with running_relay() as running:
        yield running


@pytest.fixture(scope="session")
def kernel_relay() -> Iterator[Relay]:
    """The same with the path in the kernel, on loopback."""
    with running_relay(kernel="on", kernel_interface="lo") as running:
        yield running


@pytest.fixture(scope="session")
def nathelper() -> Iterator[str]:
    with claim_ports(1) as [port], running_nathelper(port):
        yield f"127.0.0.1:{port}"


@pytest.fixture(
    scope="session", params=["nh", pytest.param("nh in the kernel", marks=pytest.mark.kernel), "nathelper.pl"]
)
def helper(request: pytest.FixtureRequest) -> Iterator[PerlHelperClient]:
    """A Perl client of nh, with and without the path in the kernel, and one of Perl's server."""
    if request.param != "nathelper.pl":
        relay = "relay" if request.param == "nh" else "kernel_relay"
        address = request.getfixturevalue(relay).unix_address
    else:
        address = request.getfixturevalue("nathelper")
    with PerlHelperClient(address) as client:
        yield client


@pytest.fixture(scope="session")
def nh_helper(relay: Relay) -> Iterator[PerlHelperClient]:
    """A Perl client of nh, for what Perl's server does wrong or not at all."""
    with PerlHelperClient(relay.unix_address) as client:
        yield client
