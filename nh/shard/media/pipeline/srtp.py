"""SRTP in the media pipeline: packets of ends that have it are opened, packets to such ends are sealed.

Everything that comes is authenticated before its source is looked at, so a packet that is not authentic moves
nothing. STUN passes as it is, where the relay has no ICE: ends that use ICE with each other check the path
through it.
"""

from collections.abc import Sequence
from typing import Final

from nh.calls.drop import Drop
from nh.calls.leg import Leg
from nh.calls.protocols.media_security import MediaSecurity
from nh.rtp.packet import RTP_VERSION
from nh.srtp.refusal import Refusal, SrtpRefused

DROPS: Final = {
    Refusal.MALFORMED: Drop.SRTP_AUTHENTICATION,
    Refusal.AUTHENTICATION: Drop.SRTP_AUTHENTICATION,
    Refusal.REPLAY: Drop.SRTP_REPLAY,
    Refusal.NO_KEY: Drop.SRTP_NO_KEY,
    Refusal.EXHAUSTED: Drop.SRTP_EXHAUSTED,
}
"""As what a packet is counted that an end sent and SRTP refuses."""

UNSENT_DROPS: Final = {
    Refusal.MALFORMED: Drop.SRTP_UNSENT_NOT_MEDIA,
    Refusal.AUTHENTICATION: Drop.SRTP_UNSENT_NOT_MEDIA,  # a sender authenticates nothing
    Refusal.REPLAY: Drop.SRTP_UNSENT_INDEX_USED,
    Refusal.NO_KEY: Drop.SRTP_UNSENT_NO_KEY,
    Refusal.EXHAUSTED: Drop.SRTP_UNSENT_EXHAUSTED,
}
"""The same of a packet for an end, which SRTP refuses to protect."""


def open_packet(security: MediaSecurity, packet: memoryview) -> memoryview:
    """What an end sent, without protection; it is valid until the next packet is opened.

    Args:
        security: of the end.
        packet: as it came.

    Raises:
        SrtpRefused: it does not pass.
    """
    receiver = security.receiver
    if receiver is None:
        raise SrtpRefused(Refusal.NO_KEY if _is_media(packet) else Refusal.MALFORMED)
    return receiver.unprotect(packet)


def with_key_of(security: MediaSecurity, legs: Sequence[Leg]) -> list[Leg]:
    """Those of some legs whose end sends with the same key."""
    receiver = security.receiver
    return [leg for leg in legs if leg.security is not None and leg.security.receiver is receiver]


def seal_packet(security: MediaSecurity, packet: memoryview) -> memoryview:
    """A packet as an end is sent it; it is valid until the next packet is sealed.

    Args:
        security: of the end.
        packet: RTP or RTCP.

    Raises:
        SrtpRefused: it cannot be protected.
    """
    sender = security.sender
    if sender is None:
        raise SrtpRefused(Refusal.NO_KEY if _is_media(packet) else Refusal.MALFORMED)
    return sender.protect(packet)


def _is_media(packet: memoryview) -> bool:
    """Whether a packet may be RTP or RTCP (RFC 7983 7)."""
    return len(packet) > 1 and packet[0] >> 6 == RTP_VERSION
