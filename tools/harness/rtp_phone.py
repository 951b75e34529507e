"""The media end of a phone: sends numbered RTP packets and keeps account of those that arrive."""

import secrets
import socket
import time
from typing import Final

from nh.address import socket_family
from tools.rtp import RtpPacket

RECEIVE_BUFFER_BYTES: Final = 1 << 20


class Phone:
    """One stream out, one stream in, over one UDP socket.

    Args:
        address: IP address to bind; any free port.

    Attributes:
        socket, address: its socket, and where that is bound.
        ssrc: of what it sends.
        expects: the SSRC of the other phone; the set-up of the call sets it.
        target: where the relay receives for this phone; the set-up of the call sets it.
        sent: packets so far.
        strangers: packets that came and are not of the other phone.
        latencies_ns: by sequence number, nanoseconds from the send to the first arrival.
    """

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket_family(address), socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.socket.setblocking(False)
        self.socket.bind((address, 0))
        self.address = address
        self.ssrc = secrets.randbits(32)
        self.expects: int | None = None
        self.target: tuple[str, int] | None = None
        self.sent = 0
        self.strangers = 0
        self.latencies_ns: dict[int, int] = {}

    @property
    def port(self) -> int:
        """Where it receives."""
        return int(self.socket.getsockname()[1])

    @property
    def received(self) -> int:
        """How many different packets of the other phone came in."""
        return len(self.latencies_ns)

    def send(self) -> None:
        """Send the next packet. Raises OSError if the kernel refuses it."""
        assert self.target is not None
        packet = RtpPacket(self.ssrc, self.sent % 2**16, time.monotonic_ns())
        self.socket.sendto(packet.encode(), self.target)
        self.sent += 1

    def receive(self) -> None:
        """Take all packets that are there."""
        while True:
            try:
                data = self.socket.recv(2048)
            except BlockingIOError:
                return
            packet = RtpPacket.decode(data)
            if packet is None or packet.ssrc != self.expects:
                self.strangers += 1
            else:
                self.latencies_ns.setdefault(packet.sequence, time.monotonic_ns() - packet.sent_ns)

    def close(self) -> None:
        """Close its socket."""
        self.socket.close()
