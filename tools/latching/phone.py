"""Phones and strangers: each packet says who sent it, so that the other end knows whose packets passed."""

import contextlib
import secrets
import socket
import struct
from collections import defaultdict
from typing import Final

from nh.address import socket_family
from nh.ip_address import host_port
from tools.harness.media_peer import RTCP, RTP, open_pair
from tools.rtp import SAMPLES_PER_PACKET

BUFFER_BYTES: Final = 1 << 20


class Phone:
    """A phone that speaks: RTP, and a report with each packet.

    Args:
        address: IP address to bind; any free ports.
        component: which packets are counted, RTP or RTCP.

    Attributes:
        sockets: those of RTP and RTCP that it sends from now.
        sent: packets of the component so far.
        token: what its packets begin with.
        ssrc, sequence, skew: of its stream; `skew` is added to its timestamps.
        target: the relay's RTP port for it.
        endpoints: where it sends from and has sent from, as nh writes it.
        received: the numbers of the packets of the component that came, by the token of their sender.
    """

    def __init__(self, address: str, component: int = RTP) -> None:
        self.token = secrets.token_bytes(8)
        self.component = component
        self.ssrc = secrets.randbits(32)
        self.sequence = secrets.randbits(15)
        self.skew = 0
        self.sent = 0
        self.target: tuple[str, int] | None = None
        self.received: defaultdict[bytes, list[int]] = defaultdict(list)
        self.sockets = self.open(address)
        self.endpoints = self._endpoints()

    @property
    def port(self) -> int:
        """Where it receives RTP."""
        return int(self.sockets[RTP].getsockname()[1])

    @property
    def ports(self) -> set[int]:
        """Where it sends from and has sent from."""
        return {int(endpoint.rpartition(":")[2]) for endpoint in self.endpoints}

    def open(self, address: str) -> dict[int, socket.socket]:
        """Its sockets, by component."""
        return _prepared(dict(enumerate(open_pair(address))))

    def move(self, address: str) -> None:
        """Its NAT gives it other ports, and perhaps another address; its stream goes on."""
        moved = self.open(address)
        self.close()
        self.sockets = moved
        self.endpoints += self._endpoints()

    def send(self) -> None:
        """The next packet of its stream, and the next report."""
        self.sent += 1
        self.sequence = (self.sequence + 1) & 0xFFFF
        for component in self.sockets:
            self.send_packet(self._packet(component), component)

    def send_packet(self, packet: bytes, component: int) -> None:
        """Any packet."""
        assert self.target is not None
        address, port = self.target
        # an ICMP error to an earlier packet shows here
        with contextlib.suppress(ConnectionRefusedError):
            self.sockets[component].sendto(packet, (address, port + component))

    def receive(self) -> None:
        """Take all packets that are there."""
        for component, sock in self.sockets.items():
            while True:
                try:
                    packet = sock.recv(2048)
                except (BlockingIOError, ConnectionRefusedError):
                    break
                if component == self.component:
                    self.received[packet[12:20]].append(int.from_bytes(packet[20:24], "big"))

    def close(self) -> None:
        """Close its sockets."""
        for sock in self.sockets.values():
            sock.close()

    def _endpoints(self) -> list[str]:
        names = [sock.getsockname()[:2] for sock in self.sockets.values()]
        return [host_port(address, port) for address, port in names]

    def _packet(self, component: int) -> bytes:
        """12 bytes of header, 8 of the token, and 4 of its number."""
        body = self.token + self.sent.to_bytes(4, "big")
        if component == RTCP:
            # a receiver report with an extension (RFC 3550 6.4.2)
            return struct.pack("!BBHII", 0x80, 201, 2 + len(body) // 4, self.ssrc, 0) + body
        timestamp = (self.sequence * SAMPLES_PER_PACKET + self.skew) & 0xFFFFFFFF
        return struct.pack("!BBHII", 0x80, 0, self.sequence, timestamp, self.ssrc) + body.ljust(160, b"\0")


class Stranger(Phone):
    """An attacker, who sends to one component only."""

    def open(self, address: str) -> dict[int, socket.socket]:
        """One socket."""
        sock = socket.socket(socket_family(address), socket.SOCK_DGRAM)
        sock.bind((address, 0))
        return _prepared({self.component: sock})


def _prepared(sockets: dict[int, socket.socket]) -> dict[int, socket.socket]:
    for sock in sockets.values():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        sock.setblocking(False)
    return sockets
