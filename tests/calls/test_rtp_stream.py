"""Loss, order, duplicates and restarts of one stream, by sequence numbers (RFC 3550 A.1)."""

import pytest

from nh.calls.rtp.meter import RtpMeter
from nh.calls.rtp.stream import MAX_DROPOUT, RtpStream
from nh.calls.rtp.stream_state import NO_BAD_NEXT, StreamFields
from tests.calls.rtp import CLOCKS, DTMF, PCMU, SSRC, Sender

# numbers of the first packets around which sequence numbers wrap or do not
STARTS = (0, 1000, 65_533, 65_535)


@pytest.fixture(params=STARTS, ids="from {}".format)
def sender(request: pytest.FixtureRequest) -> Sender:
    return Sender(RtpMeter(CLOCKS), first=request.param)


def stream_of(sender: Sender) -> RtpStream:
    (stream,) = sender.meter.streams
    return stream


def counts(sender: Sender) -> tuple[int, int, int, int]:
    """Packets, lost, reordered, duplicates."""
    stream = stream_of(sender)
    return stream.packets, stream.lost, stream.reordered, stream.duplicates


def test_packets_in_order_are_counted_and_nothing_else(sender: Sender) -> None:
    sender.send(*range(200))
    assert counts(sender) == (200, 0, 0, 0)
    assert (stream_of(sender).ssrc, stream_of(sender).payload_type) == (SSRC, PCMU)


def test_a_gap_is_loss(sender: Sender) -> None:
    sender.send(0, 1, 4, 5, 7)
    assert counts(sender) == (5, 3, 0, 0)
    assert stream_of(sender).expected == 8


def test_a_late_packet_was_not_lost_but_overtaken(sender: Sender) -> None:
    sender.send(0, 1, 3, 2, 4)
    assert counts(sender) == (5, 0, 1, 0)


def test_a_packet_that_comes_twice_is_a_duplicate(sender: Sender) -> None:
    sender.send(0, 1, 1, 2, 3, 1, 3)
    assert counts(sender) == (7, 0, 0, 3)
    assert stream_of(sender).expected == 4


def test_a_duplicate_does_not_make_up_for_a_loss(sender: Sender) -> None:
    sender.send(0, 1, 1, 3)
    assert counts(sender) == (4, 1, 0, 1)


def test_a_late_packet_that_comes_twice_counts_once(sender: Sender) -> None:
    sender.send(0, 2, 1, 1)
    assert counts(sender) == (4, 0, 1, 1)


def test_what_was_sent_before_the_first_packet_was_never_lost(sender: Sender) -> None:
    sender.send(3, 2, 1, 4)
    assert counts(sender) == (4, 0, 2, 0)


@pytest.mark.parametrize("run", [1, 62, 63, 64, 65, 300])
def test_duplicates_are_known_after_a_run_of_packets_in_order(sender: Sender, run: int) -> None:
    sender.send(*range(run + 1))
    sender.send(run - min(run, 63))
    assert counts(sender) == (run + 2, 0, 0, 1)


def test_a_packet_is_late_within_the_window_and_astray_beyond(sender: Sender) -> None:
    sender.send(0, *range(2, 65), 1)
    assert counts(sender) == (65, 0, 1, 0)
    sender.send(0)
    assert counts(sender) == (66, 0, 1, 0), "64 behind the highest: outside the window"


def test_a_gap_of_less_than_a_minute_is_loss(sender: Sender) -> None:
    sender.send(0, MAX_DROPOUT - 1)
    assert counts(sender) == (2, MAX_DROPOUT - 2, 0, 0)


def test_one_packet_from_elsewhere_changes_nothing_but_the_count(sender: Sender) -> None:
    sender.send(0, 1, 30_000, 2, 3)
    assert counts(sender) == (5, 0, 0, 0)


def test_two_packets_in_a_row_from_elsewhere_are_a_restart(sender: Sender) -> None:
    sender.send(0, 1, 30_000, 30_001, 30_002, 30_004)
    assert counts(sender) == (6, 1, 0, 0)


def test_a_restart_keeps_what_was_lost_before(sender: Sender) -> None:
    sender.send(0, 5, 30_000, 30_001)
    assert counts(sender) == (4, 4, 0, 0)


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        pytest.param([500, 501], (5, 1, 0, 0), id="a gap"),
        pytest.param([3, 4], (5, 1, 0, 0), id="none"),
        pytest.param([2, 4], (5, 1, 0, 1), id="the latest packet again"),
        pytest.param([1, 4, 6], (6, 1, 1, 0), id="a late packet"),
        pytest.param([500, 502, 501, 504], (7, 2, 1, 0), id="losses after it"),
        pytest.param([5000, 5001], (5, 1, 0, 0), id="a jump"),
        pytest.param([70_000, 70_001], (5, 1, 0, 0), id="numbers that wrapped around"),
    ],
)
def test_a_gap_is_no_loss_where_it_is_not_known_what_came_in_between(
    sender: Sender, then: list[int], expected: tuple[int, int, int, int]
) -> None:
    """As in a process that has the state of one that was killed some seconds after it noted that."""
    meter = sender.meter
    sender.send(-1, 0, 2)
    meter.resume()
    sender.meter = RtpMeter.from_state(meter.to_state(), CLOCKS, shift_s=0.0)
    sender.send(*then)
    assert counts(sender) == expected


def test_every_round_of_sequence_numbers_is_a_round(sender: Sender) -> None:
    sender.send(*range(70_000))
    sender.send(70_001, 70_000)
    assert counts(sender) == (70_002, 0, 1, 0)


def test_packets_without_a_clock_are_counted_by_the_same_rules(sender: Sender) -> None:
    sender.send(0, 1, 3, 3, 2, 6, payload_type=DTMF)
    assert counts(sender) == (6, 2, 1, 1)


def test_markers_do_not_disturb_the_count(sender: Sender) -> None:
    for number in range(100):
        sender.send(number, marker=number % 7 == 0)
    assert counts(sender) == (100, 0, 0, 0)


def test_a_duplicate_of_the_next_packet_that_passed_with_another_payload_type(sender: Sender) -> None:
    sender.send(0, 1, 2)
    sender.send(3, payload_type=DTMF)
    sender.send(3, 4)
    assert counts(sender) == (6, 0, 0, 1)


# --- fields -----------------------------------------------------------------------------------------


def test_a_new_stream_in_the_kernels_words() -> None:
    sender = Sender(RtpMeter(CLOCKS), first=7)
    sender.send(0)
    assert stream_of(sender).to_fields() == StreamFields(
        seen=1,
        arrival_ns=1_000_000_000_000,
        ssrc=SSRC,
        packets=1,
        bad_next=NO_BAD_NEXT,
        highest=7,
        payload_type=PCMU,
        used=1,
    )


def test_a_stream_with_everything_in_the_kernels_words(sender: Sender) -> None:
    sender.send(0, 1, 2, 2, 6, 5, 30_000)
    fields = stream_of(sender).to_fields()
    assert fields.seen == 0b1110011
    assert fields.highest == (sender.first + 6) & 0xFFFF
    assert fields.bad_next == (sender.first + 30_001) & 0xFFFF
    assert (fields.packets, fields.lost, fields.reordered, fields.duplicates) == (7, 2, 1, 1)
    assert fields.timestamp == 5 * 160, "that of the last packet whose transit time says anything"
    assert fields.jitter_ns > 0
    assert RtpStream.from_fields(fields).to_fields() == fields


def test_counters_in_the_kernels_words_have_32_bits() -> None:
    stream = RtpStream.from_fields(StreamFields(packets=2**32 - 1, highest=5, bad_next=NO_BAD_NEXT, used=1))
    stream.receive(6, PCMU)
    assert stream.packets == 2**32
    assert stream.to_fields().packets == 0
