"""Classification: which kind of packet arrived at a media port, by its first bytes.

One table, so that a further kind (RFC 7983 7: STUN, DTLS, ZRTP, ...) is a row. No I/O.
"""

import enum
from typing import Final

from nh.rtp.packet import RTCP_FROM, RTCP_TO


class MediaKind(enum.Enum):
    """What a packet is, as far as the relay treats kinds differently.

    RTP: RTP, and every packet that takes the way of RTP (STUN, DTLS, UDPTL, ...).
    RTCP: RTCP; on a port that RTP shares, it counts for and is sent to the RTCP component.
    """

    RTP = "rtp"
    RTCP = "rtcp"


_RANGES: Final = (
    (0, RTCP_FROM - 1, MediaKind.RTP),
    (RTCP_FROM, RTCP_TO, MediaKind.RTCP),
    (RTCP_TO + 1, 255, MediaKind.RTP),
)
"""(lowest, highest) second byte, and the kind."""

_KINDS: Final = tuple(kind for low, high, kind in _RANGES for _ in range(low, high + 1))


def classify(packet: memoryview) -> MediaKind:
    """The kind of a packet of any length; a packet that is too short to tell counts as RTP."""
    return _KINDS[packet[1]] if len(packet) > 1 else MediaKind.RTP
