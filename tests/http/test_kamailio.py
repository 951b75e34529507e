"""Calls through a real Kamailio that asks nh over a WebSocket (its module lwsc)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ng.kamailio import DOCUMENT, NODES, Kamailio, running_documented
from tests.ng.relays import INTERFACES
from tests.sip.calls import establish, hang_up, talk
from tests.sip.phone import Phone
from tests.sip.proxy import FAR, NEAR
from tools.harness.http import http_address, http_client
from tools.harness.relay import Relay, running_relay

pytestmark = [
    pytest.mark.kamailio,
    pytest.mark.full,
    pytest.mark.skipif(
        not any(Path("/usr/lib").glob("*/kamailio/modules/lwsc.so")),
        reason="needs Kamailio's module lwsc: apt-get install kamailio-lwsc-modules",
    ),
]

MODULE = 'loadmodule "rtpengine.so"'


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    interfaces = ",".join(f"{name}/{address}" for name, address in INTERFACES)
    with running_relay(http="127.0.0.1:0", http_ng=True, interface=interfaces) as relay:
        yield relay


@pytest.fixture(scope="module")
def kamailio(relay: Relay) -> Iterator[Kamailio]:
    host, port = http_address(relay)
    with http_client(relay) as client:  # Kamailio asks once, and comes back to a silent relay in a minute
        assert client.get("/readyz").status_code == 200
    changes = {
        MODULE: f'loadmodule "lwsc.so"\n{MODULE}\nmodparam("rtpengine", "wsapi", "lwsc")',
        NODES: f"ws://{host}:{port}",
    }
    with running_documented(DOCUMENT, changes) as kamailio:
        yield kamailio


def test_a_call_from_invite_to_bye(relay: Relay, kamailio: Kamailio) -> None:
    with Phone("alice", NEAR, kamailio.near) as alice, Phone("bob", FAR, kamailio.near) as bob:
        establish(alice, bob)
        talk(alice, bob)
        with http_client(relay) as client:
            shown = client.get(f"/api/calls/{alice.call_id.decode()}")
            assert shown.status_code == 200, kamailio.program.output
        hang_up(alice, bob)
    relay.wait_until_gone(alice.call_id)
