"""The crypto suites of SRTP, by the names that SDP has for them."""

from typing import Final, NamedTuple


class CryptoSuite(NamedTuple):
    """How packets are protected.

    Attributes:
        name: in SDP (RFC 4568 6.2, RFC 6188 4, RFC 7714 14.2).
        key_bytes: length of the master key.
        salt_bytes: length of the master salt.
        rtp_tag_bytes: what authentication adds to a packet of RTP.
        rtcp_tag_bytes: what it adds to one of RTCP, beside the four bytes of the index.
        aead: AES-GCM; otherwise AES in counter mode with HMAC-SHA1.
    """

    name: str
    key_bytes: int
    salt_bytes: int
    rtp_tag_bytes: int
    rtcp_tag_bytes: int
    aead: bool = False


SUITES: Final = {
    suite.name: suite
    for suite in (
        CryptoSuite("AES_CM_128_HMAC_SHA1_80", 16, 14, 10, 10),
        CryptoSuite("AES_CM_128_HMAC_SHA1_32", 16, 14, 4, 10),  # RTCP has 80 bits: RFC 4568 6.2.2
        CryptoSuite("AES_256_CM_HMAC_SHA1_80", 32, 14, 10, 10),
        CryptoSuite("AES_256_CM_HMAC_SHA1_32", 32, 14, 4, 10),
        CryptoSuite("AEAD_AES_128_GCM", 16, 12, 16, 16, aead=True),
        CryptoSuite("AEAD_AES_256_GCM", 32, 12, 16, 16, aead=True),
    )
}
"""By name."""

_OTHER_SPELLINGS: Final = {
    # drafts of RFC 6188 had it, and phones still say it
    "AES_CM_256_HMAC_SHA1_80": "AES_256_CM_HMAC_SHA1_80",
    "AES_CM_256_HMAC_SHA1_32": "AES_256_CM_HMAC_SHA1_32",
}


def find_suite(name: str) -> CryptoSuite | None:
    """The suite that SDP calls `name`, in any case; None: it is unknown."""
    name = name.upper()
    return SUITES.get(_OTHER_SPELLINGS.get(name, name))
