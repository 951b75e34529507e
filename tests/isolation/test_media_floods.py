"""Floods of STUN and of ClientHellos at media ports: other calls lose nothing, nh stays small, and it answers
with no more than three times the bytes that came."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import pytest

from nh.ice.stun import StunAttribute, StunClass, encode
from tests.ice.phone import IcePhone, Where
from tests.ng.client import NgClient
from tests.ng.ng_call import NgCall
from tests.sip.sdp import MediaLine
from tests.srtp.dtls_phone import DtlsPhone
from tools.harness.media_peer import MediaPeer
from tools.harness.ports import claim_ports
from tools.harness.relay import Relay, running_relay
from tools.harness.waiting import eventually
from tools.rtpload.openssl_end import OpensslEnd
from tools.rtpload.options import ControlKind, LoadOptions
from tools.survive.background_load import background_load

PACKETS: Final = 10_000
SOURCES: Final = 50
MAX_TIMES: Final = 3
MAX_GROWTH_BYTES: Final = 8 * 2**20
"""What waits in queues and handshakes is bounded; two floods take 1.3 MiB."""

COUNTERS: Final = (
    *("ice_not_stun", "ice_incomplete", "ice_wrong_ufrag", "ice_wrong_password", "ice_unknown_attribute"),
    *("drop_protocol_overflow", "drop_overflow", "drop_source_mismatch", "dtls_failed", "dtls_busy"),
)


class Flooded(NamedTuple):
    """A relay, where it serves ng, and a client of it."""

    relay: Relay
    address: str
    client: NgClient


@pytest.fixture(scope="module")
def flooded() -> Iterator[Flooded]:
    with (
        claim_ports(1) as (port,),
        running_relay(shards=1, ng=f"127.0.0.1:{port}", address="127.0.0.1") as relay,
        NgClient(("127.0.0.1", port)) as client,
    ):
        yield Flooded(relay, f"127.0.0.1:{port}", client)


@pytest.fixture
def peers() -> Iterator[list[MediaPeer]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(MediaPeer("127.0.0.1")) for _ in range(2)]


class Target(NamedTuple):
    """A call with a port for a flood.

    Args:
        to: the port.
        packets: what the flood is of.
        connects: whether the phone that nh waits for there gets through; asked again until it does.
    """

    to: Where
    packets: list[bytes]
    connects: Callable[[], bool]


Begin = Callable[[NgClient, MediaPeer, MediaPeer], Target]
"""Begins a call of a phone and a plain one."""


class Flood:
    """Sources that send the same packets in turn, and add up what they get."""

    def __init__(self, packets: Sequence[bytes]) -> None:
        self._packets = packets
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(SOURCES)]
        self._sent = [0] * SOURCES
        self._received = [0] * SOURCES
        for sock in self._sockets:
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)

    def send(self, to: Where) -> None:
        """Send all packets."""
        for number in range(PACKETS):
            at = number % SOURCES
            packet = self._packets[number % len(self._packets)]
            with contextlib.suppress(BlockingIOError):
                self._sent[at] += self._sockets[at].sendto(packet, to)

    def most_times(self) -> float:
        """The bytes that came to a source by those that it sent, of the source that got most."""
        for at, sock in enumerate(self._sockets):
            with contextlib.suppress(BlockingIOError):
                while True:
                    self._received[at] += len(sock.recv(65_536))
        return max(got / sent for got, sent in zip(self._received, self._sent, strict=True) if sent)

    @property
    def answered_bytes(self) -> int:
        """What came to all of them."""
        return sum(self._received)

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


def check(user: bytes, password: str) -> bytes:
    attributes = [
        (int(StunAttribute.USERNAME), user),
        (int(StunAttribute.PRIORITY), bytes(4)),
        (int(StunAttribute.ICE_CONTROLLING), bytes(8)),
    ]
    return encode(StunClass.REQUEST, os.urandom(12), attributes, key=password.encode())


def stun_flood(client: NgClient, phone: MediaPeer, plain: MediaPeer) -> Target:
    """A port where nh has ICE, and checks that are wrong in every way."""
    ice = IcePhone(phone)
    call = NgCall(client)
    call.offer(ice.sdp().decode(), ICE="remove")
    [to, *_] = ice.learn(call.answer([MediaLine(plain.address, plain.port)]).encode())
    user = f"{ice.ours[0]}:{ice.ufrag}".encode()
    packets = [check(user, "wrong" * 5), check(b"another:one", "wrong" * 5), check(user, "")]
    packets += [packets[0][:-8], b"\0\1" + os.urandom(60)]

    def connects() -> bool:
        ice.check(to)
        return next(phone.arriving(0.2), None) is not None

    return Target(to, packets, connects)


def client_hello_flood(client: NgClient, phone: MediaPeer, plain: MediaPeer) -> Target:
    """A port where nh has DTLS, and handshakes that begin there and do not go on."""
    dtls = DtlsPhone(phone, mux=True)
    call = NgCall(client)
    call.offer(dtls.sdp().decode(), transport_protocol="RTP/AVP", rtcp_mux=["demux"])
    dtls.read(call.answer([MediaLine(plain.address, plain.port)]).encode())
    hellos = [OpensslEnd(client=True, long=long).begin() for long in (False, False, True)]
    packets = [each for hello in hellos for each in hello]

    dtls.begin(client=True)
    return Target(dtls.sends_to, packets, dtls.step)


def counted(relay: Relay) -> int:
    """How many packets of floods the relay has counted."""
    totals = relay.stats().totals
    return sum(getattr(totals, each) for each in COUNTERS)


def settled(relay: Relay) -> bool:
    """Whether the relay has worked off what came."""

    def read() -> tuple[float, int]:
        return relay.stats().totals.heartbeat, counted(relay)

    before = read()
    eventually(lambda: read()[0] > before[0], "the counters are told again")
    return read()[1] == before[1]


@pytest.mark.parametrize("begin", [stun_flood, client_hello_flood])
def test_a_flood_costs_other_calls_nothing_and_is_not_amplified(
    flooded: Flooded, peers: list[MediaPeer], begin: Begin
) -> None:
    target = begin(flooded.client, *peers)
    options = LoadOptions(
        address=flooded.address,
        control=ControlKind.NG,
        calls=4,
        ramp=0.0,
        time_s=60.0,
        rtcp_interval_s=0.3,
        timeout_s=20.0,
        drain_s=20.0,  # the last packets wait as long as a busy host does
    )
    with contextlib.closing(Flood(target.packets)) as flood, background_load(options) as others:
        others.wait_until_up()
        before = flooded.relay.memory_bytes()
        flood.send(target.to)
        eventually(lambda: settled(flooded.relay), "the flood is over")
        assert flood.most_times() <= MAX_TIMES
        assert flood.answered_bytes > 0, "it has reached nh"
        assert flooded.relay.memory_bytes() - before < MAX_GROWTH_BYTES
        eventually(target.connects, "the phone gets through")
        report = others.stop()
    assert report.both.sent > 0
    assert report.both.lost == report.both.damaged == report.misrouted == 0
    assert report.reports is not None
    assert report.reports.account.lost == 0
