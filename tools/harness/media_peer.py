"""One end of a medium: real RTP and RTCP sockets on consecutive ports from an even one (RFC 3550 11)."""

import itertools
import select
import socket
import struct
from collections.abc import Iterator

from nh.address import socket_family
from tools.harness.closing import Closing

RTP = 0
RTCP = 1

RECEIVE_S = 20.0
"""How long to wait for a packet that has to come: a busy host relays late, above all after a fault."""


_MARK = 0x7A1C0000
"""The high half of the SSRC of each peer."""

_numbers = itertools.count(1)


class MediaPeer(Closing):
    """Two UDP sockets on a loopback address.

    Text is sent in packets of RTP and RTCP, and received without their headers: a relay admits nothing else
    from a source that it does not know. send_raw() sends what is no media.

    Args:
        address: IPv4 or IPv6 address to bind.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._ssrc = _MARK | next(_numbers) & 0xFFFF
        self._sequence = 0
        self.sockets = open_pair(address)
        for sock in self.sockets:
            sock.settimeout(RECEIVE_S)

    @property
    def port(self) -> int:
        """The RTP port; RTCP's is the next one."""
        return int(self.sockets[RTP].getsockname()[1])

    def send(self, payload: bytes, to: tuple[str, int], component: int = RTP) -> None:
        """Send `payload` to the component's port of `to`, which is an address and an RTP port.

        A payload that begins like RTP or RTCP is sent as it is.
        """
        if payload and payload[0] >> 6 != 2:
            payload = self._header(component) + payload
        self.send_raw(payload, to, component)

    def send_raw(self, packet: bytes, to: tuple[str, int], component: int = RTP) -> None:
        """Send a packet as it is."""
        address, port = to
        self.sockets[component].sendto(packet, (address, port + component))

    def next_packet(self, payload: bytes) -> bytes:
        """The next packet of this peer's RTP stream, for another socket to send."""
        return self._header(RTP) + payload

    def _header(self, component: int) -> bytes:
        if component == RTCP:
            return struct.pack("!BBHI", 0x80, 201, 1, self._ssrc)
        self._sequence = (self._sequence + 1) & 0xFFFF
        return struct.pack("!BBHII", 0x80, 0, self._sequence, self._sequence * 160, self._ssrc)

    def receive(self, component: int = RTP) -> tuple[bytes, tuple[str, int]]:
        """The next packet and the address and port that it came from.

        Raises:
            TimeoutError: none comes.
        """
        payload, source = self.sockets[component].recvfrom(65536)
        return text_of(payload), (source[0], source[1])

    def arriving(self, within_s: float, component: int = RTP) -> Iterator[tuple[bytes, tuple[str, int]]]:
        """The packets that come, as `receive` returns them, until none comes for `within_s`."""
        while select.select([self.sockets[component]], [], [], within_s)[0]:
            yield self.receive(component)

    def pending(self, component: int = RTP) -> list[bytes]:
        """The payloads that are already there."""
        payloads = []
        while self.has_waiting(component):
            payloads.append(text_of(self.sockets[component].recv(65536)))
        return payloads

    def has_waiting(self, component: int = RTP) -> bool:
        """Whether a packet is already there; it stays there."""
        return bool(select.select([self.sockets[component]], [], [], 0)[0])

    def close(self) -> None:
        """Close both sockets."""
        for sock in self.sockets:
            sock.close()


def text_of(packet: bytes) -> bytes:
    """What a peer sent as text; any other packet as it is.

    A report has its SSRC elsewhere than RTP: what is encrypted behind it may look like the other one.
    """
    at = 4 if packet[1:2] == b"\xc9" else 8  # a receiver report
    if packet[:1] == b"\x80" and len(packet) >= at + 4:
        (ssrc,) = struct.unpack_from("!I", packet, at)
        if ssrc & 0xFFFF0000 == _MARK:
            return packet[at + 4 :]
    return packet


def open_pair(address: str) -> tuple[socket.socket, socket.socket]:
    """Two UDP sockets on consecutive ports of `address`, the first one even."""
    family = socket_family(address)
    for _ in range(1000):
        rtp = socket.socket(family, socket.SOCK_DGRAM)
        rtp.bind((address, 0))
        port = rtp.getsockname()[1]
        if port % 2 == 0:
            rtcp = socket.socket(family, socket.SOCK_DGRAM)
            try:
                rtcp.bind((address, port + 1))
            except OSError:
                rtcp.close()
            else:
                return rtp, rtcp
        rtp.close()
    raise AssertionError(f"no two consecutive free UDP ports on {address}")
