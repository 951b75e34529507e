"""A phone on the relay's own link that sends from its link-local address; the relay's is a global one."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from nh.calls.media import Media, Side
from nh.client import Client
from tests.kernel.hosts import BOB, NEAR_ALICE, NEAR_BOB, Hosts, audio, phone_on, relay_on, three_hosts
from tools.harness.relay import Relay
from tools.harness.waiting import TIMEOUT_S
from tools.rtp import RtpPacket

pytestmark = pytest.mark.kernel

ALICE = "fe80::a"


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with three_hosts() as hosts:
        hosts.alice.run(f"ip address add {ALICE}/64 dev to_alice nodad")
        yield hosts


@pytest.fixture(scope="module", params=["on", "off"])
def relay(request: pytest.FixtureRequest, hosts: Hosts) -> Iterator[Relay]:
    with relay_on(hosts.relay, kernel=request.param) as relay:
        yield relay


@contextlib.contextmanager
def link_local_phone(hosts: Hosts) -> Iterator[socket.socket]:
    with hosts.alice.entered():
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.bind((ALICE, 0, 0, socket.if_nametoindex("to_alice")))
    with sock:
        sock.settimeout(TIMEOUT_S)
        yield sock


def test_a_phone_with_a_link_local_address_is_heard_and_hears(hosts: Hosts, relay: Relay) -> None:
    """What its SDP says names no link; its packets do."""
    call_id = "link-local"
    with link_local_phone(hosts) as alice, phone_on(hosts.bob, BOB[6]) as bob:
        port = alice.getsockname()[1]
        client = Client(relay.unix_address, TIMEOUT_S)
        basic = [call_id, 1, "alice", "bob", "", ""]
        media = [Media(ALICE, port, 2, "RTP/AVP", "audio")]
        [for_bob] = client.allocate_sockets(basic, Side.FROM, NEAR_BOB[6], media) or []
        [for_alice] = client.allocate_sockets(basic, Side.TO, NEAR_ALICE[6], [audio(bob)]) or []
        assert client.activate_session(basic) == 1
        for number in range(5):
            packet = RtpPacket(1, number, 0).encode()
            alice.sendto(packet, for_alice[:2])
            assert bob.receive()[0] == packet
            bob.send(packet, for_bob[:2])
            assert alice.recv(1000) == packet
        leg = relay.call(call_id.encode()).sessions[-1].pairs[0].from_
        assert leg.source == f"[{ALICE}%to_alice]:{port}"
        assert leg.dropped == {}
        assert not leg.kernel
