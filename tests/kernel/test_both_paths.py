"""Both paths beside each other, packet by packet: what comes out, from where, and what is counted."""

import contextlib
import random
import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from nh.calls.media import Endpoint
from nh.results import LegDetail
from tests.fastpath.frames import Datagram
from tests.kernel.hosts import ALICE, BOB, NEAR_ALICE, HostCall, Hosts, phone_on, relay_on, three_hosts
from tests.kernel.odd_frames import LONG, PAYLOADS, Stream, beside, frames_of
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.harness.waiting import eventually

pytestmark = pytest.mark.kernel

DSCP = 46
IPV6_RECVTCLASS = 66  # linux/in6.h
CALL = "beside@example.org"


class Sent(NamedTuple):
    """One packet of Alice's, or of a stranger beside her."""

    kind: str
    component: int = RTP
    size: int = 0
    odd: str = ""
    stranger: str = ""
    ttl: int = 64
    tos: int = 0


EVERYTHING = [
    *[Sent(kind, component) for kind in PAYLOADS for component in (RTP, RTCP)],
    *[
        Sent(kind, stranger=stranger)
        for kind in ("RTP", "STUN", "a sender report")
        for stranger in ("port", "address")
    ],
    *[Sent("RTP", size=size) for size in LONG],
    *[Sent("RTP", odd=odd) for odd in ("options", "padded")],
    *[Sent("RTP", ttl=ttl) for ttl in (1, 2, 255)],
    *[Sent("RTP", tos=tos) for tos in (0x03, 0x02, 0xB9)],
]


class Passage:
    """A call over one relay, from Alice to Bob, with a stream of Alice's."""

    def __init__(self, hosts: Hosts, call: HostCall, alice: MediaPeer, bob: MediaPeer, family: int) -> None:
        self._hosts = hosts
        self._call = call
        self._alice = alice
        self._bob = bob
        self._family = family
        self._stream = Stream(family)
        with hosts.alice.entered():
            self._wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self._wire.bind(("to_alice", 0))
        with hosts.relay.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as relay:
            relay.bind(("to_alice", 0))
            self._mac = relay.getsockname()[4]
        for sock in bob.sockets:
            if family == 4:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVTCLASS, 1)

    def invite(self) -> None:
        self._call.invite(self._alice, self._bob)

    def send(self, sent: Sent) -> tuple[object, ...]:
        """What becomes of a packet: what Bob gets of it, and what is known of the leg behind it."""
        payload = PAYLOADS[sent.kind](self._stream) if not sent.size else self._stream.next(size=sent.size)
        source = Endpoint(ALICE[self._family], self._alice.port + sent.component)
        if sent.stranger:
            source = beside(source, sent.stranger)
        to = Endpoint(NEAR_ALICE[self._family], self._call.for_alice[1] + sent.component)
        before = self._legs()[sent.component]
        for frame in frames_of(Datagram(source, to, payload, ttl=sent.ttl, tos=sent.tos), odd=sent.odd):
            self._wire.send(self._mac + frame[6:])
        eventually(lambda: _handled(self._legs()[sent.component]) > _handled(before), f"{sent} is handled")
        leg = self._legs()[sent.component]
        heard = self._heard(leg.packets - before.packets, sent.component)
        return heard, leg.source == str(source), leg.refused_from == str(source), *_facts(leg)

    def _heard(self, packets: int, component: int) -> list[tuple[bytes, bool, int]]:
        """So many packets that Bob gets: bytes, whether they come from where he sends to, and TOS."""
        heard = []
        for _ in range(packets):
            payload, [(_, _, tos)], _, source = self._bob.sockets[component].recvmsg(65536, 100)
            expected = (self._call.for_bob[0], self._call.for_bob[1] + component)
            heard.append((payload, source[:2] == expected, tos[0]))
        assert self._bob.pending(component) == []
        return heard

    def _legs(self) -> list[LegDetail]:
        session = self._call.relay.call(CALL.encode()).sessions[-1]
        return [pair.from_ for pair in session.pairs]

    @property
    def totals(self) -> dict[str, int]:
        """What `nh stats` tells of packets."""
        totals = self._call.relay.stats().totals
        names = ("packets_in", "bytes_in", "packets_out", "bytes_out")
        drops = [name for name in dir(totals) if name.startswith("drop_")]
        return {name: getattr(totals, name) for name in (*names, *drops)}

    @property
    def in_kernel(self) -> int:
        return sum(leg.kernel_packets for leg in self._legs())

    def close(self) -> None:
        self._wire.close()


def _handled(leg: LegDetail) -> int:
    return leg.packets + sum(leg.dropped.values())


def _facts(leg: LegDetail) -> tuple[object, ...]:
    """What does not depend on time, nor on ports."""
    streams = [
        (each.ssrc, each.payload_type, each.packets, each.lost, each.reordered, each.duplicates)
        for each in leg.streams
    ]
    return leg.packets, leg.bytes, leg.dropped, streams, leg.latched


@contextlib.contextmanager
def passage(kernel: str, family: int) -> Iterator[Passage]:
    with (
        three_hosts() as hosts,
        relay_on(hosts.relay, kernel=kernel, dscp=DSCP) as relay,
        phone_on(hosts.alice, ALICE[family]) as alice,
        phone_on(hosts.bob, BOB[family]) as bob,
        contextlib.closing(Passage(hosts, HostCall(relay, CALL, family), alice, bob, family)) as passage,
    ):
        yield passage


@pytest.mark.parametrize("family", [4, 6])
def test_both_paths_do_the_same_with_each_packet(family: int) -> None:
    """There is a re-INVITE in between. A stranger's RTP goes on with Alice's stream, so her source moves."""
    packets = random.Random(family).sample(EVERYTHING, len(EVERYTHING))
    packets = [Sent("RTP"), Sent("a sender report", RTCP), *packets]
    with passage("off", family) as user_space, passage("on", family) as kernel:
        for part in (packets, packets[::-1]):
            user_space.invite()
            kernel.invite()
            for sent in part:
                assert user_space.send(sent) == kernel.send(sent), sent
        assert user_space.in_kernel == 0
        assert kernel.in_kernel > len(packets) // 3
        expected = len(packets) * 2
        eventually(lambda: user_space.totals["packets_in"] == expected, "all are counted")
        eventually(lambda: kernel.totals == user_space.totals, "all are counted alike")
