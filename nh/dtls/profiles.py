"""Protection profiles of use_srtp (RFC 5764 4.1.2, RFC 7714 14.2), and the keys that a handshake exports."""

from typing import Final, NamedTuple

from nh.srtp.keys import MasterKey
from nh.srtp.suites import SUITES

EXPORTER_LABEL: Final = b"EXTRACTOR-dtls_srtp"

PROFILES: Final = {
    "SRTP_AEAD_AES_128_GCM": SUITES["AEAD_AES_128_GCM"],
    "SRTP_AES128_CM_SHA1_80": SUITES["AES_CM_128_HMAC_SHA1_80"],
    "SRTP_AEAD_AES_256_GCM": SUITES["AEAD_AES_256_GCM"],
    "SRTP_AES128_CM_SHA1_32": SUITES["AES_CM_128_HMAC_SHA1_32"],
}
"""The suite of each profile, by OpenSSL's names, in the order of nh's preference: what costs least first,
short tags last."""


class AgreedKeys(NamedTuple):
    """What a handshake agrees on.

    Attributes:
        receive: what the peer sends with.
        send: what the relay sends with.
    """

    receive: MasterKey
    send: MasterKey


def exported_bytes(profile: str) -> int:
    """How many bytes a handshake exports for a profile: two keys, two salts."""
    suite = PROFILES[profile]
    return 2 * (suite.key_bytes + suite.salt_bytes)


def keys_of(profile: str, exported: bytes, *, server: bool) -> AgreedKeys:
    """The keys in what a handshake has exported (RFC 5764 4.2).

    Args:
        profile: one of PROFILES.
        exported: of exported_bytes().
        server: whether the relay was the server of the handshake.
    """
    suite = PROFILES[profile]
    key, salt = suite.key_bytes, suite.salt_bytes
    of_client = MasterKey(suite, exported[:key], exported[2 * key : 2 * key + salt])
    of_server = MasterKey(suite, exported[key : 2 * key], exported[2 * key + salt :])
    return AgreedKeys(of_client, of_server) if server else AgreedKeys(of_server, of_client)
