"""The codec of rtpproxy's control protocol: lines to commands, results to lines; no I/O."""

from nh.wire.rtpproxy.replies import MAX_REPLY_BYTES, encode_reply
from nh.wire.rtpproxy.requests import MAX_REQUEST_BYTES, RtpproxyRequest, decode_request, split_cookie

__all__ = [
    "MAX_REPLY_BYTES",
    "MAX_REQUEST_BYTES",
    "RtpproxyRequest",
    "decode_request",
    "encode_reply",
    "split_cookie",
]
