"""Packets between a phone with SRTP and a plain one, through a relay in another process."""

import abc
from collections.abc import Callable

from tests.ng.ng_call import End, NgCall
from tests.sip.sdp import read_sdp
from tests.srtp.packets import rtcp, rtp
from tests.srtp.phone import SrtpPhone
from tools.harness.media_peer import RTCP, RTP, MediaPeer


class Talk(abc.ABC):
    """A call of a plain phone with one that has SRTP.

    Args:
        call: the call, before its offer.
        plain: the plain phone.
        proto: of the m= line of the other one.
    """

    def __init__(self, call: NgCall, plain: End, proto: str) -> None:
        self.call = call
        self.plain = plain
        self.proto = proto
        self._number = 100

    def offer_to_secure(self, **options: object) -> str:
        """The plain phone calls; returns what the other one is offered."""
        return self.call.offer(self.plain.describe(), **options)

    def answer_of_secure(self, sdp: bytes) -> None:
        """The other one answers."""
        self.plain.read(self.call.answer(sdp.decode()))
        assert self.plain.remote[0].proto == "RTP/AVP"

    def offer_of_secure(self, sdp: bytes) -> None:
        """The other one calls."""
        self.plain.read(self.call.offer(sdp.decode(), transport_protocol="RTP/AVP"))
        assert self.plain.remote[0].proto == "RTP/AVP"

    def answer_to_secure(self, **options: object) -> str:
        """The plain phone answers; returns what the other one gets."""
        answer = self.call.answer(self.plain.describe(), **options)
        assert read_sdp(answer)[0].proto == self.proto
        return answer

    def goes_both_ways(self, skipped: int = 0) -> None:
        """RTP and RTCP arrive as they were sent.

        Args:
            skipped: how many packets of each kind the phones have sent since, which went nowhere.
        """
        self._number += skipped
        for component in (RTP, RTCP):
            self._number += 1
            text = b"%0160d" % self._number
            packet = rtcp(text) if component == RTCP else rtp(self._number, text)
            plain: MediaPeer = self.plain.media[0]
            self.send(packet, component)
            assert plain.receive(component)[0] == packet
            plain.send_raw(packet, self.plain.remote[0].target, component)
            assert self.receive(component) == packet

    @abc.abstractmethod
    def send(self, packet: bytes, component: int) -> None:
        """The phone with SRTP sends a packet of RTP or RTCP."""

    @abc.abstractmethod
    def receive(self, component: int) -> bytes:
        """What arrives there next, without protection."""


class SecureTalk(Talk):
    """One in which SDP has the keys.

    Args:
        secure: the phone with SRTP.
    """

    def __init__(self, call: NgCall, plain: End, secure: SrtpPhone) -> None:
        super().__init__(call, plain, secure.proto)
        self.secure = secure
        self._secure_sends_to = ("", 0)

    def begin_by_plain(self) -> None:
        """The plain phone calls."""
        self._learn(self.offer_to_secure(transport_protocol="RTP/SAVP"))
        self.answer_of_secure(self.secure.sdp())

    def begin_by_secure(self) -> None:
        """The phone with SRTP calls."""
        self.offer_of_secure(self.secure.sdp())
        self._learn(self.answer_to_secure())

    def send(self, packet: bytes, component: int) -> None:
        """See Talk."""
        self.secure.send(packet, self._secure_sends_to, component)

    def receive(self, component: int) -> bytes:
        """See Talk."""
        return self.secure.read(self.secure.peer.receive(component)[0], component)

    def _learn(self, sdp: str) -> None:
        assert self.secure.learn(sdp.encode())
        (medium,) = read_sdp(sdp)
        assert medium.proto == self.secure.proto
        self._secure_sends_to = medium.target


class OptionalTalk(SecureTalk):
    """The same where an offer of plain RTP has keys (OSRTP, RFC 8643), and one of the phones has SRTP.

    Args:
        between: happens between the offer and its answer.
    """

    def __init__(
        self, call: NgCall, plain: End, secure: SrtpPhone, between: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(call, plain, secure)
        self._between = between

    def begin_by_plain(self) -> None:
        """The plain phone calls, and its relay offers keys."""
        self._learn(self.offer_to_secure(OSRTP=["offer"], DTLS="off"))
        self._between()
        self.answer_of_secure(self.secure.sdp())

    def begin_by_secure(self) -> None:
        """The phone with SRTP calls, and the plain one takes no key."""
        self.plain.read(self.call.offer(self.secure.sdp().decode(), OSRTP=["accept"]))
        self._between()
        self._learn(self.answer_to_secure(OSRTP=["accept"], DTLS="off"))
