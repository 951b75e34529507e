"""DTLS that comes before the answer of its end, which may begin while the answer is on its way.

The answer has the fingerprint of the end's certificate, so the relay can begin no sooner. What came waits for
it: an end repeats it only after a second, and would be silent until then. It is kept for ends that a check of
ICE has shown to be there, and bounded, because any of these may send as much as it likes. A packet longer
than LONG_BYTES is not kept.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.shard.media.protocol_queue import LONG_BYTES
from nh.shard.media.sockets.media_socket import MediaSocket

MAX_PACKETS: Final = 4
"""Most packets that are kept for a socket, the latest: a ClientHello of a browser is two datagrams."""

MAX_SOCKETS: Final = 256
"""Most sockets that packets are kept for; a further one replaces the oldest."""


class EarlyPacket(NamedTuple):
    """A packet, and where it came from."""

    packet: bytes
    source: Endpoint


class EarlyDtls:
    """What is kept for the ends of a relay."""

    def __init__(self) -> None:
        self._kept: dict[MediaSocket, deque[EarlyPacket]] = {}

    def expects(self, media_socket: MediaSocket, source: Endpoint) -> bool:
        """Whether an end at a socket may begin a handshake from `source` before its answer."""
        return any(_may_begin(leg, source) for leg in media_socket.legs)

    def keep(self, media_socket: MediaSocket, packet: memoryview, source: Endpoint) -> bool:
        """Keep a packet of DTLS that is expected; returns False if it is too long: it is lost."""
        if len(packet) > LONG_BYTES:
            return False
        if media_socket not in self._kept and len(self._kept) >= MAX_SOCKETS:
            del self._kept[next(iter(self._kept))]
        kept = self._kept.setdefault(media_socket, deque(maxlen=MAX_PACKETS))
        kept.append(EarlyPacket(bytes(packet), source))
        return True

    def take(self, media_socket: MediaSocket) -> Iterable[EarlyPacket]:
        """What has been kept for a socket whose end has answered; each packet is taken once."""
        if media_socket in self._kept and any(leg.dtls is not None for leg in media_socket.legs):
            return self._kept.pop(media_socket)
        return ()

    def forget(self, media_socket: MediaSocket) -> None:
        """Drop what has been kept for a socket that is about to be closed."""
        self._kept.pop(media_socket, None)


def _may_begin(leg: Leg, source: Endpoint) -> bool:
    """Whether an end is offered SRTP, has not answered, and has checked from `source`."""
    security = leg.security
    if security is None or security.dtls is not None or security.receiver is not None:
        return False
    return leg.guarded and leg.ice is not None and leg.ice.validates(source)
