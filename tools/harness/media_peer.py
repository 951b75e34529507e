"""One end of a medium: real RTP and RTCP sockets on consecutive ports from an even one (RFC 3550 11)."""

import select
import socket
from types import TracebackType
from typing import Self

RTP = 0
RTCP = 1

RECEIVE_S = 5.0


class MediaPeer:
    """Two UDP sockets on a loopback address.

    Args:
        address: IPv4 or IPv6 address to bind.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.sockets = _open_pair(address)
        for sock in self.sockets:
            sock.settimeout(RECEIVE_S)

    @property
    def port(self) -> int:
        """The RTP port; RTCP's is the next one."""
        return int(self.sockets[RTP].getsockname()[1])

    def send(self, payload: bytes, to: tuple[str, int], component: int = RTP) -> None:
        """Send `payload` to the component's port of `to`, which is an address and an RTP port."""
        address, port = to
        self.sockets[component].sendto(payload, (address, port + component))

    def receive(self, component: int = RTP) -> tuple[bytes, tuple[str, int]]:
        """The next packet and the address and port that it came from.

        Raises TimeoutError if none comes.
        """
        payload, source = self.sockets[component].recvfrom(65536)
        return payload, (source[0], source[1])

    def pending(self, component: int = RTP) -> list[bytes]:
        """The payloads that are already there."""
        payloads = []
        while select.select([self.sockets[component]], [], [], 0)[0]:
            payloads.append(self.sockets[component].recv(65536))
        return payloads

    def close(self) -> None:
        """Close both sockets."""
        for sock in self.sockets:
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open_pair(address: str) -> tuple[socket.socket, socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
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
