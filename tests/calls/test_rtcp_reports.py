"""Round trips and reception by reports of RTCP that pass (RFC 3550 6.4.1), whatever bytes they are."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nh.calls.media import Side
from nh.calls.rtcp_reports import MAX_READ, awaits_reports, note_reports
from nh.calls.rtp.reports import MIN_REPORTED
from nh.calls.session import Session
from tests.calls.fakes import START, make_proxy
from tests.calls.rtp import Sender
from tests.profiles import examples
from tests.rtcp import bye, receiver_report, report_block, sender_report

A, B = 0xA1, 0xB2


@pytest.fixture
def session() -> Session:
    """A call in which both ends have sent RTP."""
    session = make_proxy().connect()
    for side, ssrc in ((Side.FROM, A), (Side.TO, B)):
        meter = session.legs[side].find_meter()
        assert meter is not None
        Sender(meter, ssrc=ssrc, now=START).send(1, 2)
    return session


def arrives(session: Session, side: Side, packet: bytes, now: float) -> bool:
    """A packet of RTCP from the end on `side`."""
    leg = session.legs[2 + side]
    leg.packets += 1
    return note_reports(leg, memoryview(packet), now=now)


def round_trips(session: Session) -> list[float | None]:
    """From the relay to the end that receives A's stream, and to the one that receives B's."""
    found = []
    for leg in session.legs[:2]:
        assert leg.meter is not None
        found.append(leg.meter.streams[0].round_trip_s)
    return found


def test_a_report_tells_the_round_trip_to_the_end_that_sent_it(session: Session) -> None:
    arrives(session, Side.FROM, sender_report(A, ntp=0x12345678), START)
    arrives(session, Side.TO, receiver_report(B, report_block(A, lsr=0x12345678, dlsr_s=0.5)), START + 0.54)
    assert round_trips(session) == [pytest.approx(0.04, abs=1e-4), None]


def test_reports_in_a_sender_report_and_behind_other_packets_count(session: Session) -> None:
    arrives(session, Side.FROM, sender_report(A, ntp=7), START)
    description = struct.pack("!BBHI", 0x81, 202, 1, B)
    block = report_block(A, lsr=7, dlsr_s=1.0)
    arrives(session, Side.TO, description + sender_report(B, 8, block), START + 1.02)
    arrives(session, Side.FROM, bye() + receiver_report(A, report_block(B, lsr=8, dlsr_s=0.0)), START + 1.05)
    assert round_trips(session) == [pytest.approx(0.02, abs=1e-3), pytest.approx(0.03, abs=1e-3)]


@pytest.mark.parametrize(
    ("lsr", "about", "later_s"),
    [(8, A, 0.1), (0, A, 0.1), (7, 0xC3, 0.1), (7, A, 7.0)],
    ids=["another report", "none", "another stream", "too long"],
)
def test_what_does_not_belong_together_tells_nothing(
    session: Session, lsr: int, about: int, later_s: float
) -> None:
    arrives(session, Side.FROM, sender_report(A, ntp=7), START)
    arrives(session, Side.TO, receiver_report(B, report_block(about, lsr=lsr)), START + later_s)
    assert round_trips(session) == [None, None]


def test_the_time_of_a_sender_without_a_clock_tells_nothing(session: Session) -> None:
    """It may say 0 (RFC 3550 6.4.1), as an end does that has heard no sender report."""
    arrives(session, Side.FROM, sender_report(A, ntp=0), START)
    assert not any(map(awaits_reports, session.legs[2:])), "the kernel may have the RTCP"
    arrives(session, Side.TO, receiver_report(B, report_block(A, lsr=0)), START + 3)
    assert round_trips(session) == [None, None]


def test_a_delay_longer_than_the_time_that_passed_is_a_round_trip_of_nothing(session: Session) -> None:
    arrives(session, Side.FROM, sender_report(A, ntp=7), START)
    arrives(session, Side.TO, receiver_report(B, report_block(A, lsr=7, dlsr_s=0.02)), START + 0.01)
    assert round_trips(session) == [0.0, None]


def test_rtcp_on_the_port_of_rtp_counts_too(session: Session) -> None:
    for side, packet in (
        (Side.FROM, sender_report(A, ntp=7)),
        (Side.TO, receiver_report(B, report_block(A, lsr=7))),
    ):
        note_reports(session.legs[side], memoryview(packet), now=START + side)
    assert round_trips(session) == [1.0, None]


def test_reports_are_awaited_from_the_first_sender_report_until_both_round_trips_are_known(
    session: Session,
) -> None:
    rtcp = session.legs[2:]
    assert not any(map(awaits_reports, rtcp))
    assert not arrives(session, Side.FROM, sender_report(A, ntp=7), START)
    assert all(map(awaits_reports, rtcp))
    block = report_block(A, lsr=7)
    assert not arrives(session, Side.TO, sender_report(B, 8, block), START + 0.1)
    assert all(map(awaits_reports, rtcp))
    assert arrives(session, Side.FROM, receiver_report(A, report_block(B, lsr=8)), START + 0.2)
    assert not any(map(awaits_reports, rtcp))


def test_reports_are_not_awaited_for_ever(session: Session) -> None:
    ended = [arrives(session, Side.FROM, sender_report(A, ntp=7), START) for _ in range(MAX_READ + 3)]
    assert ended.index(True) == MAX_READ
    assert ended.count(True) == 1
    assert not awaits_reports(session.legs[2])


def hears(session: Session) -> tuple[int, tuple[int, int] | None]:
    """How many reports of B's say that it receives nothing, and what it says of A's stream."""
    meter = session.legs[Side.FROM].meter
    assert meter is not None
    return meter.deaf_reports, meter.streams[0].reported


def a_second_of_speech(session: Session, second: int) -> None:
    meter = session.legs[Side.FROM].meter
    assert meter is not None
    first = 3 + second * MIN_REPORTED
    Sender(meter, ssrc=A, now=START + second).send(*range(first, first + MIN_REPORTED))


def test_reports_without_a_block_say_that_nothing_is_received(session: Session) -> None:
    for second in range(3):
        a_second_of_speech(session, second)
        arrives(session, Side.TO, sender_report(B, second), START + second)
    assert hears(session) == (3, None)
    a_second_of_speech(session, 3)
    arrives(session, Side.TO, receiver_report(B, report_block(A, lsr=0, highest=150)), START + 4)
    assert hears(session) == (0, (150, 0))


def test_a_highest_sequence_number_that_stands_still_says_the_same(session: Session) -> None:
    for second in range(3):
        a_second_of_speech(session, second)
        block = report_block(A, lsr=0, highest=9, fraction_lost=64)
        arrives(session, Side.TO, receiver_report(B, block), START + second)
    assert hears(session) == (2, (9, 64))


def test_without_packets_meanwhile_a_report_says_nothing(session: Session) -> None:
    a_second_of_speech(session, 0)
    for second in range(3):
        arrives(session, Side.TO, sender_report(B, second), START + second)
    assert hears(session) == (1, None)


def test_reports_about_another_stream_say_nothing_as_do_encrypted_ones(session: Session) -> None:
    for second in range(3):
        a_second_of_speech(session, second)
        arrives(session, Side.TO, receiver_report(B, report_block(0xC3, lsr=0)), START + second)
        arrives(session, Side.TO, struct.pack("!BBHI", 0x81, 201, 1, B), START + second)  # a block is missing
    assert hears(session) == (0, None)


def test_an_end_that_sends_reports_with_encrypted_blocks_receives_something(session: Session) -> None:
    """Browsers with a bundle send sender reports without blocks between receiver reports with all of them."""
    encrypted = receiver_report(B, report_block(0xC3, lsr=0), report_block(0xD4, lsr=0))
    for second in range(4):
        a_second_of_speech(session, second)
        arrives(session, Side.TO, sender_report(B, second) if second % 2 else encrypted, START + second)
        assert hears(session)[0] == second % 2


@settings(max_examples=examples(300), deadline=None)
@given(
    st.binary(max_size=120)
    | st.lists(
        st.tuples(st.integers(0x80, 0x9F), st.sampled_from([200, 201, 202]), st.integers(0, 12), st.binary()),
        max_size=12,
    ).map(lambda parts: b"".join(struct.pack("!BBH", *each[:3]) + each[3] for each in parts))
)
def test_any_bytes_are_read_without_harm(packet: bytes) -> None:
    session = make_proxy().connect()
    for leg in session.legs:
        note_reports(leg, memoryview(packet), now=START)
