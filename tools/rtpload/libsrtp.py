"""SRTP by libsrtp, for phones of tests and of the load generator: an implementation that is not nh's."""

from typing import Final

from pylibsrtp import Error, Policy, Session

__all__ = ["PROFILES", "Error", "incoming", "outgoing"]

PROFILES: Final = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
"""The suites that libsrtp has, and its numbers of them."""

WINDOW: Final = 128
"""Packets of the replay window: as many as nh's has."""


def outgoing(suite: str, key: bytes) -> Session:
    """What protects packets.

    Args:
        suite: one of PROFILES.
        key: master key and master salt, as SDP has them.
    """
    return _session(suite, key, Policy.SSRC_ANY_OUTBOUND)


def incoming(suite: str, key: bytes) -> Session:
    """What opens packets; the same arguments."""
    return _session(suite, key, Policy.SSRC_ANY_INBOUND)


def _session(suite: str, key: bytes, direction: int) -> Session:
    policy = Policy(key=key, ssrc_type=direction, srtp_profile=PROFILES[suite])
    policy.window_size = WINDOW
    return Session(policy)
