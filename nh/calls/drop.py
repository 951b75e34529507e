"""Drops: the reasons for which packets are not passed on."""

import enum


class Drop(enum.IntEnum):
    """Why a packet was not passed on, and whether a leg had admitted it, so that it is in the leg's counters.

    nh.stats.layout has a counter for each, `drop_` and its name.

    SOURCE_MISMATCH: its source does not belong to the leg, or it came from no known source and is not what
        the leg carries.
    NO_TARGET: the other end does not receive (hold), or its endpoint is not known yet.
    SEND_FAILED: the kernel refused to send it.
    NO_SESSION: no session is active at the socket.
    LOOPED: it passed too many ports of this relay.
    OVERFLOW: the receive buffer of the socket was full.
    DTMF_BLOCKED: it is a DTMF event (RFC 4733), and those of its end are blocked.
    SRTP_AUTHENTICATION: it is not protected with the key of its end.
    SRTP_REPLAY: it has been received before, or is too late.
    SRTP_NO_KEY: the key that its end uses is not known.
    SRTP_EXHAUSTED: the key of its end has protected as many packets or streams as it may.
    SRTP_UNSENT_INDEX_USED: the key of the other end has protected a packet with its index already.
    NO_MEDIUM: it came over a bundle and is of none of its media.
    SRTP_UNSENT_NO_KEY: the key of the other end is not agreed on yet.
    SRTP_UNSENT_EXHAUSTED: the key of the other end has protected as many packets or streams as it may.
    SRTP_UNSENT_NOT_MEDIA: it is neither RTP nor RTCP, and the other end has SRTP.
    PROTOCOL_OVERFLOW: it is of ICE or DTLS, and too many such packets wait at its socket, or it is too long
        to wait there.
    """

    admitted: bool

    def __new__(cls, value: int, admitted: bool) -> "Drop":
        """A reason with its index."""
        reason = int.__new__(cls, value)
        reason._value_ = value
        reason.admitted = admitted
        return reason

    SOURCE_MISMATCH = 0, False
    NO_TARGET = 1, True
    SEND_FAILED = 2, True
    NO_SESSION = 3, False
    LOOPED = 4, True
    OVERFLOW = 5, False
    DTMF_BLOCKED = 6, True
    SRTP_AUTHENTICATION = 7, False
    SRTP_REPLAY = 8, False
    SRTP_NO_KEY = 9, False
    SRTP_UNSENT_INDEX_USED = 10, True
    NO_MEDIUM = 11, False
    SRTP_UNSENT_NO_KEY = 12, True
    SRTP_UNSENT_EXHAUSTED = 13, True
    SRTP_UNSENT_NOT_MEDIA = 14, True
    PROTOCOL_OVERFLOW = 15, False
    SRTP_EXHAUSTED = 16, False
