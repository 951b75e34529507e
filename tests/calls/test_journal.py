"""nh.calls.journal: events that are kept as a snapshot has them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.journal import FIRST_EVENTS, MAX_EVENTS, CallEvent, CallJournal

EVENTS = st.builds(
    CallEvent,
    at=st.floats(0, 2e9),
    event=st.sampled_from(["offer", "answer", "latched"]),
    tag=st.binary(max_size=20),
    port=st.integers(0, 65_535),
    detail=st.text(max_size=20),
)


def journal_with(events: list[CallEvent]) -> CallJournal:
    journal = CallJournal()
    for event in events:
        journal.add(event)
    return journal


def through_a_snapshot(journal: CallJournal) -> CallJournal:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(journal), type=CallJournal)


@given(st.lists(EVENTS, max_size=MAX_EVENTS + 10))
def test_the_first_and_the_latest_events_stay_in_their_order(events: list[CallEvent]) -> None:
    journal = journal_with(events)
    left_out = max(0, len(events) - MAX_EVENTS)
    assert journal.events == events[:FIRST_EVENTS] + events[FIRST_EVENTS + left_out :]
    assert journal.events_left_out == left_out
    assert through_a_snapshot(journal) == journal


@given(st.lists(EVENTS, max_size=20), EVENTS)
def test_a_restored_journal_goes_on(events: list[CallEvent], event: CallEvent) -> None:
    journal = through_a_snapshot(journal_with(events))
    journal.add(event)
    assert journal.events == [*events, event]


@given(st.lists(EVENTS, max_size=5), EVENTS, EVENTS)
def test_the_latest_event_can_be_replaced(
    events: list[CallEvent], before: CallEvent, event: CallEvent
) -> None:
    journal = journal_with([*events, before])
    journal.replace_latest(before, event)
    assert journal.events == [*events, event]


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(7, id="no list"),
        pytest.param([[1.0]], id="an event without a name"),
        pytest.param([[1.0, "offer", b"", 70_000]], id="no port"),
        pytest.param([[1.0, "offer"]] * (MAX_EVENTS + 1), id="too many"),
    ],
)
def test_events_that_no_journal_has_are_refused(events: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode([0.0, ["", "", ""], events]), type=CallJournal)
