"""Timeline and records: what is told of a call while it lives, and in its record."""

import dataclasses
import time

import msgspec
import pytest

from nh.calls.call_event import Client
from nh.calls.session_info import SessionInfo
from nh.calls.snapshots.call import Clock, restore_call, take_snapshot
from nh.calls.snapshots.codec import decode_snapshot, encode_snapshot
from nh.calls.timeline import MAX_EVENTS, CallTimeline
from nh.commands import Delete, Offer, OfferOptions, ShowCall
from nh.errors import NhError
from nh.results import CallDetail, CallRecord
from nh.shard.observers.recorder import Recorder
from nh.verdict import State, judge_call
from tests.calls.rtp import rtp_packet
from tests.ice.phone import IcePhone
from tests.shard.bundled_call import BundledCall
from tests.shard.conftest import MakeNg
from tests.shard.ng_testbed import CALL, NgTestbed, line, places
from tests.sip.sdp import MediaLine
from tests.webrtc.bundle_phone import BundlePhone
from tools.harness.media_peer import MediaPeer

PROXY = Client("ng", "192.0.2.5:2223", "delete")


@dataclasses.dataclass
class Recorded:
    """A relay whose calls are recorded."""

    ng: NgTestbed
    recorder: Recorder

    @property
    def timeline(self) -> CallTimeline:
        """Of the call that goes on."""
        return self.ng.relay.table.get_call(CALL).timeline

    def events(self) -> list[str]:
        return [event.event for event in self.timeline.events]

    def record(self, call_id: bytes = CALL) -> CallRecord:
        """Of the call that has ended."""
        return msgspec.msgpack.decode(self.recorder.take(call_id), type=CallRecord)

    def wait(self, seconds: float) -> None:
        """Time passes, in which what is due expires: a session, and then its ports."""
        for after_s in (seconds, seconds + 10):
            self.ng.relay.expire(now=time.monotonic() + after_s)


def recorded(ng: NgTestbed) -> Recorded:
    recorder = Recorder(ng.relay.table, 7)
    ng.relay.observe(recorder)
    return Recorded(ng, recorder)


@pytest.fixture
def calls(ng: NgTestbed) -> Recorded:
    return recorded(ng)


def held(peer: MediaPeer) -> list[MediaLine]:
    return [line(peer, "inactive")]


def test_a_call_tells_what_happened_in_order(calls: Recorded, alice: MediaPeer, bob: MediaPeer) -> None:
    talk = calls.ng.connect(alice, bob)
    calls.ng.talk(alice, bob, talk, components=(0,))
    events = calls.events()
    assert events[:3] == ["begun", "offer", "answer"]
    assert events.count("latched") == 2
    latched = {event.port: event.detail for event in calls.timeline.events if event.event == "latched"}
    assert latched == {
        talk.alice_sends_to[0][1]: f"{alice.address}:{alice.port}",
        talk.bob_sends_to[0][1]: f"{bob.address}:{bob.port}",
    }
    assert [event.tag for event in calls.timeline.events[1:3]] == [b"alice", b"alice"]
    times = [event.at for event in calls.timeline.events]
    assert times == sorted(times)


def test_an_answer_to_an_unknown_tag_is_noted_with_the_end_that_is_taken(
    calls: Recorded, alice: MediaPeer, bob: MediaPeer
) -> None:
    calls.ng.offer(alice)
    calls.ng.answer(bob, to=b"changed")
    assert [(event.event, event.tag) for event in calls.timeline.events[1:3]] == [
        ("offer", b"alice"),
        ("answer", b"alice"),
    ]


def test_an_answer_that_could_be_one_to_several_ends_is_noted_with_its_tag(
    calls: Recorded, alice: MediaPeer, bob: MediaPeer
) -> None:
    calls.ng.offer(alice)
    calls.ng.offer(bob, tag=b"carol")
    with pytest.raises(NhError) as refused:
        calls.ng.answer(bob, to=b"changed")
    event = calls.timeline.events[-1]
    assert (event.event, event.tag, event.detail) == ("answer", b"changed", refused.value.code)


def test_a_record_has_of_each_leg_what_the_call_showed(
    calls: Recorded, alice: MediaPeer, bob: MediaPeer
) -> None:
    calls.ng.connect(alice, bob)
    shown = calls.ng.relay.execute(ShowCall(CALL))
    calls.ng.relay.execute(Delete(CALL, b"", b"", delay_s=0))
    data = calls.recorder.take(CALL)
    assert isinstance(shown, CallDetail)
    (session,) = msgspec.msgpack.decode(data, type=CallRecord).sessions
    assert session.pairs == shown.sessions[0].pairs
    leg = msgspec.msgpack.decode(data)["sessions"][0]["pairs"][0]["from"]
    assert "local" in leg
    assert not leg.keys() & {"kernel_packets", "streams", "ice"}, "defaults are left out"


def test_the_record_of_a_medium_that_came_with_another_says_so(
    calls: Recorded, alice: MediaPeer, bob: MediaPeer
) -> None:
    calls.ng.offer(BundlePhone(alice).sdp().encode())
    calls.ng.answer(BundlePhone(bob).sdp().encode())
    calls.ng.relay.execute(Delete(CALL, b"", b"", delay_s=0))
    audio, video = calls.record().sessions
    assert (audio.carried_by, video.carried_by) == (None, audio.sessionid)


def test_the_way_of_packets_is_told_when_it_changes(
    calls: Recorded, alice: MediaPeer, bob: MediaPeer
) -> None:
    if calls.ng.relay.plane.kernel is None:
        pytest.skip("all is in user space")
    talk = calls.ng.connect(alice, bob)
    calls.ng.talk(alice, bob, talk, components=(0,))
    session = next(iter(calls.ng.relay.table.get_call(CALL).running))
    went_in = {leg.socket.local.port for leg in session.legs if leg.offload is not None}
    assert went_in
    assert {each.port for each in calls.timeline.events if each.event == "kernel"} == went_in
    calls.ng.block()
    left = {each.port for each in calls.timeline.events if each.event == "user_space"}
    assert left == went_in


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
def test_a_record_has_the_right_duration_when_the_clock_of_the_host_is_set(
    calls: Recorded, alice: MediaPeer, bob: MediaPeer, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    calls.ng.connect(alice, bob)
    calls.ng.relay.table.get_call(CALL).created -= 100.0  # it has been there for a while
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + step_s)
    calls.ng.relay.execute(Delete(CALL, b"alice"), PROXY)
    record = calls.record()
    assert (record.end - record.begin).total_seconds() == pytest.approx(step_s, abs=60), "as the clock was"
    assert record.duration_s == pytest.approx(100.0, abs=60)


def test_a_record_says_who_ended_the_call_and_what_each_leg_received(
    calls: Recorded, alice: MediaPeer, bob: MediaPeer
) -> None:
    talk = calls.ng.connect(alice, bob)
    calls.ng.talk(alice, bob, talk)
    calls.ng.relay.execute(Delete(CALL, b"alice"), PROXY)
    record = calls.record()
    assert (record.call_id, record.shard, record.reason, record.ended_by) == (CALL, 7, "closed", PROXY)
    assert (record.packets, record.tags) == (4, (b"alice", b"bob"))
    assert record.duration_s == pytest.approx((record.end - record.begin).total_seconds(), abs=0.05)
    (session,) = record.sessions
    assert (session.state, session.reason) == ("active", "closed")
    assert [(pair.from_.packets, pair.to.packets) for pair in session.pairs] == [(1, 1), (1, 1)]
    assert session.pairs[0].from_.source == f"{alice.address}:{alice.port}"
    assert session.pairs[0].from_.streams[0].encoding == "PCMU"
    assert [event.event for event in record.events][-3:] == ["delete", "session_ended", "ended"]
    assert calls.recorder.take(CALL) == b"", "a record comes once"


def test_a_record_has_the_audio_before_a_fax_with_ice_and_the_audio_after_it(
    calls: Recorded, alice: MediaPeer, bob: MediaPeer
) -> None:
    """Each is a session of its own, although all are at the same ports."""
    ice = IcePhone(alice).attributes

    def talk(payload: bytes, kind: str = "audio", proto: str = "RTP/AVP") -> None:
        from_alice, from_bob = [[line(each, *ice, kind=kind, proto=proto)] for each in (alice, bob)]
        to_bob, to_alice = calls.ng.offer(from_alice, to=b"bob"), calls.ng.answer(from_bob)
        for sender, to, receiver in ((alice, to_alice, bob), (bob, to_bob, alice)):
            calls.ng.passes(sender, places(to)[0], receiver, payload=payload)

    talk(rtp_packet(1))
    talk(b"\0\1\5fax\0\0", "image", "udptl")
    talk(rtp_packet(2))
    calls.ng.delete()
    sessions = [
        [(leg.packets, sum(stream.packets for stream in leg.streams)) for leg in (pair.from_, pair.to)]
        for session in calls.record().sessions
        for pair in session.pairs[:1]
    ]
    assert sorted(sessions) == [[(1, 0), (1, 0)], [(1, 1), (1, 1)], [(1, 1), (1, 1)]]


def test_a_record_has_the_source_of_each_medium_of_a_bundle(
    calls: Recorded, phone: BundlePhone, plain: list[MediaPeer]
) -> None:
    call = BundledCall(calls.ng, phone, plain)
    call.begin_by_phone()
    call.goes_both_ways()
    calls.ng.delete()
    record = calls.record()
    sources = [session.pairs[0].from_.source for session in record.sessions]
    assert sources == [f"{phone.peer.address}:{phone.peer.port}"] * 2
    assert [each.state for each in judge_call(record.as_call()).verdicts] == [State.OK] * 4


def test_a_verdict_is_made_of_a_record_as_of_a_call(
    calls: Recorded, alice: MediaPeer, bob: MediaPeer
) -> None:
    talk = calls.ng.connect(alice, bob)
    calls.ng.passes(alice, talk.alice_sends_to[0], bob)
    calls.ng.delete()
    verdicts = judge_call(calls.record().as_call()).verdicts
    assert [(each.sender, each.state) for each in verdicts] == [
        ("from", State.OK),
        ("to", State.PROBLEM),
    ]
    assert "nothing came" in verdicts[1].found


@pytest.mark.parametrize("reason", ["expired", "hold"])
def test_silence_ends_a_call_with_its_reason(
    calls: Recorded, alice: MediaPeer, bob: MediaPeer, reason: str
) -> None:
    if reason == "hold":
        calls.ng.connect(held(alice), held(bob))
    else:
        calls.ng.connect(alice, bob)
    calls.wait(100_000)
    record = calls.record()
    assert (record.reason, record.ended_by) == (reason, None)


def test_a_call_that_goes_on_after_a_hold_says_so(calls: Recorded, alice: MediaPeer, bob: MediaPeer) -> None:
    calls.ng.connect(alice, bob)
    calls.ng.offer(held(alice), to=b"bob")
    calls.ng.answer(held(bob))
    calls.ng.offer(alice, to=b"bob")
    calls.ng.answer(bob)
    assert [each for each in calls.events() if each in ("hold", "resumed")] == ["hold", "resumed"]


def test_an_offer_that_is_never_answered_was_unused(calls: Recorded, alice: MediaPeer) -> None:
    calls.ng.offer(alice)
    calls.wait(100_000)
    assert calls.record().reason == "unused"


def test_a_first_offer_that_finds_no_ports_leaves_no_call_or_one_with_a_limit(
    make_ng: MakeNg, alice: MediaPeer
) -> None:
    calls = recorded(make_ng(max_sockets=2))
    with pytest.raises(NhError):
        calls.ng.offer([*(MediaLine(alice.address, alice.port, "audio", "RTP/AVP"),) * 3])
    data = calls.recorder.take(CALL)
    assert not data or msgspec.msgpack.decode(data, type=CallRecord).reason == "limit"


def test_a_delayed_delete_is_of_its_client(calls: Recorded, alice: MediaPeer, bob: MediaPeer) -> None:
    calls.ng.connect(alice, bob)
    calls.ng.relay.execute(Delete(CALL, delay_s=5), PROXY)
    calls.wait(6)
    record = calls.record()
    assert (record.reason, record.ended_by) == ("closed", PROXY)


def test_a_refused_command_is_an_event_with_its_error(
    calls: Recorded, alice: MediaPeer, bob: MediaPeer
) -> None:
    calls.ng.connect(alice, bob)
    with pytest.raises(NhError) as refused:
        calls.ng.relay.execute(Offer(CALL, b"alice", b"bob", b"", b"no sdp", OfferOptions()), PROXY)
    event = calls.timeline.events[-1]
    assert (event.event, event.detail) == ("offer", refused.value.code)


def test_the_end_of_nh_is_a_reason(calls: Recorded, alice: MediaPeer, bob: MediaPeer) -> None:
    calls.ng.connect(alice, bob)
    calls.ng.relay.end_calls([CALL])
    assert (calls.record().reason, calls.ng.relay.calls) == ("shutdown", 0)


def test_a_call_that_cannot_be_ended_keeps_no_other_from_its_record_at_the_end_of_nh(
    calls: Recorded, alice: MediaPeer, bob: MediaPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls.ng.connect(alice, bob)
    table = calls.ng.relay.table
    close = table.close_call

    def fail_for_one(call_id: bytes, *, now: float) -> list[SessionInfo]:
        if call_id == b"bad":
            raise RuntimeError("a bug")
        return close(call_id, now=now)

    monkeypatch.setattr(table, "close_call", fail_for_one)
    monkeypatch.setattr(table, "find_call", lambda call_id: None if call_id == b"gone" else object())
    calls.ng.relay.end_calls([b"gone", b"bad", CALL])
    assert calls.record().reason == "shutdown"


def test_a_timeline_and_ended_sessions_go_on_in_another_process(
    make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer
) -> None:
    before = recorded(make_ng())
    talk = before.ng.connect(alice, bob)
    before.ng.passes(alice, talk.alice_sends_to[0], bob)
    call = before.ng.relay.table.get_call(CALL)
    call.timeline.add_ended(b"\x80")
    data = encode_snapshot(take_snapshot(call, clock=Clock(0.0, 0.0)))
    events = list(call.timeline.events)
    before.ng.delete()
    after = make_ng()
    restored = restore_call(after.relay.table, decode_snapshot(data), shift_s=0.0, now=time.monotonic())
    assert restored.timeline.events == events
    assert restored.timeline.ended == (b"\x80",)


def test_a_timeline_is_bounded_and_keeps_its_begin(calls: Recorded, alice: MediaPeer, bob: MediaPeer) -> None:
    for _ in range(MAX_EVENTS):
        calls.ng.connect(alice, bob)
    timeline = calls.timeline
    assert len(timeline.events) == MAX_EVENTS
    assert timeline.events_left_out > MAX_EVENTS
    assert calls.events()[:2] == ["begun", "offer"]


def test_a_hostile_call_makes_a_bounded_record(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> None:
    calls = recorded(ng)
    call_id, tag = b"\x1b[2J<script>\0" * 1000, b"\xff\r\n" * 5000
    for _ in range(20):
        ng.offer(alice, tag=tag, call_id=call_id)
        ng.answer(bob, to=tag, tag=b"t" * 16_000, call_id=call_id)
    ng.relay.execute(Delete(call_id))
    data = calls.recorder.take(call_id)
    assert len(data) < 96 * 1024
    record = msgspec.msgpack.decode(data, type=CallRecord)
    assert record.call_id == call_id
    assert all(len(each) <= 128 for each in record.tags)
