"""Packets between a phone with DTLS-SRTP and a plain one, through a relay in another process."""

from tests.ng.ng_call import End, NgCall
from tests.sip.sdp import read_sdp
from tests.srtp.dtls_phone import DtlsPhone
from tests.srtp.packets import rtcp, rtp
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.harness.waiting import eventually

TO_WEB = "UDP/TLS/RTP/SAVPF"


class DtlsTalk:
    """A call in which a plain phone calls one with DTLS, or the other way round.

    Arguments:
        call: the call, before its offer.
        plain: the plain phone.
        phone: the other one.
    """

    def __init__(self, call: NgCall, plain: End, phone: DtlsPhone) -> None:
        self.call = call
        self.plain = plain
        self.phone = phone
        self._number = 100

    def begin_by_plain(self, setup: str = "active") -> None:
        """The plain phone calls; the other one answers with that a=setup."""
        self.signal_by_plain(setup)
        self.agrees()

    def signal_by_plain(self, setup: str = "active") -> None:
        """The same without its handshakes."""
        offer = self.call.offer(self.plain.describe(), transport_protocol=self.phone.proto)
        assert self.phone.read(offer.encode()) == "actpass"
        self.plain.read(self.call.answer(self.phone.sdp(setup).decode()))
        assert self.plain.remote[0].proto == "RTP/AVP"
        self.phone.begin(client=setup == "active")

    def begin_by_phone(self) -> None:
        """The phone with DTLS calls."""
        self.plain.read(self.call.offer(self.phone.sdp().decode(), transport_protocol="RTP/AVP"))
        assert self.plain.remote[0].proto == "RTP/AVP"
        answer = self.call.answer(self.plain.describe())
        assert read_sdp(answer)[0].proto == self.phone.proto
        self.phone.begin(client=self.phone.read(answer.encode()) == "passive")
        self.agrees()

    def agrees(self) -> None:
        """The handshakes end; a client repeats what gets no answer."""
        eventually(self.phone.step, "the phone has keys")

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
            self.phone.send(packet, component)
            assert plain.receive(component)[0] == packet
            plain.send_raw(packet, self.plain.remote[0].target, component)
            received = self.phone.peer.receive(RTP if self.phone.mux else component)[0]
            assert self.phone.open(received, component) == packet
