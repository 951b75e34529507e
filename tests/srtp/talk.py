"""Packets between a phone with SRTP and a plain one, through a relay in another process."""

from collections.abc import Callable

from tests.ng.ng_call import End, NgCall
from tests.sip.sdp import read_sdp
from tests.srtp.packets import rtcp, rtp
from tests.srtp.phone import SrtpPhone
from tools.harness.media_peer import RTCP, RTP, MediaPeer


class SecureTalk:
    """A call in which a plain phone calls one with SRTP, or the other way round.

    Arguments:
        call: the call, before its offer.
        plain: the plain phone.
        secure: the other one.
    """

    def __init__(self, call: NgCall, plain: End, secure: SrtpPhone) -> None:
        self.call = call
        self.plain = plain
        self.secure = secure
        self._secure_sends_to = ("", 0)
        self._number = 100

    def begin_by_plain(self) -> None:
        """The plain phone calls."""
        offer = self.call.offer(self.plain.describe(), transport_protocol="RTP/SAVP")
        self._learn(offer)
        self.plain.read(self.call.answer(self.secure.sdp().decode()))
        assert self.plain.remote[0].proto == "RTP/AVP"

    def begin_by_secure(self) -> None:
        """The phone with SRTP calls."""
        self.plain.read(self.call.offer(self.secure.sdp().decode(), transport_protocol="RTP/AVP"))
        assert self.plain.remote[0].proto == "RTP/AVP"
        self._learn(self.call.answer(self.plain.describe()))

    def goes_both_ways(self, skipped: int = 0) -> None:
        """RTP and RTCP arrive as they were sent.

        Arguments:
            skipped: how many packets of each kind the phones have sent since, which went nowhere.
        """
        self._number += skipped
        for component in (RTP, RTCP):
            self._number += 1
            text = b"%0160d" % self._number
            packet = rtcp(text) if component == RTCP else rtp(self._number, text)
            plain: MediaPeer = self.plain.media[0]
            self.secure.send(packet, self._secure_sends_to, component)
            assert plain.receive(component)[0] == packet
            plain.send_raw(packet, self.plain.remote[0].target, component)
            assert self.secure.read(self.secure.peer.receive(component)[0], component) == packet

    def _learn(self, sdp: str) -> None:
        assert self.secure.learn(sdp.encode())
        (medium,) = read_sdp(sdp)
        assert medium.proto == self.secure.proto
        self._secure_sends_to = medium.target


class OptionalTalk(SecureTalk):
    """The same where an offer of plain RTP has keys (OSRTP, RFC 8643), and one of the phones has SRTP.

    Arguments:
        between: happens between the offer and its answer.
    """

    def __init__(
        self, call: NgCall, plain: End, secure: SrtpPhone, between: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(call, plain, secure)
        self._between = between

    def begin_by_plain(self) -> None:
        """The plain phone calls, and its relay offers keys."""
        offer = self.call.offer(self.plain.describe(), OSRTP=["offer"], DTLS="off")
        self._learn(offer)
        self._between()
        self.plain.read(self.call.answer(self.secure.sdp().decode()))
        assert self.plain.remote[0].proto == "RTP/AVP"

    def begin_by_secure(self) -> None:
        """The phone with SRTP calls, and the plain one takes no key."""
        self.plain.read(self.call.offer(self.secure.sdp().decode(), OSRTP=["accept"]))
        self._between()
        self._learn(self.call.answer(self.plain.describe(), OSRTP=["accept"], DTLS="off"))
