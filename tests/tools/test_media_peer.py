"""What a peer of the tests takes for text: what another peer has sent as text, and nothing else."""

import pytest

from tests.srtp.packets import rtcp
from tools.harness.media_peer import RTCP, RTP, MediaPeer, text_of


@pytest.mark.parametrize("component", [RTP, RTCP])
def test_text_arrives_without_its_header(component: int) -> None:
    with MediaPeer("127.0.0.1") as sender, MediaPeer("127.0.0.1") as receiver:
        sender.send(b"text", (receiver.address, receiver.port), component)
        assert receiver.receive(component)[0] == b"text"


def test_an_encrypted_report_stays_whole_whatever_its_bytes_are() -> None:
    """Where RTP has its SSRC, one in 65,536 has what marks the packets of peers."""
    with MediaPeer("127.0.0.1") as peer:
        header = peer.next_packet(b"")
    report = rtcp(header[8:] + bytes(20))
    assert text_of(report) == report
