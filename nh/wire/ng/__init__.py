"""The codec of ng, rtpengine's control protocol: datagrams to commands, results to datagrams; no I/O."""

from nh.wire.ng.replies import encode_reply
from nh.wire.ng.requests import NgRequest, decode_request, split_cookie
from nh.wire.ng.stream import NgFramer

__all__ = ["NgFramer", "NgRequest", "decode_request", "encode_reply", "split_cookie"]
