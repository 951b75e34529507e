"""Calls with SRTP, DTLS or ICE on one side and a plain phone on the other, in a relay under test."""

from typing import Any

from nh.calls.media import Side
from nh.calls.protocols.dtls_security import DtlsSecurity
from nh.commands import DEFAULT_DTLS, DtlsOptions, IceHandling
from nh.dtls.problem import Problem
from nh.ice.agent import CheckResult
from tests.ice.phone import IcePhone
from tests.shard.ng_testbed import NgTestbed, places
from tests.shard.testbed import PACKET, REPORT, Where
from tests.sip.sdp import read_sdp
from tests.srtp.dtls_phone import DtlsPhone
from tests.srtp.packets import rtcp, rtp
from tests.srtp.phone import SrtpPhone
from tools.harness.media_peer import RTCP, RTP, MediaPeer

TO_WEB = "UDP/TLS/RTP/SAVPF"
FORCE, REMOVE = IceHandling.FORCE, IceHandling.REMOVE


def packet(number: int, component: int = RTP) -> bytes:
    return rtcp(b"%016d" % number) if component == RTCP else rtp(number, b"%0160d" % number)


class SecureCall:
    """A call between a phone with SRTP and a plain one, and the packets between them."""

    def __init__(self, testbed: NgTestbed, secure: SrtpPhone, plain: MediaPeer) -> None:
        self.testbed = testbed
        self.secure = secure
        self.plain = plain
        self.secure_sends_to: Where = ("", 0)
        self.plain_sends_to: Where = ("", 0)
        self.numbers = 100

    def offered_by_plain(self) -> bytes:
        """The plain phone calls; returns what the other one is offered."""
        return self.testbed.offer(self.plain, transport_protocol="RTP/SAVP")

    def answered_by_secure(self, offer: bytes) -> bytes:
        """The phone with SRTP answers; returns what the caller gets."""
        self.secure.learn(offer)
        answer = self.testbed.answer(self.secure.sdp())
        (self.secure_sends_to,), (self.plain_sends_to,) = places(offer), places(answer)
        return answer

    def offered_by_secure(self) -> bytes:
        """The phone with SRTP calls; returns what the other one is offered."""
        return self.testbed.offer(self.secure.sdp(), transport_protocol="RTP/AVP")

    def answered_by_plain(self, offer: bytes) -> bytes:
        """The plain phone answers; returns what the caller gets."""
        answer = self.testbed.answer(self.plain)
        self.secure.learn(answer)
        (self.secure_sends_to,), (self.plain_sends_to,) = places(answer), places(offer)
        return answer

    def goes_both_ways(self) -> None:
        """RTP and RTCP arrive on both sides as they were sent."""
        for component in (RTP, RTCP):
            self.reaches_plain(component)
            self.reaches_secure(component)

    def next(self, component: int = RTP) -> bytes:
        """A packet that is not like any before."""
        self.numbers += 1
        return packet(self.numbers, component)

    def reaches_plain(self, component: int = RTP) -> bytes:
        """A packet of the phone with SRTP arrives; returns it as it was sent."""
        sent = self.next(component)
        protected = self.secure.send(sent, self.secure_sends_to, component)
        assert self.testbed.receive(self.plain, component)[0] == sent
        return protected

    def reaches_secure(self, component: int = RTP) -> None:
        """A packet of the plain phone arrives."""
        sent = self.next(component)
        self.plain.send_raw(sent, self.plain_sends_to, component)
        received, source = self.testbed.receive(self.secure.peer, component)
        assert source == (self.secure_sends_to[0], self.secure_sends_to[1] + component)
        assert received != sent
        assert self.secure.read(received, component) == sent


class DtlsCall:
    """A call between a phone with DTLS and a plain one."""

    def __init__(self, testbed: NgTestbed, phone: DtlsPhone, plain: MediaPeer) -> None:
        self.testbed = testbed
        self.phone = phone
        self.plain = plain
        self.plain_sends_to = ("", 0)
        self._number = 100

    def begin_by_plain(self, *, answers: str = "active", **options: Any) -> None:
        """The plain phone calls; the other one answers with that a=setup."""
        options = {"transport_protocol": TO_WEB, "mux_offer": self.phone.mux, **options}
        assert self.phone.read(self.testbed.offer(self.plain, **options)) == "actpass"
        answer = self.testbed.answer(self.phone.sdp(answers))
        assert b"fingerprint" not in answer
        assert read_sdp(answer.decode())[0].proto == "RTP/AVP"
        (self.plain_sends_to,) = places(answer)
        self.phone.begin(client=answers == "active")

    def begin_by_phone(self, *, answer_says: DtlsOptions = DEFAULT_DTLS, **options: Any) -> str:
        """The phone with DTLS calls; returns the role that the relay takes."""
        options = {"transport_protocol": "RTP/AVP", "mux_demux": self.phone.mux, **options}
        offer = self.testbed.offer(self.phone.sdp(), **options)
        assert b"fingerprint" not in offer
        assert b"setup" not in offer
        (self.plain_sends_to,) = places(offer)
        answer = self.testbed.answer(self.plain, dtls=answer_says)
        assert read_sdp(answer.decode())[0].proto == self.phone.proto
        role = self.phone.read(answer)
        self.phone.begin(client=role == "passive")
        return role

    def agrees(self) -> None:
        """The handshakes end."""
        self.testbed.turn_until(lambda: self.phone.step() and self._relay_agrees(), "there are keys")

    def _relay_agrees(self) -> bool:
        legs = [leg for session in self.testbed.relay.plane._running for leg in session.legs]
        securities = [leg.security for leg in legs[: len(self.phone.components) * 2] if leg.security]
        return all(each.receiver is not None for each in securities)

    def goes_both_ways(self) -> None:
        """RTP and RTCP arrive as they were sent."""
        for component in (RTP, RTCP):
            self._number += 1
            text = b"%0160d" % self._number
            packet = rtcp(text) if component == RTCP else rtp(self._number, text)
            self.phone.send(packet, component)
            assert self.testbed.receive(self.plain, component)[0] == packet
            self.plain.send_raw(packet, self.plain_sends_to, component)
            received = self.phone.next_packet(component, self.testbed.receive)
            assert received != packet
            assert self.phone.open(received, component) == packet

    def problem(self, side: Side) -> Problem | None:
        """What the relay says of the handshake with an end."""
        (session,) = self.testbed.relay.plane._running
        security = session.legs[side].security
        assert isinstance(security, DtlsSecurity)
        return security.problem


class IceCall:
    """A call between a phone with ICE and a plain one."""

    def __init__(self, testbed: NgTestbed, phone: IcePhone, plain: MediaPeer) -> None:
        self.testbed = testbed
        self.phone = phone
        self.plain = plain
        self.phone_sends_to: Where = ("", 0)
        self.plain_sends_to: Where = ("", 0)

    def offered_by_phone(self) -> None:
        """The phone with ICE calls; the plain one sees none of it."""
        offer = self.testbed.offer(self.phone.sdp(), ice=REMOVE)
        assert b"ice" not in offer and b"candidate" not in offer
        answer = self.testbed.answer(self.plain)
        self.phone.learn(answer)
        (self.phone_sends_to,), (self.plain_sends_to,) = places(answer), places(offer)

    def offered_by_plain(self) -> None:
        """The plain phone calls; the other one is offered ICE."""
        offer = self.testbed.offer(self.plain, ice=FORCE)
        self.phone.learn(offer)
        answer = self.testbed.answer(self.phone.sdp())
        assert b"ice" not in answer and b"candidate" not in answer
        (self.phone_sends_to,), (self.plain_sends_to,) = places(offer), places(answer)

    def checks(self, component: int = RTP, *, nominates: bool = False, peer: MediaPeer | None = None) -> None:
        """A check is answered."""
        sent = self.phone.check(self.phone_sends_to, component, nominates=nominates, peer=peer)
        response, source = self.testbed.receive(peer or self.phone.peer, component)
        assert self.phone.read(response).transaction == sent
        assert source == (self.phone_sends_to[0], self.phone_sends_to[1] + component)

    def goes_both_ways(self, peer: MediaPeer | None = None) -> None:
        for component, packet in ((RTP, PACKET), (RTCP, REPORT)):
            self.reaches_plain(component, packet, peer)
            self.reaches_phone(component, packet, peer)

    def reaches_plain(
        self, component: int = RTP, packet: bytes = PACKET, peer: MediaPeer | None = None
    ) -> None:
        peer = peer or self.phone.peer
        self.testbed.passes(peer, self.phone_sends_to, self.plain, component, packet)

    def reaches_phone(
        self, component: int = RTP, packet: bytes = PACKET, peer: MediaPeer | None = None
    ) -> None:
        peer = peer or self.phone.peer
        self.testbed.passes(self.plain, self.plain_sends_to, peer, component, packet)

    def refused(self, result: CheckResult) -> int:
        """How many checks came to this."""
        return self.testbed.relay.plane.checks[result]
