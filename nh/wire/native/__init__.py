"""The native protocol: JSON behind a length (docs/reference/protocol.md)."""

from nh.wire.native.codec import (
    FIRST_BYTE,
    MAX_REPLY_BYTES,
    RequestId,
    decode_reply,
    decode_request,
    decode_result,
    encode_request,
    encode_result,
    split_reply,
)

__all__ = [
    "FIRST_BYTE",
    "MAX_REPLY_BYTES",
    "RequestId",
    "decode_reply",
    "decode_request",
    "decode_result",
    "encode_request",
    "encode_result",
    "split_reply",
]
