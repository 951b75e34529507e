"""Whatever a phone does with its media, the other one hears it: moves, restarts, holds, SRTP on either side.

The model knows of each phone what it sends, where from, and where it has shown that it is. It knows nothing
of legs or sources. Each packet that it lets a phone send has to arrive, unchanged, where the other phone is.
"""

import contextlib
import itertools
import logging

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from nh.calls.settings import RelaySettings
from tests.calls.rtp import CN, DTMF, PCMU, rtp_packet
from tests.profiles import examples
from tests.shard.conftest import LOOPBACK, MakeKernelPath
from tests.shard.ng_testbed import NgTestbed
from tests.shard.testbed import Where
from tests.sip.sdp import MediaLine, read_sdp, write_sdp
from tests.srtp.phone import SrtpPhone
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.harness.waiting import turn_until

ARRIVES_S = 5.0

STUN = b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)
FORMATS = ("rtpmap:13 CN/8000", "rtpmap:101 telephone-event/8000")
_ssrcs = itertools.count(0x1000)


class Phone:
    """One end, with SRTP or without.

    Args:
        tag: its tag.
        peer: its sockets.
        secure: whether it has SRTP.

    Attributes:
        shown: by component, the sockets that it is sent to.
        announced: the sockets in its latest SDP.
        sends_to: the relay's port for its media.
        muxes: whether RTCP goes to the port of RTP.
    """

    def __init__(self, tag: bytes, peer: MediaPeer, secure: bool) -> None:
        self.tag = tag
        self.secure = secure
        self.srtp = SrtpPhone(peer, fill=ord(tag))
        self.peer = self.announced = peer
        self.shown = [peer, peer]
        self.sends_to: Where = ("", 0)
        self.wants_mux = self.muxes = False
        self.held = False
        self.begin_stream()

    def begin_stream(self) -> None:
        """Send with another SSRC from now on."""
        self.ssrc, self.sequence, self.timestamp = next(_ssrcs), 1000, 0

    def sdp(self) -> bytes:
        """Its offer or answer, which says where it is now."""
        said = {"rtcp-mux": self.wants_mux, "sendonly": self.held}
        attributes = (*FORMATS, *(name for name, so in said.items() if so))
        self.announced = self.peer
        if self.secure:
            self.srtp.peer = self.peer
            return self.srtp.sdp(*attributes)
        return write_sdp([MediaLine(self.peer.address, self.peer.port, attributes=attributes)]).encode()

    def learn(self, sdp: bytes) -> None:
        """Take an offer or answer for it."""
        (medium,) = read_sdp(sdp.decode())
        self.sends_to, self.muxes = medium.target, "rtcp-mux" in medium.attributes and self.wants_mux
        if self.secure:
            self.srtp.learn(sdp)

    def next_rtp(self, payload_type: int = PCMU, ahead: int = 1) -> bytes:
        self.sequence += ahead
        self.timestamp += 160 * ahead
        return rtp_packet(self.sequence, self.timestamp, ssrc=self.ssrc, payload_type=payload_type)

    def report(self) -> bytes:
        return b"\x80\xc9\0\x01" + self.ssrc.to_bytes(4, "big")

    def send(self, packet: bytes, component: int = RTP) -> None:
        protected = self.srtp.protect(packet, component) if self.secure else packet
        self.peer.sockets[RTP if self.muxes else component].sendto(
            protected, (self.sends_to[0], self.sends_to[1] + (0 if self.muxes else component))
        )

    def read(self, packet: bytes, component: int) -> bytes:
        return self.srtp.read(packet, component) if self.secure else packet


class MediaMachine(RuleBasedStateMachine):
    """A call of two phones."""

    ports: range
    make_kernel_path: MakeKernelPath

    def __init__(self) -> None:
        super().__init__()
        self.open = contextlib.ExitStack()
        self.testbed = NgTestbed(
            self.ports, RelaySettings(), interfaces=(LOOPBACK,), kernel=type(self).make_kernel_path()
        )
        self.open.callback(self.testbed.close)

    def teardown(self) -> None:
        self.open.close()

    def new_peer(self, address: str = "127.0.0.1") -> MediaPeer:
        peer = self.open.enter_context(MediaPeer(address))
        for sock in peer.sockets:
            sock.setblocking(False)
        return peer

    @initialize(secure=st.tuples(st.booleans(), st.booleans()), mux=st.tuples(st.booleans(), st.booleans()))
    def call(self, secure: tuple[bool, bool], mux: tuple[bool, bool]) -> None:
        self.phones = [Phone(b"ab"[i : i + 1], self.new_peer(), secure[i]) for i in (0, 1)]
        for phone, wanted in zip(self.phones, mux, strict=True):
            phone.wants_mux = wanted
        self.signal(0)
        self.hears(0)
        self.hears(1)

    def signal(self, by: int) -> None:
        """An offer, and its answer."""
        caller, callee = self.phones[by], self.phones[1 - by]
        before = [phone.announced for phone in self.phones]
        first = not caller.sends_to[1]
        protos = ["RTP/SAVP" if each.secure else "RTP/AVP" for each in (caller, callee)]
        offer = self.testbed.offer(
            caller.sdp(), tag=caller.tag, to=b"" if first else callee.tag, transport_protocol=protos[1]
        )
        (offered,) = read_sdp(offer.decode())
        wanted, callee.wants_mux = callee.wants_mux, callee.wants_mux and "rtcp-mux" in offered.attributes
        held, callee.held = callee.held, False
        callee.learn(offer)
        caller.learn(self.testbed.answer(callee.sdp(), tag=callee.tag, to=caller.tag))
        callee.muxes = callee.wants_mux
        callee.wants_mux, callee.held = wanted, held
        for phone, announced in zip(self.phones, before, strict=True):
            if phone.announced is not announced:
                phone.shown = [phone.announced, phone.announced]

    def hears(self, by: int, packet: bytes | None = None, component: int = RTP) -> None:
        """A packet arrives where the other phone is, or at its port of RTP if its RTCP comes there."""
        phone, other = self.phones[by], self.phones[1 - by]
        packet = phone.next_rtp() if packet is None else packet
        phone.send(packet, component)
        phone.shown[RTP if phone.muxes else component] = phone.peer
        at = RTP if other.muxes else component
        there = other.shown[at]
        turn_until(self.testbed.loop, lambda: there.has_waiting(at), f"a packet of {by}", ARRIVES_S)
        received, source = self.testbed.receive(there, at)
        assert other.read(received, component) == packet
        assert source == (other.sends_to[0], other.sends_to[1] + at)

    # --- what phones do -------------------------------------------------------------------------------

    @rule(by=st.integers(0, 1), count=st.integers(1, 4))
    def talks(self, by: int, count: int) -> None:
        for _ in range(count):
            self.hears(by)

    @rule(by=st.integers(0, 1))
    def reports(self, by: int) -> None:
        self.hears(by, self.phones[by].report(), RTCP)

    @rule(by=st.integers(0, 1), payload_type=st.sampled_from([CN, DTMF]))
    def sends_other_payloads(self, by: int, payload_type: int) -> None:
        self.hears(by, self.phones[by].next_rtp(payload_type))

    @rule(by=st.integers(0, 1), ahead=st.sampled_from([2, 99, 2999, 3001, 20_000]))
    def jumps_ahead(self, by: int, ahead: int) -> None:
        self.hears(by, self.phones[by].next_rtp(ahead=ahead))
        self.hears(by)

    @rule(by=st.integers(0, 1), back=st.sampled_from([1, 4000, 40_000]))
    def counts_anew(self, by: int, back: int) -> None:
        """The same SSRC; where SRTP is at an end, a key protects no number twice."""
        if any(phone.secure for phone in self.phones):
            return
        self.phones[by].sequence -= back
        self.hears(by)
        self.hears(by)

    @rule(by=st.integers(0, 1), packet=st.sampled_from([STUN, b"\0\0\0\0", b"\r\n"]))
    def keeps_its_way_open(self, by: int, packet: bytes) -> None:
        if (
            any(phone.secure for phone in self.phones)
            or self.phones[by].shown[RTP] is not self.phones[by].peer
        ):
            return
        self.hears(by)
        self.hears(by, packet)

    @rule(by=st.integers(0, 1))
    def begins_another_stream(self, by: int) -> None:
        self.phones[by].begin_stream()
        self.hears(by)

    @rule(by=st.integers(0, 1))
    def moves(self, by: int) -> None:
        """Its NAT gives it other ports; its stream goes on."""
        self.phones[by].peer = self.new_peer()
        self.hears(by)

    @rule(by=st.integers(0, 1))
    def moves_while_it_sends_two_streams(self, by: int) -> None:
        """The one that goes on there is not that of the latest packet."""
        phone, other = self.phones[by], next(_ssrcs)
        self.hears(by, rtp_packet(1, 0, ssrc=other))
        self.hears(by)
        self.hears(by, rtp_packet(2, 160, ssrc=other))
        phone.peer = self.new_peer()
        self.hears(by)

    @rule(by=st.integers(0, 1))
    def says_where_it_is(self, by: int) -> None:
        self.phones[by].peer = self.new_peer()
        self.signal(by)
        self.hears(by)

    @rule(by=st.integers(0, 1))
    def refreshes(self, by: int) -> None:
        self.signal(by)

    @rule(by=st.integers(0, 1), mux=st.booleans())
    def changes_its_mind_on_mux(self, by: int, mux: bool) -> None:
        self.phones[by].wants_mux = mux
        self.signal(by)

    @rule(by=st.integers(0, 1))
    def holds_or_resumes(self, by: int) -> None:
        phone = self.phones[by]
        phone.held = not phone.held
        self.signal(by)
        self.hears(by)

    @rule(by=st.integers(0, 1))
    def a_stranger_is_not_heard(self, by: int) -> None:
        before = self.refused()
        stranger = self.new_peer("127.0.0.77")
        stranger.send_raw(rtp_packet(7, ssrc=next(_ssrcs)), self.phones[by].sends_to)
        self.testbed.turn_until(lambda: self.refused() > before, "the packet is dropped")
        self.hears(by)

    def refused(self) -> int:
        """Packets that the relay has not passed on."""
        return self.testbed.dropped() + self.testbed.stats().drop_srtp_authentication

    @rule()
    def the_shard_restarts(self) -> None:
        self.testbed.restore()


def test_every_packet_of_a_phone_arrives(
    ports: range, make_kernel_path: MakeKernelPath, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    members = {"ports": ports, "make_kernel_path": staticmethod(make_kernel_path)}
    machine = type("Machine", (MediaMachine,), members)
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples(40), stateful_step_count=20, deadline=None)
    )
