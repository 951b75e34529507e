"""A browser's end without a browser: audio and video in a bundle, and ICE, DTLS and SRTP of rtpload."""

import random
import time

from tests.ng.ng_call import NgCall
from tests.sip.sdp import read_sdp
from tests.webrtc.bundle_phone import MID_EXTENSION, BundlePhone, plain_packet, write_media
from tools.harness.media_peer import RTP, MediaPeer
from tools.harness.waiting import eventually
from tools.rtpload.ends import Endpoint, MediaEnd
from tools.rtpload.sdp import read_browser
from tools.rtpload.worker.browser import Browser

FORMATS = (96, 96)
"""The payload type of both media: a mid alone tells them apart."""


class BrowserEnd:
    """One end, at the RTP port of a peer.

    Args:
        peer: its sockets.
    """

    def __init__(self, peer: MediaPeer, suite: str = "AEAD_AES_128_GCM") -> None:
        self.peer = peer
        self.phone = BundlePhone(peer)
        self._browser = Browser(suite, peer.sockets[RTP], random.Random())
        self._open = self._browser.opener(rtcp=False)
        self._protect = self._browser.protector(rtcp=False)
        self._problem: str | None = None

    def sdp(self) -> str:
        """Its offer."""
        ufrag, password, fingerprint, _ = self._browser.parameters
        attributes = (
            MID_EXTENSION,
            "setup:actpass",
            f"fingerprint:{fingerprint}",
            f"ice-ufrag:{ufrag}",
            f"ice-pwd:{password}",
            f"candidate:1 1 UDP 2130706431 {self.peer.address} {self.peer.port} typ host",
        )
        return self.phone.sdp(*attributes, formats=FORMATS, proto="UDP/TLS/RTP/SAVPF")

    def connect(self, sdp: str) -> None:
        """Take the relay's offer or answer, and agree on keys with it."""
        place = Endpoint(*read_sdp(sdp)[0].target)
        relay = MediaEnd(place, place, browser=read_browser(sdp)[0])
        self._browser.connect(relay, time.monotonic_ns(), self._tell)

        def has_ended() -> bool:
            now_ns = time.monotonic_ns()
            self._browser.send(now_ns, now_ns)
            for packet in self.peer.pending():
                self._open(packet)
            return self._problem is not None

        eventually(has_ended, "the browser has keys", 30.0)
        assert self._problem == ""

    def send(self, medium: int, payload: bytes, mid: str | None = None) -> bytes:
        """Send its next packet of a medium; returns it as it is without SRTP."""
        packet = self.phone.packet(medium, payload, mid, payload_type=FORMATS[medium])
        self.peer.sockets[RTP].sendto(self._protect(packet), self._browser.target)
        return packet

    def receive(self) -> bytes:
        """The next packet of RTP that arrives, without SRTP."""
        while not (packet := self._open(self.peer.receive()[0])):
            pass
        return packet

    def is_consented_to(self) -> bool:
        """Whether the relay answers a check of its path now."""
        before = self._browser.tally.answered
        self._browser.check()
        answer = next(self.peer.arriving(1.0), None)
        return answer is not None and not self._open(answer[0]) and self._browser.tally.answered > before

    def _tell(self, problem: str) -> None:
        self._problem = problem


class BrowserCall:
    """A browser calls a plain phone with audio and video.

    Args:
        call: the call, before its offer.
        browser: the browser.
        plain: the sockets of both media of the plain phone.
    """

    def __init__(self, call: NgCall, browser: BrowserEnd, plain: list[MediaPeer]) -> None:
        self.call = call
        self.browser = browser
        self.plain = plain
        offer = call.offer(browser.sdp(), transport_protocol="RTP/AVP", ICE="remove", rtcp_mux=["demux"])
        self._plain_sends_to = [each.target for each in read_sdp(offer)]
        ports = [each.port for each in plain]
        said = write_media(ports, [[], []], address=plain[0].address, formats=FORMATS)
        browser.connect(call.answer(said, flags=["WebRTC"]))
        self._number = 0

    def talk(self, *, mids: bool = False) -> None:
        """Both media pass both ways.

        Args:
            mids: the browser says which medium its packets are of, as it does at the beginning only.
        """
        self._number += 1
        for medium, peer in enumerate(self.plain):
            payload = b"%d: %d" % (medium, self._number)
            mid = self.browser.phone.mids[medium] if mids else None
            sent = self.browser.send(medium, payload, mid)
            packet, source = peer.receive(RTP)
            assert (packet, source) == (sent, self._plain_sends_to[medium])
            packet = plain_packet(medium, self._number, payload, payload_type=FORMATS[medium])
            peer.send_raw(packet, self._plain_sends_to[medium])
            assert self.browser.receive() == packet
