"""A phone with DTLS-SRTP: OpenSSL and libsrtp between its SDPs and its sockets."""

from collections.abc import Callable, Sequence

from pylibsrtp import Session

from tests.sip.sdp import MediaLine, read_sdp, write_sdp
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.rtpload import libsrtp
from tools.rtpload.openssl_end import SUITES, OpensslEnd

Where = tuple[str, int]
Read = Callable[[MediaPeer, int], tuple[bytes, Where]]


class _Association:
    """The phone's handshake at one of its sockets, and the keys of it."""

    def __init__(self, end: OpensslEnd) -> None:
        self.end = end
        self.sends: Session | None = None
        self.receives: Session | None = None

    def take_keys(self) -> None:
        if self.end.done and self.sends is None:
            sends, receives = self.end.keys
            suite = SUITES[self.end.profile]
            self.sends, self.receives = libsrtp.outgoing(suite, sends), libsrtp.incoming(suite, receives)


class DtlsPhone:
    """One medium of a phone.

    Args:
        peer: its sockets.
        proto: of its m= line.
        setup: its role in offers; as the answerer it is the client, unless that is `passive`.
        mux: RTCP comes and goes at the port of RTP.
        profiles, name, days: see OpensslEnd.
        extra: further attributes of its SDPs.
        fingerprint: that of its SDPs, "" for the right one.
    """

    def __init__(
        self,
        peer: MediaPeer,
        *,
        proto: str = "UDP/TLS/RTP/SAVPF",
        setup: str = "actpass",
        mux: bool = False,
        profiles: Sequence[str] = ("SRTP_AES128_CM_SHA1_80",),
        name: str = "phone",
        days: int = 1,
        extra: Sequence[str] = (),
        fingerprint: str = "",
    ) -> None:
        self.peer = peer
        self.proto = proto
        self.setup = setup
        self.mux = mux
        self.extra = tuple(extra)
        self.sends_to: Where = ("", 0)
        self.says: list[str] = []
        self._new_end: Callable[[bool], OpensslEnd] = lambda client: OpensslEnd(
            client=client, profiles=profiles, name=name, days=days
        )
        self._fingerprint = fingerprint or self._new_end(True).fingerprint
        self._by_component: dict[int, _Association] = {}

    def sdp(self, setup: str = "") -> bytes:
        """Its offer or answer."""
        mux = ("rtcp-mux",) if self.mux else ()
        dtls = (f"setup:{setup or self.setup}", f"fingerprint:{self._fingerprint}")
        line = MediaLine(
            self.peer.address, self.peer.port, proto=self.proto, attributes=(*mux, *dtls, *self.extra)
        )
        return write_sdp([line]).encode()

    def read(self, sdp: bytes) -> str:
        """Take where to send to from an offer or answer; returns who begins, by its a=setup."""
        (medium,) = read_sdp(sdp.decode())
        self.sends_to = medium.target
        self.says = list(medium.attributes)
        assert any(each.startswith("fingerprint:") for each in self.says), self.says
        return next(each.removeprefix("setup:") for each in self.says if each.startswith("setup:"))

    @property
    def components(self) -> tuple[int, ...]:
        """Those that it has associations for."""
        return (RTP,) if self.mux else (RTP, RTCP)

    def begin(self, *, client: bool) -> None:
        """Begin a handshake at each socket, or wait for it."""
        for component in self.components:
            self._by_component[component] = _Association(self._new_end(client))
            if client:
                self._say(component, self._by_component[component].end.begin())

    def step(self) -> bool:
        """Handle what waits at the sockets; returns whether all handshakes are finished."""
        for component, association in self._by_component.items():
            for datagram in self.peer.pending(component):
                if _is_dtls(datagram):
                    self._say(component, association.end.receive(datagram))
            if not association.end.done:
                self._say(component, association.end.timeout())
            association.take_keys()
        return all(each.sends is not None for each in self._by_component.values())

    def protect(self, packet: bytes, component: int = RTP) -> bytes:
        """A packet as send() sends it."""
        session = self._association(component).sends
        assert session is not None
        return bytes(session.protect_rtcp(packet) if component == RTCP else session.protect(packet))

    def send(self, packet: bytes, component: int = RTP) -> None:
        """Send a packet of RTP or RTCP under protection."""
        self.peer.send_raw(self.protect(packet, component), self.sends_to, RTP if self.mux else component)

    def receive(self, component: int = RTP, read: Read = MediaPeer.receive) -> bytes:
        """The next packet of RTP or RTCP that arrives, without protection; see next_packet()."""
        return self.open(self.next_packet(component, read), component)

    def next_packet(self, component: int = RTP, read: Read = MediaPeer.receive) -> bytes:
        """The same under protection.

        What the other end of a slow handshake says twice may come in between.

        Args:
            component: RTP or RTCP.
            read: waits for the next packet at a socket; a test whose relay does nothing meanwhile has one.
        """
        socket = RTP if self.mux else component
        while _is_dtls(packet := read(self.peer, socket)[0]):
            self._say(socket, self._association(component).end.receive(packet))
        return packet

    def open(self, packet: bytes, component: int = RTP) -> bytes:
        """A packet that it received, without protection."""
        session = self._association(component).receives
        assert session is not None
        return bytes(session.unprotect_rtcp(packet) if component == RTCP else session.unprotect(packet))

    def _association(self, component: int) -> _Association:
        return self._by_component[RTP if self.mux else component]

    def _say(self, component: int, datagrams: Sequence[bytes]) -> None:
        for each in datagrams:
            self.peer.send_raw(each, self.sends_to, component)


def _is_dtls(datagram: bytes) -> bool:
    """Whether a datagram is DTLS, among RTP and RTCP (RFC 7983)."""
    return 20 <= datagram[0] <= 63
