"""The packets of a benchmark are those of phones that talk on, from one round to the next."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from benchmarks.streams import HEADER, NS_PER_SAMPLE, PACKET_BYTES, Phones, Stream
from nh.calls.rtp.meter import RtpMeter

TIMEOUT_S = 60.0


@pytest.fixture
def relay() -> Iterator[socket.socket]:
    """A socket in the place of a relay's, which passes nothing on."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(TIMEOUT_S)
        yield sock


def test_a_stream_goes_on_from_round_to_round(relay: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.streams.DRAIN_S", 0.0)
    sent, meter = 0, RtpMeter({0: 10**9 // NS_PER_SAMPLE})
    with contextlib.closing(Phones()) as phones:
        caller, callee = phones.of_call(0)
        streams = [Stream(caller, relay.getsockname(), callee), Stream(callee, relay.getsockname(), caller)]
        for number in range(3):
            # for two streams that are 2.5 packets each
            sent += phones.play(streams, number=number, packets_per_s=1000, duration_s=0.005).sent
    for _ in range(sent):
        packet = relay.recv(PACKET_BYTES)
        meter.measure(packet, len(packet), HEADER.unpack_from(packet)[5] / 1e9)
    assert [(each.packets, each.lost, each.duplicates) for each in meter.streams] == [(9, 0, 0)] * 2
    assert all(each.jitter_s <= NS_PER_SAMPLE / 1e9 for each in meter.streams)
