"""nh.calls.rtp.telephone_events: which packets of RFC 4733 tell of an event."""

import struct

import pytest

from nh.calls.rtp.telephone_events import EventReader, TelephoneEvent
from tests.calls.rtp import DTMF, PCMU, rtp_packet

TYPES = frozenset({DTMF})
FIVE = TelephoneEvent(code=5, volume=10, duration=1280, payload_type=DTMF)


def event(
    code: int = 5, *, sequence: int = 1, timestamp: int = 160, ended: bool = True, **fields: int
) -> bytes:
    payload = struct.pack("!BBH", code, ended << 7 | 10, fields.pop("duration", 1280))
    return rtp_packet(sequence, timestamp, payload_type=DTMF, payload=payload, **fields)  # type: ignore[arg-type]


def read(reader: EventReader, *packets: bytes) -> list[TelephoneEvent]:
    found = [reader.read(memoryview(bytearray(packet)), TYPES) for packet in packets]
    return [each for each in found if each is not None]


def test_an_event_is_read_when_it_ends_and_once() -> None:
    going_on = [event(sequence=number, duration=160 * number, ended=False) for number in range(1, 8)]
    ends = [event(sequence=number) for number in (8, 9, 10)]
    assert read(EventReader(), *going_on) == []
    assert read(EventReader(), *going_on, *ends) == [FIVE]


def test_the_same_digit_again_is_another_event() -> None:
    assert read(EventReader(), event(), event(timestamp=3200)) == [FIVE, FIVE]
    assert read(EventReader(), event(), event(ssrc=7)) == [FIVE, FIVE]


def test_the_last_packet_of_an_event_may_come_after_the_next_one() -> None:
    six = event(6, timestamp=3200)
    assert [each.code for each in read(EventReader(), event(), six, event(), six)] == [5, 6]


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        event()[:12],
        event()[:15],
        rtp_packet(1, payload_type=PCMU),
        b"\x81" + event()[1:],  # its payload is a CSRC
        b"\x90" + event()[1:],  # its extension is longer than the packet
        b"\x00" + event()[1:],
    ],
    ids=["empty", "no payload", "short", "speech", "CSRC", "extension", "no RTP"],
)
def test_other_packets_have_none(packet: bytes) -> None:
    assert read(EventReader(), packet) == []


def test_csrcs_and_padding_are_no_part_of_it() -> None:
    plain = event()
    with_csrc = b"\xa1" + plain[1:12] + bytes(4) + plain[12:] + b"\x00\x00\x00\x04"
    assert read(EventReader(), with_csrc) == [FIVE]
