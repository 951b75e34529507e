"""Net::SIP's NAT helper protocol: frozen Perl values behind a length (docs/reference/protocol.md)."""

from nh.wire.netsip.codec import (
    FIRST_BYTE,
    decode_reply,
    decode_request,
    encode_request,
    encode_result,
    read_allocated,
    read_count,
    read_medium,
    read_nat_basic,
    reply_minor,
)

__all__ = [
    "FIRST_BYTE",
    "decode_reply",
    "decode_request",
    "encode_request",
    "encode_result",
    "read_allocated",
    "read_count",
    "read_medium",
    "read_nat_basic",
    "reply_minor",
]
