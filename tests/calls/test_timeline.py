"""nh.calls.timeline: events that are kept as a snapshot has them."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nh.calls.call_event import MAX_DETAIL, CallEnd, CallEvent, Client
from nh.calls.snapshots.timeline import TimelineSnapshot
from nh.calls.snapshots.version import VERSION
from nh.calls.timeline import FIRST_EVENTS, MAX_EVENTS, NO_EVENTS, CallTimeline
from nh.errors import SnapshotUnreadable

TIMES = st.integers(0, 2 * 10**12).map(lambda milliseconds: milliseconds / 1000) | st.floats(0, 1e15)

EVENTS = st.builds(
    CallEvent,
    at=TIMES,
    event=st.sampled_from(["offer", "activate", "latched", "hold"]),
    tag=st.binary(max_size=20),
    port=st.integers(0, 65_535),
    detail=st.text(max_size=20),
)


CLIENTS = st.builds(
    Client,
    protocol=st.sampled_from(["", "netsip", "ng"]),
    address=st.sampled_from(["", "192.0.2.5:2223", "192.0.2.6:2223"]),
    command=st.sampled_from(["offer", "allocate"]),
)


def timeline_with(events: list[CallEvent], begin: float = 0.0) -> CallTimeline:
    timeline = CallTimeline(begin)
    for event in events:
        timeline.add(event)
    return timeline


def through_a_snapshot(timeline: CallTimeline) -> CallTimeline:
    return restored(msgspec.msgpack.encode(TimelineSnapshot.take(timeline)))


def restored(snapshot: bytes) -> CallTimeline:
    return msgspec.msgpack.decode(snapshot, type=TimelineSnapshot).rebuild()


@given(st.lists(EVENTS, max_size=MAX_EVENTS + 10))
def test_the_first_and_the_latest_events_stay_in_their_order(events: list[CallEvent]) -> None:
    timeline = timeline_with(events)
    left_out = max(0, len(events) - MAX_EVENTS)
    assert timeline.events == events[:FIRST_EVENTS] + events[FIRST_EVENTS + left_out :]
    assert timeline.events_left_out == left_out
    assert through_a_snapshot(timeline) == timeline


@given(TIMES, st.lists(EVENTS, max_size=20), EVENTS)
def test_a_restored_timeline_goes_on(begin: float, events: list[CallEvent], event: CallEvent) -> None:
    timeline = through_a_snapshot(timeline_with(events, begin))
    timeline.add(event)
    assert timeline.events == [*events, event]


@given(CLIENTS, st.lists(EVENTS, max_size=3))
def test_a_timeline_has_its_client_before_and_after_a_snapshot(
    client: Client, events: list[CallEvent]
) -> None:
    begun = CallTimeline()
    begun.open(client, 2.5)
    of_another_nh = timeline_with(events)
    of_another_nh.client = client
    for timeline in (begun, of_another_nh):
        for event in events:
            timeline.add(event)
        assert timeline.client == through_a_snapshot(timeline).client == client
        assert through_a_snapshot(timeline) == timeline
    assert begun.events == [CallEvent(2.5, "begun", detail=client.address), *events]


@example("")
@example("a" * 31)
@example("a" * 32)
@example("é" * 127 + "a")
@example("é" * 128)
@given(st.text(max_size=MAX_DETAIL))
def test_the_address_of_the_client_is_that_of_the_first_event(address: str) -> None:
    timeline = CallTimeline()
    timeline.open(Client("ng", address, "offer"), 2.5)
    timeline.add(CallEvent(2.5, "offer", b"tag", 4000, "192.0.2.9:40000"))
    assert timeline.client == Client("ng", address, "offer")
    assert [event.detail for event in timeline.events] == [address, "192.0.2.9:40000"]


def test_the_address_of_the_client_is_read_without_the_other_events() -> None:
    timeline = CallTimeline()
    for address in ("192.0.2.5:2223", "[2001:db8:1111:2222:3333:4444:5555:6666]:52223"):
        timeline.open(Client("ng", address, "offer"), 2.5)
        first = timeline.packed_events
        timeline.packed_events = first + b"\xc1"  # no decoder reads that
        assert timeline.client.address == address
        timeline.packed_events = NO_EVENTS


@given(st.lists(EVENTS, max_size=15), EVENTS)
def test_a_restored_timeline_goes_on_whatever_form_the_array_of_its_events_has(
    events: list[CallEvent], event: CallEvent
) -> None:
    taken = TimelineSnapshot.take(timeline_with(events))
    other_form = msgspec.msgpack.encode(msgspec.msgpack.decode(taken.packed_events))  # up to 15: one byte
    assert other_form[0] != bytes(taken.packed_events)[0]
    timeline = msgspec.structs.replace(taken, packed_events=msgspec.Raw(other_form)).rebuild()
    timeline.add(event)
    assert timeline.events == [*events, event]


def test_what_has_ended_is_in_a_snapshot() -> None:
    timeline = timeline_with([])
    timeline.packets, timeline.size, timeline.on_hold = 7, 1204, True
    timeline.add_ended(b"\x80")
    timeline.closer, timeline.latest_end = Client("ng", "192.0.2.5:2223", "delete"), CallEnd.HOLD
    after = through_a_snapshot(timeline)
    assert (after.packets, after.size, after.on_hold, after.ended) == (7, 1204, True, (b"\x80",))
    assert (after.closer, after.latest_end, after.end) == (timeline.closer, CallEnd.HOLD, None)


@given(st.lists(EVENTS, max_size=5), EVENTS, EVENTS)
def test_the_latest_event_can_be_replaced(
    events: list[CallEvent], before: CallEvent, event: CallEvent
) -> None:
    timeline = timeline_with([*events, before])
    timeline.replace_latest(before, event)
    assert timeline.events == [*events, event]


@given(st.lists(EVENTS, max_size=9), EVENTS, st.lists(EVENTS, max_size=9))
def test_the_latest_event_of_a_port_is_found(
    before: list[CallEvent], event: CallEvent, after: list[CallEvent]
) -> None:
    events = [*before, event, *after]
    found = [each for each in events if (each.port, each.detail) == (event.port, event.detail)]
    assert timeline_with(events).find_latest(event.port, event.detail) == found[-1]


def test_the_events_of_a_snapshot_of_version_3_are_read() -> None:
    snapshot = msgspec.msgpack.encode([1.5, ["", "", ""], [[2.25, "latched", b"tag", 4000, "192.0.2.1:9"]]])
    timeline = restored(snapshot)
    assert timeline.events == [CallEvent(2.25, "latched", b"tag", 4000, "192.0.2.1:9")]


def test_the_codes_and_times_of_a_snapshot_of_version_4_are_read() -> None:
    packed = [[milliseconds, code] for milliseconds, code in zip(range(-5, 5), range(10), strict=True)]
    snapshot = msgspec.msgpack.encode([1.5, ["", "", ""], packed])
    timeline = restored(snapshot)
    assert [(each.at, each.event) for each in timeline.events] == [
        (1.495, "begun"),
        (1.496, "source"),
        (1.497, "latched"),
        (1.498, "allocate"),
        (1.499, "activate"),
        (1.5, "offer"),
        (1.501, "answer"),
        (1.502, "kernel"),
        (1.503, "user_space"),
        (1.504, "session_ended"),
    ]
    assert VERSION == 4, "another version has a test of its own here"


def test_a_code_that_no_event_has_is_refused() -> None:
    snapshot = msgspec.msgpack.encode([1.5, ["", "", ""], [[0, 10]]])
    with pytest.raises(SnapshotUnreadable):
        restored(snapshot)


def test_an_event_later_than_any_time_is_refused() -> None:
    snapshot = msgspec.msgpack.encode([1e15, ["", "", ""], [[1000, "offer"]]])
    with pytest.raises(SnapshotUnreadable, match="no time"):
        restored(snapshot)


def test_an_event_takes_its_tag_and_its_address_and_few_bytes_more() -> None:
    begin, tag, address = 1_795_000_000.123, b"tag of a phone", "192.0.2.1:40000"
    timeline = CallTimeline(begin)
    before = len(timeline.packed_events)
    timeline.add(CallEvent(begin + 0.25, "allocate", tag))
    timeline.add(CallEvent(begin + 3.0, "latched", b"", 4000, address))
    assert len(timeline.packed_events) - before <= len(tag) + len(address) + 18


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(7, id="no list"),
        pytest.param([[1.0]], id="an event without a name"),
        pytest.param([[1.0, "offer", b"", 70_000]], id="no port"),
        pytest.param([[1.0, "offer"]] * (MAX_EVENTS + 1), id="too many"),
    ],
)
def test_events_that_no_timeline_has_are_refused(events: object) -> None:
    with pytest.raises(SnapshotUnreadable):
        restored(msgspec.msgpack.encode([0.0, ["", "", ""], events]))
