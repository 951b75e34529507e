"""Quality over intervals: average, lowest and highest, in a record of constant length."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nh.calls.media import Side
from nh.calls.rtp.meter import RtpMeter
from nh.calls.rtp.quality import INTERVAL_PACKETS, MAX_COURSE, PACKED_BYTES, Quality, add_interval, unpack
from nh.calls.session import Session
from tests.calls.fakes import START, make_proxy
from tests.calls.rtp import CLOCKS, PCMU, Sender
from tests.calls.snapshots import move_calls
from tests.profiles import examples


def interval(
    before: bytes = b"",
    *,
    expected: int = 250,
    lost: int = 0,
    jitter_s: float = 0.0,
    round_trip_s: float | None = None,
    now: float = 100.0,
) -> bytes:
    return add_interval(
        before,
        encoding="PCMU",
        expected=expected,
        lost=lost,
        jitter_s=jitter_s,
        round_trip_s=round_trip_s,
        now=now,
    )


def quality(packed: bytes) -> Quality:
    found = unpack(packed)
    assert found is not None
    return found


def test_one_interval_is_the_lowest_the_highest_and_the_average() -> None:
    found = quality(interval(lost=25, jitter_s=0.004, round_trip_s=0.08))
    assert found.samples == 1
    assert found.lowest == found.highest
    assert found.lowest.at == 100
    for sample in (found.lowest, found.average):
        assert sample.loss_ratio == pytest.approx(0.1, abs=1e-4)
        assert sample.jitter_s == pytest.approx(0.004, abs=1e-4)
        assert sample.round_trip_s == pytest.approx(0.08, abs=1e-4)
    assert found.average.mos == pytest.approx(found.lowest.mos, abs=1e-3)


def test_the_worst_and_the_best_interval_are_kept_with_their_times() -> None:
    packed = interval(lost=5, now=10.0)
    packed = interval(packed, expected=500, lost=55, now=20.0)  # 20 %
    packed = interval(packed, expected=750, lost=55, now=30.0)  # none
    packed = interval(packed, expected=1000, lost=60, now=40.0)
    found = quality(packed)
    assert (found.samples, found.lowest.at, found.highest.at) == (4, 20, 30)
    assert found.lowest.loss_ratio == pytest.approx(0.2, abs=1e-4)
    assert found.highest.loss_ratio == 0
    assert found.average.loss_ratio == pytest.approx((0.02 + 0.2 + 0 + 0.02) / 4, abs=1e-4)
    assert found.lowest.mos < found.average.mos < found.highest.mos


def test_of_equal_intervals_the_first_one_is_kept() -> None:
    packed = interval(now=10.0)
    for number in (2, 3, 4):
        packed = interval(packed, expected=250 * number, now=10.0 * number)
    found = quality(packed)
    assert (found.lowest.at, found.highest.at) == (10, 10)


def test_an_interval_without_packets_is_none() -> None:
    packed = interval(expected=500)
    assert interval(packed, expected=540) == packed
    assert interval(expected=49) == b""


def test_late_packets_make_no_negative_loss() -> None:
    packed = interval(interval(lost=20), expected=500, lost=10)
    assert quality(packed).highest.loss_ratio == 0


def test_a_round_trip_that_is_known_late_is_the_average_of_where_it_is_known() -> None:
    packed = interval(interval(interval(), expected=500, round_trip_s=0.2), expected=750, round_trip_s=0.1)
    assert quality(packed).average.round_trip_s == pytest.approx(0.15, abs=1e-4)


@pytest.mark.parametrize(
    ("count", "kept"),
    [
        (1, [0]),
        (10, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (11, [0, 2, 4, 6, 8, 10]),
        (12, [0, 2, 4, 6, 8, 10]),
        (20, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]),
        (21, [0, 4, 8, 12, 16, 20]),
        (1000, [0, 128, 256, 384, 512, 640, 768, 896]),
    ],
)
def test_the_course_has_intervals_at_equal_distances(count: int, kept: list[int]) -> None:
    packed = b""
    for number in range(count):
        packed = interval(packed, expected=250 * (number + 1), now=5.0 * number)
    found = quality(packed)
    assert [sample.at // 5 for sample in found.course] == kept
    moved = unpack(packed, shift_s=1000.0)
    assert moved is not None
    assert [sample.at // 5 for sample in moved.course] == [200 + number for number in kept]
    assert quality(moved.pack()) == moved


def test_a_record_without_a_course_gets_one() -> None:
    packed = interval()[:PACKED_BYTES]
    assert quality(packed).course == []
    assert [each.at for each in quality(interval(packed, expected=500, now=105.0)).course] == [105]


def test_a_record_of_another_version_is_none() -> None:
    assert unpack(b"") is None
    assert unpack(interval() + b"x") is None
    assert unpack(interval() + bytes(12 * MAX_COURSE)) is None


def test_times_move_with_the_clock() -> None:
    assert unpack(interval(now=100.0), shift_s=-250.5) == quality(interval())._replace(
        lowest=quality(interval()).lowest._replace(at=-150),
        highest=quality(interval()).highest._replace(at=-150),
        packed_course=quality(interval(now=-150.0)).packed_course,
    )


@pytest.mark.parametrize("shift_s", [-1e15, -3e9, 3e9, 1e15])
def test_times_are_kept_whatever_a_clock_was_set_to(shift_s: float) -> None:
    shifted = unpack(interval(now=100.0), shift_s=shift_s)
    assert shifted is not None
    assert quality(shifted.pack()) == shifted


counters = st.integers(0, 2**33)


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(
        st.tuples(counters, counters, st.floats(0, 60), st.none() | st.floats(0, 6), st.floats(0, 1e9)),
        max_size=8,
    )
)
def test_any_counters_leave_a_short_record_with_figures_in_range(
    intervals: list[tuple[int, int, float, float | None, float]],
) -> None:
    packed = b""
    for expected, lost, jitter_s, round_trip_s, now in intervals:
        packed = interval(
            packed, expected=expected, lost=lost, jitter_s=jitter_s, round_trip_s=round_trip_s, now=now
        )
    assert len(packed) in (0, *range(PACKED_BYTES + 12, PACKED_BYTES + 12 * (MAX_COURSE + 1), 12))
    if packed:
        found = quality(packed)
        assert 1.0 <= found.lowest.mos <= found.average.mos + 1e-3
        assert found.average.mos <= found.highest.mos + 1e-3 <= 4.501
        assert 0 <= found.average.loss_ratio <= 1.0001


# --- legs -----------------------------------------------------------------------------------------


def relayed(session: Session, side: Side, sender: Sender, numbers: range) -> None:
    """Packets that a leg accepts."""
    sender.send(*numbers)
    session.legs[side].packets += len(numbers)


def meter_of(session: Session, side: Side = Side.FROM) -> RtpMeter:
    meter = session.legs[side].find_meter()
    assert meter is not None
    return meter


def test_polling_a_leg_ends_an_interval_when_enough_packets_came() -> None:
    session = make_proxy().connect()
    meter = meter_of(session)
    sender = Sender(meter, now=START)
    relayed(session, Side.FROM, sender, range(INTERVAL_PACKETS - 1))
    session.note(now=sender.now)
    assert meter.streams[0].quality == b""
    relayed(session, Side.FROM, sender, range(INTERVAL_PACKETS - 1, INTERVAL_PACKETS + 10))
    session.note(now=sender.now)
    first = meter.streams[0].quality
    assert quality(first).samples == 1
    session.note(now=sender.now)
    assert meter.streams[0].quality == first
    relayed(session, Side.FROM, sender, range(INTERVAL_PACKETS + 10, 2 * INTERVAL_PACKETS + 40))
    session.note(now=sender.now)
    assert quality(meter.streams[0].quality).samples == 2


def test_the_round_trip_of_both_legs_is_that_of_the_ends() -> None:
    session = make_proxy().connect()
    one, other = meter_of(session, Side.FROM), meter_of(session, Side.TO)
    sender = Sender(one, now=START)
    relayed(session, Side.FROM, sender, range(300))
    Sender(other, ssrc=2, now=START).send(1, 2)
    one.streams[0].find_reports().round_trip_s = 0.03
    other.streams[0].find_reports().round_trip_s = 0.05
    session.note(now=sender.now)
    assert quality(one.streams[0].quality).average.round_trip_s == pytest.approx(0.08)


def test_quality_survives_a_move_and_the_kernel() -> None:
    proxy = make_proxy()
    session = proxy.connect()
    meter = meter_of(session)
    sender = Sender(meter, now=START)
    relayed(session, Side.FROM, sender, range(300))
    meter.streams[0].find_reports().round_trip_s = 0.03
    session.note(now=sender.now)
    packed = meter.streams[0].quality
    other = make_proxy()
    move_calls(proxy.table, other.table, now=proxy.now)
    (after,) = other.plane.running
    assert meter_of(after).streams[0].quality == packed
    assert meter_of(after).streams[0].round_trip_s == 0.03
    assert meter_of(after).next_sample == meter.next_sample == 300 + INTERVAL_PACKETS
    meter.take_fields(meter.next_stream, meter.to_fields())
    assert (meter.streams[0].quality, meter.streams[0].round_trip_s) == (packed, 0.03)


def test_a_stream_without_a_clock_has_no_quality() -> None:
    meter = RtpMeter({})
    Sender(meter, payload_type=96).send(*range(300))
    meter.sample({}, None, START)
    assert meter.streams[0].quality == b""


def test_a_stream_that_has_ended_is_not_sampled_again() -> None:
    meter = RtpMeter(CLOCKS)
    Sender(meter, payload_type=PCMU).send(*range(300))
    meter.sample({}, None, START)
    packed = meter.streams[0].quality
    Sender(meter, ssrc=2).send(*range(300))
    meter.sample({}, None, START + 10)
    assert meter.streams[0].quality == packed
    assert quality(meter.streams[1].quality).samples == 1
