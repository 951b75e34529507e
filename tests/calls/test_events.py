"""nh.calls.events: what happens to calls reaches its observers, and only these."""

import pytest

from nh.calls.events import CallObserver, CallObservers, EndReason
from nh.calls.session import Session
from nh.calls.timeline import CallTimeline
from tests.calls.fakes import ALICE_AUDIO, CALL, Proxy, make_proxy
from tests.calls.ng_proxy import A_AUDIO, B_AUDIO, make_ng_proxy


class Story(CallObserver):
    """What was heard, in order."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def call_begun(self, call_id: bytes, timeline: CallTimeline) -> None:
        self.heard.append("call begun")

    def session_activated(self, call_id: bytes, session: Session) -> None:
        self.heard.append("session activated")

    def session_ended(self, call_id: bytes, session: Session, reason: EndReason) -> None:
        assert call_id == CALL or session.group_from.id
        self.heard.append(f"session ended: {reason}")

    def call_ended(self, call_id: bytes, timeline: CallTimeline) -> None:
        self.heard.append("call ended")


@pytest.fixture
def story(proxy: Proxy) -> Story:
    story = Story()
    proxy.table.resources.events.add(story)
    return story


def test_a_call_begins_with_its_first_sockets_and_ends_with_its_last(proxy: Proxy, story: Story) -> None:
    proxy.connect()
    proxy.bye()
    assert story.heard == ["call begun", "session activated", "session ended: closed", "call ended"]


def test_a_call_that_finds_no_sockets_does_not_begin(proxy: Proxy, story: Story) -> None:
    proxy.plane.foreign.add("192.0.2.77")
    with pytest.raises(Exception, match="not here"):
        proxy.offer(ALICE_AUDIO, address="192.0.2.77")
    assert story.heard == []


def test_a_silent_session_ends_once_with_its_reason(proxy: Proxy, story: Story) -> None:
    proxy.connect()
    story.heard.clear()
    proxy.expire(after_s=30)
    proxy.expire(after_s=30)
    assert story.heard == ["session ended: expired", "call ended"]


def test_a_replaced_session_ends_when_it_relays_no_more(proxy: Proxy, story: Story) -> None:
    proxy.connect(cseq=1)
    proxy.connect(cseq=2)
    assert story.heard[-1] == "session activated"
    proxy.expire(after_s=1.1)
    assert story.heard[-1] == "session ended: replaced"


def test_calls_of_ng_tell_the_same_story() -> None:
    ng, story = make_ng_proxy(), Story()
    ng.table.resources.events.add(story)
    ng.offer(A_AUDIO)
    ng.answer(B_AUDIO)
    ng.delete()
    assert story.heard == ["call begun", "session activated", "session ended: closed", "call ended"]


def test_an_observer_that_fails_costs_neither_the_command_nor_the_other_observers() -> None:
    class Broken(CallObserver):
        def call_begun(self, call_id: bytes, timeline: CallTimeline) -> None:
            raise ZeroDivisionError

    proxy, story, failed = make_proxy(), Story(), list[str]()
    events = proxy.table.resources.events = CallObservers(failed.append)
    events.add(Broken())
    events.add(story)
    assert proxy.offer(ALICE_AUDIO)
    assert (failed, story.heard) == (["call_begun"], ["call begun"])
