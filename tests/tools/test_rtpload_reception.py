"""Report blocks say what arrived (RFC 3550 6.4.1)."""

from hypothesis import given
from hypothesis import strategies as st

from tools.rtpload.packet import ReportBlock, RtcpWriter, RtpWriter
from tools.rtpload.streams.histogram import Histogram
from tools.rtpload.streams.reception import Reception
from tools.rtpload.streams.stream import Stream

SSRC, PACKET_NS, STEP = 77, 20_000_000, 160
SECOND_NS = 1_000_000_000


class Heard:
    """A stream, and the reports on it."""

    def __init__(self, first_sequence: int = 1000) -> None:
        self.media = RtpWriter(
            1,
            2,
            ssrc=SSRC,
            first_sequence=first_sequence,
            first_timestamp=0,
            payload_type=0,
            payload_bytes=160,
            timestamp_step=STEP,
        )
        self.stream = Stream(2, Histogram())
        self.reception = Reception(self.stream, self.media, PACKET_NS)

    def take(self, *numbers: int, latency_ns: int = 0) -> None:
        self.stream.sent = max(self.stream.sent, max(numbers) + 1)
        for number in numbers:
            self.stream.take(number, latency_ns)

    def block(self) -> ReportBlock:
        block = self.reception.block(0)
        assert block is not None
        return block


def test_all_that_was_sent_has_arrived() -> None:
    heard = Heard()
    heard.take(0, 1, 2)
    assert heard.block() == ReportBlock(SSRC, 0, 0, 1002, 0, 0, 0)


def test_the_lost_part_is_of_the_time_since_the_report_before_and_the_number_of_all_time() -> None:
    heard = Heard()
    heard.take(*range(0, 100, 2), 99)
    assert (heard.block().lost_part, heard.reception.block(0)) == (49 * 256 // 100, None)
    heard.take(*range(100, 200))
    assert heard.block()[1:4] == (0, 49, 1199)


def test_the_highest_sequence_number_has_its_wraps_above_sixteen_bits() -> None:
    heard = Heard(first_sequence=65_535)
    heard.take(0, 1)
    assert heard.block().highest == 0x10000


def test_what_comes_late_is_not_lost_any_more_and_a_duplicate_replaces_nothing() -> None:
    heard = Heard()
    heard.take(0, 3)
    assert heard.block().lost == 2
    heard.take(2, 3, 3)
    assert heard.block()[1:3] == (0, 1)


def test_jitter_is_in_units_of_timestamps() -> None:
    heard = Heard()
    heard.take(0)
    heard.take(1, latency_ns=16 * PACKET_NS)
    assert heard.block().jitter == STEP


def test_it_says_which_report_of_the_sender_came_last_and_how_long_ago() -> None:
    heard = Heard()
    heard.take(0)
    report = RtcpWriter(1, 3, heard.media, sends_media=True)
    report.write(0, 0, unix_ns=3 * SECOND_NS // 2, media_packets=1, media_bytes=160)
    heard.reception.note_report(memoryview(report.buffer), 5 * SECOND_NS)
    block = heard.reception.block(7 * SECOND_NS)
    assert block is not None
    assert block[5:] == ((2_208_988_801 << 16 | 1 << 15) & 0xFFFFFFFF, 2 << 16)


@given(st.lists(st.lists(st.integers(0, 5000), min_size=1), min_size=1))
def test_every_block_fits_into_its_fields(reports: list[list[int]]) -> None:
    heard = Heard(first_sequence=65_000)
    writer = RtcpWriter(1, 3, heard.media, sends_media=False)
    for numbers in reports:
        heard.take(*numbers)
        block = heard.reception.block(0)
        writer.write(0, 0, unix_ns=0, media_packets=0, media_bytes=0, block=block)
        if block is not None:
            assert block.lost == block.highest - 65_000 + 1 - heard.stream.received
