"""tools.rtpload.worker.browser: the end of a browser."""

import random
import socket

import pytest

from tools.rtpload.worker.browser import Browser


@pytest.mark.parametrize("packet", [b"", b"\x00", b"\x16", b"\x80", b"\x00\x01", b"\x80\x00", b"\x80\xc8"])
def test_a_packet_that_is_too_short_is_wrong_and_does_no_harm(packet: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        opens = Browser("AES_CM_128_HMAC_SHA1_80", sock, random.Random(1)).opener(rtcp=False)
        with pytest.raises(ValueError, match=r".+"):
            opens(packet)
