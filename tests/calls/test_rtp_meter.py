"""The meter of a leg: what is RTP, whose it is, and how evenly it comes."""

import struct

import pytest

from nh.calls.rtp.meter import MAX_STREAMS, RtpMeter
from tests.calls.rtp import CLOCKS, CN, DTMF, OPUS, PCMA, PCMU, Sender, rtp_packet


@pytest.fixture
def meter() -> RtpMeter:
    return RtpMeter(CLOCKS)


def jitter_ms(meter: RtpMeter, stream: int = 0) -> float:
    return meter.streams[stream].jitter_s * 1000


# --- what is RTP ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x80",
        rtp_packet(1)[:11],
        bytes(172),
        b"\0\x01\0\x08\x21\x12\xa4\x42" + bytes(20),
        b"\x16\xfe\xfd" + bytes(60),
        b"\x40" + rtp_packet(1)[1:],
        b"\xc0" + rtp_packet(1)[1:],
        *(struct.pack("!BBHII", 0x81, second, 6, 1, 2) + bytes(16) for second in (192, 200, 201, 223)),
    ],
    ids=[
        "empty", "one byte", "a byte too short", "zeros", "STUN", "DTLS", "version 1", "version 3",
        "RTCP 192", "RTCP sender report", "RTCP receiver report", "RTCP 223",
    ],
)  # fmt: skip
def test_what_is_no_rtp_is_passed_over(meter: RtpMeter, packet: bytes) -> None:
    sender = Sender(meter)
    meter.measure(packet, len(packet), 1.0)
    assert not meter.streams
    sender.send(0, 1)
    meter.measure(packet, len(packet), 1.0)
    sender.send(2)
    (stream,) = meter.streams
    assert (stream.packets, stream.lost, stream.duplicates) == (3, 0, 0)


def test_what_lies_in_the_buffer_behind_a_packet_is_not_read(meter: RtpMeter) -> None:
    buffer = bytearray(rtp_packet(5))
    meter.measure(buffer, 11, 1.0)
    assert not meter.streams
    meter.measure(buffer, 12, 1.0)
    assert [stream.packets for stream in meter.streams] == [1]


@pytest.mark.parametrize("first_byte", [0x80, 0x90, 0xA0, 0xB3], ids=hex)
def test_padding_extensions_and_csrcs_are_rtp_as_well(meter: RtpMeter, first_byte: int) -> None:
    for sequence in range(4):
        packet = bytes([first_byte]) + rtp_packet(sequence)[1:]
        meter.measure(packet, len(packet), 1.0)
    assert [stream.packets for stream in meter.streams] == [4]


# --- streams ----------------------------------------------------------------------------------------


def test_each_ssrc_is_a_stream_of_its_own(meter: RtpMeter) -> None:
    senders = [Sender(meter, ssrc, first=1000 * ssrc) for ssrc in range(MAX_STREAMS)]
    for number in (0, 1, 3):
        for sender in senders:
            sender.send(number)
    assert [(stream.ssrc, stream.packets, stream.lost) for stream in meter.streams] == [
        (ssrc, 3, 1) for ssrc in range(MAX_STREAMS)
    ]


def test_a_further_ssrc_takes_the_place_of_the_oldest(meter: RtpMeter) -> None:
    for ssrc in range(MAX_STREAMS + 1):
        Sender(meter, ssrc).send(0, 1)
    assert [stream.ssrc for stream in meter.streams] == [4, 1, 2, 3]
    Sender(meter, 5).send(0)
    assert [stream.ssrc for stream in meter.streams] == [4, 5, 2, 3]
    assert meter.next_stream == 2


def test_who_comes_back_after_that_begins_anew(meter: RtpMeter) -> None:
    for ssrc in range(MAX_STREAMS + 1):
        Sender(meter, ssrc).send(0, 1)
    Sender(meter, 0).send(9)
    assert [(stream.ssrc, stream.packets) for stream in meter.streams][1] == (0, 1)


@pytest.mark.parametrize("streams", range(1, 2 * MAX_STREAMS))
def test_the_latest_stream_is_the_newest_one_where_no_times_are_known(meter: RtpMeter, streams: int) -> None:
    assert meter.latest is None
    for ssrc in range(streams):
        Sender(meter, ssrc, payload_type=DTMF).send(0)
    assert meter.latest is not None
    assert meter.latest.ssrc == streams - 1


def test_the_latest_stream_is_the_one_whose_packets_arrived_last(meter: RtpMeter) -> None:
    first, second = Sender(meter, 1), Sender(meter, 2, now=1001.0)
    first.send(0, 1)
    second.send(0, 1)
    first.now = 1002.0
    first.send(2)
    assert meter.latest is not None
    assert meter.latest.ssrc == 1


# --- jitter -----------------------------------------------------------------------------------------


def test_an_even_stream_has_no_jitter(meter: RtpMeter) -> None:
    Sender(meter).send(*range(100))
    assert jitter_ms(meter) == pytest.approx(0, abs=1e-6)


def test_jitter_is_that_of_rfc_3550(meter: RtpMeter) -> None:
    # timestamps go on by 20 ms; D is 5, -5, 0, 20 and -20 ms; J += (|D| - J) / 16 by hand
    for sequence, arrival_ms in enumerate((0, 25, 40, 60, 100, 100)):
        packet = rtp_packet(sequence, sequence * 160)
        meter.measure(packet, len(packet), 50 + arrival_ms / 1000)
    # 0.3125, 0.60546875, 0.567626953125, 1.7821502685546875
    assert jitter_ms(meter) == pytest.approx(2.92076587677, abs=1e-6)


@pytest.mark.parametrize(("payload_type", "ticks"), [(PCMU, 160), (OPUS, 960)], ids=["8 kHz", "48 kHz"])
def test_timestamps_go_by_the_clock_of_the_payload_type(
    meter: RtpMeter, payload_type: int, ticks: int
) -> None:
    for sequence in range(50):
        packet = rtp_packet(sequence, sequence * ticks, payload_type=payload_type)
        meter.measure(packet, len(packet), sequence * 0.02 + 7)
    assert jitter_ms(meter) == pytest.approx(0, abs=1e-6)
    assert (meter.clock.payload_type, meter.clock.hz) == (payload_type, CLOCKS[payload_type])


def test_timestamps_wrap_around(meter: RtpMeter) -> None:
    for sequence in range(10):
        packet = rtp_packet(sequence, 2**32 - 5 * 160 + sequence * 160)
        meter.measure(packet, len(packet), sequence * 0.02 + 7)
    assert jitter_ms(meter) == pytest.approx(0, abs=1e-6)
    assert meter.streams[0].to_fields().timestamp == 4 * 160


def test_silence_of_any_length_is_no_jitter(meter: RtpMeter) -> None:
    sender = Sender(meter)
    sender.send(0, 1)
    packet = rtp_packet(2, 160 + 3600 * 8000)
    meter.measure(packet, len(packet), sender.now - 0.02 + 3600)
    assert jitter_ms(meter) == pytest.approx(0, abs=1e-6)


def test_a_jump_of_the_senders_clock_is_no_jitter(meter: RtpMeter) -> None:
    sender = Sender(meter)
    sender.send(0, 1)
    for sequence in range(2, 10):
        packet = rtp_packet(sequence, 1_000_000 + sequence * 160)
        meter.measure(packet, len(packet), sender.now + sequence * 0.02)
    assert jitter_ms(meter) == pytest.approx(0, abs=1e-6)


def test_duplicates_say_nothing_of_jitter(meter: RtpMeter) -> None:
    sender = Sender(meter)
    sender.send(0, 1, 1, 0)
    sender.now -= 0.04
    sender.send(2, 3)
    assert jitter_ms(meter) == pytest.approx(0, abs=1e-6)


def test_dtmf_between_speech_is_counted_and_not_measured(meter: RtpMeter) -> None:
    sender = Sender(meter)
    sender.send(*range(10))
    for number in range(10, 15):  # all packets of one event bear the timestamp of its beginning
        packet = rtp_packet(number, 1600, payload_type=DTMF)
        meter.measure(packet, len(packet), sender.now)
        sender.now += 0.02
    sender.send(15, 16)
    (stream,) = meter.streams
    assert (stream.packets, stream.lost) == (17, 0)
    assert jitter_ms(meter) == pytest.approx(0, abs=1e-6)
    assert meter.clock.payload_type == PCMU


def test_comfort_noise_does_not_become_the_measured_payload_type(meter: RtpMeter) -> None:
    sender = Sender(meter)
    sender.send(0, 1)
    sender.send(2, payload_type=CN)
    assert (meter.clock.payload_type, meter.clock.hz, meter.streams[0].payload_type) == (PCMU, 8000, CN)


def test_without_a_clock_there_is_no_jitter_and_nothing_to_hold_it_against(meter: RtpMeter) -> None:
    Sender(meter, payload_type=96).send(*range(10))
    (stream,) = meter.streams
    assert (stream.packets, stream.jitter_s, stream.arrival, meter.clock.hz) == (10, 0, None, 0)


def test_another_payload_type_is_measured_from_its_second_packet_on(meter: RtpMeter) -> None:
    Sender(meter).send(*range(10))
    for sequence in range(10, 20):
        packet = rtp_packet(sequence, 77_777 + sequence * 960, payload_type=OPUS)
        meter.measure(packet, len(packet), 2000 + sequence * 0.02)
    (stream,) = meter.streams
    assert (stream.packets, stream.lost, stream.payload_type) == (20, 0, OPUS)
    assert (meter.clock.payload_type, meter.clock.hz) == (OPUS, 48_000)
    assert jitter_ms(meter) == pytest.approx(0, abs=1e-6)


def test_the_kernels_payload_type_is_chosen_by_hand(meter: RtpMeter) -> None:
    Sender(meter).send(0, 1)
    assert not meter.choose_payload_type(PCMU)
    assert not meter.choose_payload_type(DTMF)
    assert meter.choose_payload_type(PCMA)
    assert (meter.clock.payload_type, meter.clock.hz, meter.streams[0].arrival) == (PCMA, 8000, None)


def test_a_clock_that_was_agreed_anew_counts_from_then_on(meter: RtpMeter) -> None:
    sender = Sender(meter, payload_type=OPUS)
    sender.send(0, 1)
    meter.set_clocks({OPUS: 16_000})
    assert (meter.clock.hz, meter.streams[0].arrival) == (16_000, None)
    meter.set_clocks({})
    sender.send(2)
    assert (meter.clock.hz, meter.streams[0].packets, meter.streams[0].arrival) == (0, 3, None)
