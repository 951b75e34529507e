"""nh.shard.media.leg_memory: counters that a killed process leaves to its successor, in place."""

import mmap
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.drop import Drop
from nh.calls.leg import Leg
from nh.calls.media import Media, Side
from nh.calls.protocols.media_security import MediaSecurity
from nh.calls.session import Session
from nh.calls.settings import RelayConfig
from nh.commands import TransactionKey
from nh.shard.media import leg_memory
from nh.shard.media.leg_memory import _PLACE_BYTES, _RTCP_AT, _RTP_AT, LegMemory
from nh.shard.relay import Relay
from tests.calls.fakes import START, Proxy, make_proxy, receive
from tests.calls.rtp import Sender
from tests.calls.test_snapshot import moved
from tests.shard.testbed import V4

PLACES = 6
"""For two sessions, each with two ends that have RTP and RTCP; the first two places are no leg's."""


@pytest.fixture
def memory() -> mmap.mmap:
    return mmap.mmap(-1, PLACES * _PLACE_BYTES)


def talk(leg: Leg, *numbers: int, at: float = START) -> None:
    """RTP arrives on a leg."""
    meter = leg.find_meter()
    assert meter is not None
    Sender(meter, ssrc=7, now=at).send(*numbers)
    receive(leg, *[172] * len(numbers), at=at)


def session_in(proxy: Proxy, number: int = 0) -> Session:
    return proxy.plane.running[number]


def session_in_new_call(proxy: Proxy) -> Session:
    number = len(proxy.plane.running)
    proxy.connect(call_id=b"%d" % number)
    return session_in(proxy, number)


def seen(leg: Leg) -> object:
    """What a leg has counted."""
    streams = [(each.ssrc, each.packets, each.lost, each.reordered, each.duplicates) for each in leg.streams]
    return leg.packets, leg.bytes, leg.last_seen, streams


@given(
    st.lists(st.integers(0, 90), min_size=1, max_size=30),
    st.lists(st.integers(0, 90), min_size=1, max_size=30),
    st.lists(st.integers(91, 99), max_size=9),
)
def test_a_successor_counts_on(first: list[int], more: list[int], then: list[int]) -> None:
    """It has a snapshot, and the memory has what came since."""
    memory, proxy = mmap.mmap(-1, PLACES * _PLACE_BYTES), make_proxy()
    leg = proxy.connect().legs[0]
    places = LegMemory(memory)
    places.begin(session_in(proxy))
    talk(leg, *first)
    after = session_in(moved(proxy))
    talk(leg, *more, at=START + 5)
    places.save(leg)
    LegMemory(memory).begin(after)
    assert seen(after.legs[0]) == seen(leg)
    for each in (leg, after.legs[0]):
        talk(each, *then, at=START + 9)
    assert seen(after.legs[0]) == seen(leg)


@pytest.mark.parametrize("killed", [False, True], ids=["", "killed within a write of RTCP"])
def test_rtcp_counts_on_beside_the_rtp_of_its_end(memory: mmap.mmap, killed: bool) -> None:
    proxy = make_proxy()
    session = proxy.connect()
    places, (rtp, other, rtcp, _) = LegMemory(memory), session.legs
    places.begin(session)
    after = session_in(moved(proxy))
    assert rtcp.place == rtp.place != other.place
    for leg in (rtcp, rtp):
        receive(leg, 172, at=START)
        assert places.save(leg)
    receive(rtcp, 80, at=START + 5)
    rtcp.count_drop(Drop.SOURCE_MISMATCH)
    assert [places.save(rtcp), places.save(rtcp), places.save(rtp)] == [False, True, True]
    if killed:
        at = rtcp.place * _PLACE_BYTES + _RTCP_AT
        memory[at + 8 : at + 24] = bytes(16)
        with memoryview(memory).cast("Q") as words:
            words[1] = at
    LegMemory(memory).begin(after)
    assert [seen(after.legs[0]), seen(after.legs[2])] == [seen(rtp), seen(rtcp)]
    assert after.legs[2].bytes == 172 + 80


def test_what_another_version_wrote_is_not_read(memory: mmap.mmap, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = make_proxy()
    leg = proxy.connect().legs[0]
    places = LegMemory(memory)
    places.begin(session_in(proxy))
    talk(leg, 1, 2, 3)
    places.save(leg)
    after = session_in(moved(proxy))
    before = seen(after.legs[0])
    monkeypatch.setattr(leg_memory, "_OWN_FORMAT", 7)
    successor = LegMemory(memory)
    successor.begin(after)
    assert (successor.known_session, seen(after.legs[0])) == (0, before)
    talk(after.legs[0], 4)
    successor.save(after.legs[0])
    again = session_in(moved(proxy))
    LegMemory(memory).begin(again)
    assert again.legs[0].packets == after.legs[0].packets, "and then it counts on"


def test_a_snapshot_that_is_later_counts(memory: mmap.mmap) -> None:
    proxy = make_proxy()
    leg = proxy.connect().legs[0]
    places = LegMemory(memory)
    places.begin(session_in(proxy))
    talk(leg, 1, 2)
    places.save(leg)
    talk(leg, 3, 4, at=START + 1)
    proxy.now = START + 1
    after = session_in(moved(proxy))
    LegMemory(memory).begin(after)
    assert seen(after.legs[0]) == seen(leg)


@pytest.mark.parametrize("whole", [True, False], ids=["copied in part", "written in part"])
def test_a_kill_within_a_write_costs_that_write_at_most(memory: mmap.mmap, whole: bool) -> None:
    proxy = make_proxy()
    leg = proxy.connect().legs[0]
    places = LegMemory(memory)
    places.begin(session_in(proxy))
    after = session_in(moved(proxy))
    talk(leg, 1, 2)
    places.save(leg)
    before, old = seen(leg), bytes(memory)
    talk(leg, 3, at=START + 1)
    places.save(leg)
    words = memoryview(memory).cast("Q")
    if whole:
        # what is in place 1 is whole, that of the leg is half old
        half = leg.place * _PLACE_BYTES + _PLACE_BYTES // 3
        memory[half : (leg.place + 1) * _PLACE_BYTES] = old[half : (leg.place + 1) * _PLACE_BYTES]
        words[1] = leg.place * _PLACE_BYTES + _RTP_AT
    else:
        memory[2 * _PLACE_BYTES :] = old[2 * _PLACE_BYTES :]
    words.release()
    LegMemory(memory).begin(after)
    assert seen(after.legs[0]) == (seen(leg) if whole else before)


def test_places_are_used_again_and_a_leg_without_one_needs_snapshots(memory: mmap.mmap) -> None:
    proxy = make_proxy()
    sessions = [proxy.connect(call_id=b"%d" % number) for number in range(3)]
    places = LegMemory(memory)
    for session in sessions:
        places.begin(session)
    assert len({leg.place for session in sessions[:2] for leg in session.legs}) == PLACES - 2
    assert {leg.place for leg in sessions[2].legs} == {0}
    assert places.missing == 4
    assert not places.save(sessions[2].legs[0])
    places.end(sessions[0])
    places.begin(sessions[2])
    talk(sessions[2].legs[0], 1)
    assert seen(sessions[2].legs[0])
    after = moved(proxy)
    successor = LegMemory(memory)
    for session in after.plane.running:
        successor.begin(session)
    assert [leg.place > 0 for leg in after.plane.running[1].legs] == [True] * 4


def test_what_was_not_restored_gives_way(memory: mmap.mmap) -> None:
    before = make_proxy()
    places = LegMemory(memory)
    for number in range(2):
        session = before.connect(call_id=b"%d" % number)
        places.begin(session)
        for leg in session.legs:
            receive(leg, 172, at=START)
            places.save(leg)
    successor, after = LegMemory(memory), make_proxy()
    others = [after.connect(call_id=b"other %d" % number) for number in range(4)][2:]
    for session in others:
        successor.begin(session)
        assert all(leg.place for leg in session.legs)
        assert {leg.packets for leg in session.legs} == {0}, "not the counters of those before"


def test_two_sessions_of_one_number_have_counters_of_their_own(memory: mmap.mmap) -> None:
    """From two shards, of a relay that had more of them."""
    proxy = make_proxy()
    places = LegMemory(memory)
    sessions = [session_in_new_call(proxy) for _ in range(2)]
    sessions[1].id = sessions[0].id
    after = moved(proxy).plane.running
    for session in sessions:
        places.begin(session)
    receive(sessions[1].legs[0], 172, at=START)
    places.save(sessions[1].legs[0])
    successor = LegMemory(memory)
    for session in after:
        successor.begin(session)
    assert [session.legs[0].packets for session in after] == [0, 1]


def test_a_clear_that_a_kill_tore_leaves_nothing_to_the_next_leg(memory: mmap.mmap) -> None:
    proxy = make_proxy()
    places, session = LegMemory(memory), session_in_new_call(proxy)
    places.begin(session)
    for leg in session.legs:
        receive(leg, 172, at=START)
        places.save(leg)
        # the owner is gone, the counters are not
        memory[leg.place * _PLACE_BYTES : leg.place * _PLACE_BYTES + 16] = bytes(16)
    other = session_in_new_call(proxy)
    LegMemory(memory).begin(other)
    after = session_in(moved(proxy), 1)
    LegMemory(memory).begin(after)
    assert {leg.packets for leg in after.legs} == {0}


def test_a_call_that_waits_keeps_its_counters_and_new_calls_have_none(ports: range) -> None:
    """Its sockets may not be there when the next process begins; its session has a number all the same."""
    memory, before = mmap.mmap(-1, 20 * _PLACE_BYTES), make_proxy()
    places = LegMemory(memory)
    session = [before.connect(call_id=b"%d" % number) for number in range(3)][-1]
    places.begin(session)
    waiting = session_in(moved(before), 2)
    receive(session.legs[0], 172, at=START)
    places.save(session.legs[0])
    del places  # the memory is in use by one at a time, and closed with the relay

    config = RelayConfig(ports=(ports[0], ports[-1]))
    successor = LegMemory(memory)
    relay = Relay(config, memory=successor)
    for number in range(3):
        key = TransactionKey(b"new %d" % number, 1, b"from", b"to")
        for side in Side:
            relay.allocate_sockets(key, side, V4, [Media(V4, 9, 1, "RTP/AVP", "audio")])
        relay.activate_session(key)
    assert {leg.packets for each in relay.table.running for leg in each.legs} == {0}
    assert session.id not in {each.id for each in relay.table.running}
    successor.begin(waiting)
    assert waiting.legs[0].packets == 1
    relay.close()


def test_what_a_place_has_no_room_for_needs_one_snapshot_and_srtp_always_does(memory: mmap.mmap) -> None:
    session = make_proxy().connect()
    places, leg = LegMemory(memory), session.legs[0]
    places.begin(session)
    receive(leg, 172, at=START)
    assert places.save(leg)
    talk(leg, 1)
    assert [places.save(leg), places.save(leg)] == [False, True], "a stream"
    leg.count_drop(Drop.SOURCE_MISMATCH)
    assert [places.save(leg), places.save(leg)] == [False, True]
    leg.note_unreachable(now=START)
    assert [places.save(leg), places.save(leg)] == [False, True]
    session.legs[1].security = MediaSecurity(1, None, None)
    assert [places.save(leg), places.save(leg)] == [False, False]


def test_any_bytes_are_a_memory() -> None:
    for seed in range(50):
        memory = mmap.mmap(-1, PLACES * _PLACE_BYTES)
        memory[:] = random.Random(seed).randbytes(len(memory))
        session = make_proxy().connect()
        places = LegMemory(memory)
        places.begin(session)
        receive(session.legs[0], 172, at=START)
        places.save(session.legs[0])
        places.end(session)
        places.close()
