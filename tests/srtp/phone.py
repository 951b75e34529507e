"""A phone with SRTP by SDES: libsrtp between its SDPs and its sockets."""

import base64

from pylibsrtp import Session

from nh.srtp.suites import find_suite
from tests.sip.sdp import MediaLine, read_sdp, write_sdp
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.rtpload import libsrtp


class SrtpPhone:
    """One medium of a phone.

    Args:
        peer: its sockets.
        suite: the crypto suite that it offers and takes.
        fill: tells its keys from those of other phones.
    """

    def __init__(
        self,
        peer: MediaPeer,
        suite: str = "AES_CM_128_HMAC_SHA1_80",
        *,
        fill: int = 1,
        proto: str = "RTP/SAVP",
    ) -> None:
        self.peer = peer
        self.suite = suite
        self.proto = proto
        self.tag = 1
        self._incoming: Session | None = None
        self.set_key(fill)

    def set_key(self, fill: int) -> None:
        """Send with another key from now on."""
        suite = find_suite(self.suite)
        assert suite is not None
        self.key = bytes((fill + each) & 0xFF for each in range(suite.key_bytes + suite.salt_bytes))
        self._outgoing = libsrtp.outgoing(self.suite, self.key)

    def sdp(self, *extra: str) -> bytes:
        """Its offer, or its answer to what it has learned."""
        crypto = f"crypto:{self.tag} {self.suite} inline:{base64.b64encode(self.key).decode()}"
        line = MediaLine(self.peer.address, self.peer.port, proto=self.proto, attributes=(*extra, crypto))
        return write_sdp([line]).encode()

    def learn(self, sdp: bytes) -> list[str]:
        """Take the key of an offer or answer for this phone's suite; returns all of its a=crypto lines."""
        (medium,) = read_sdp(sdp.decode())
        lines = [each.removeprefix("crypto:") for each in medium.attributes if each.startswith("crypto:")]
        for each in lines:
            tag, suite, key = each.split()[:3]
            if suite == self.suite:
                self.tag = int(tag)
                text = key.removeprefix("inline:").split("|")[0]
                padded = text + "=" * (-len(text) % 4)
                self._incoming = libsrtp.incoming(self.suite, base64.b64decode(padded))
        return lines

    def send(self, packet: bytes, to: tuple[str, int], component: int = RTP) -> bytes:
        """Send a packet of RTP or RTCP under protection; returns what went out."""
        sent = self.protect(packet, component)
        self.peer.send_raw(sent, to, component)
        return sent

    def protect(self, packet: bytes, component: int = RTP) -> bytes:
        """A packet as send() sends it."""
        out = self._outgoing
        return bytes(out.protect_rtcp(packet) if component == RTCP else out.protect(packet))

    def read(self, packet: bytes, component: int = RTP) -> bytes:
        """A packet that came, without protection; raises pylibsrtp.Error if it is not right."""
        assert self._incoming is not None, "no key has been learned"
        opened = (
            self._incoming.unprotect_rtcp(packet) if component == RTCP else self._incoming.unprotect(packet)
        )
        return bytes(opened)
