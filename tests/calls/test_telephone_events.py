"""nh.calls.rtp.telephone_events: which packets of RFC 4733 tell of an event."""

import struct

import pytest

from nh.calls.rtp.payload_types import PayloadFormat, PayloadTypes, agreed
from nh.calls.rtp.telephone_events import EventReader, TelephoneEvent
from tests.calls.rtp import DTMF, PCMU, rtp_packet

EVENTS = (PayloadFormat(DTMF, "telephone-event", 8000),)
TYPES = agreed(EVENTS, EVENTS)
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


def test_what_are_events_changes_with_the_signalling() -> None:
    reader, packets = EventReader(), [memoryview(event(number, timestamp=number)) for number in range(4)]
    types: list[PayloadTypes | None] = [None, TYPES, agreed((), ()), TYPES]
    assert [reader.read(*each) is not None for each in zip(packets, types, strict=True)] == [
        False,
        True,
        False,
        True,
    ]


def test_payload_types_are_looked_at_when_they_change_alone() -> None:
    """Each packet of speech is looked at."""
    reads = 0

    class Counted(PayloadTypes):
        @property
        def events(self) -> frozenset[int]:
            nonlocal reads
            reads += 1
            return super().events

    reader, types = EventReader(), Counted(TYPES.clocks, TYPES.encodings)
    for number in range(3):
        assert reader.read(memoryview(rtp_packet(number, payload_type=PCMU)), types) is None
    assert reads == 1
