"""A phone with ICE: one medium, its SDPs, and its checks (RFC 8445)."""

import os

from nh.ice.stun import StunAttribute, StunClass, StunMessage, decode, encode
from tests.sip.sdp import MediaLine, read_sdp, write_sdp
from tools.harness.media_peer import RTP, MediaPeer

Where = tuple[str, int]


class IcePhone:
    """One medium of a phone. It checks each of the relay's candidates when a test says so.

    Args:
        peer: its sockets.
        ufrag: tells its credentials from those of other phones.
        extra: further attributes of its medium.

    Attributes:
        candidates: those of the relay, as learn() returns them.
    """

    def __init__(self, peer: MediaPeer, ufrag: str = "them", *extra: str, proto: str = "RTP/AVP") -> None:
        self.peer = peer
        self.extra = extra
        self.proto = proto
        self.lite = False
        self.ours = ("", "")
        self.candidates: list[Where] = []
        self.restart(ufrag)

    def restart(self, ufrag: str) -> None:
        """Have other credentials from now on."""
        self.ufrag, self.password = ufrag, ufrag * 6

    @property
    def attributes(self) -> tuple[str, ...]:
        """Those of its medium."""
        address, port = self.peer.address, self.peer.port
        return (
            *self.extra,
            *(("ice-lite",) if self.lite else ()),
            f"ice-ufrag:{self.ufrag}",
            f"ice-pwd:{self.password}",
            f"candidate:1 1 UDP 2130706431 {address} {port} typ host",
            f"candidate:1 2 UDP 2130706430 {address} {port + 1} typ host",
        )

    def sdp(self) -> bytes:
        """Its offer or answer."""
        line = MediaLine(self.peer.address, self.peer.port, proto=self.proto, attributes=self.attributes)
        return write_sdp([line]).encode()

    def learn(self, sdp: bytes) -> list[Where]:
        """Take the relay's credentials and candidates, the one of RTP first."""
        (medium,) = read_sdp(sdp.decode())
        values = dict(each.split(":", 1) for each in medium.attributes if ":" in each)
        self.ours = (values.get("ice-ufrag", ""), values.get("ice-pwd", ""))
        lines = [each.split() for each in medium.attributes if each.startswith("candidate:")]
        self.candidates = [(words[4], int(words[5])) for words in lines]
        return self.candidates

    def check(
        self,
        to: Where,
        component: int = RTP,
        *,
        nominates: bool = False,
        password: str = "",
        peer: MediaPeer | None = None,
    ) -> bytes:
        """Send a check; returns its transaction id.

        Args:
            to: where the SDP has RTP.
            password: instead of the relay's.
            peer: instead of its own sockets.
        """
        ufrag, known = self.ours
        transaction = os.urandom(12)
        attributes = [
            (int(StunAttribute.USERNAME), f"{ufrag}:{self.ufrag}".encode()),
            (int(StunAttribute.PRIORITY), bytes(4)),
            (int(StunAttribute.ICE_CONTROLLING), bytes(8)),
        ]
        if nominates:
            attributes.append((int(StunAttribute.USE_CANDIDATE), b""))
        key = (password or known).encode()
        (peer or self.peer).send_raw(
            encode(StunClass.REQUEST, transaction, attributes, key=key), to, component
        )
        return transaction

    def read(self, response: bytes) -> StunMessage:
        """A success response under the relay's password."""
        message = decode(response)
        assert message.kind is StunClass.SUCCESS
        assert message.authenticated_by(self.ours[1].encode())
        return message
