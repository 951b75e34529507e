"""nh.calls.session: two groups joined, component by component."""

import pytest

from nh.calls.latching.source import SourcePolicy
from nh.calls.media import Endpoint, Media, Side
from nh.calls.settings import RelaySettings
from nh.errors import SocketCountMismatch
from tests.calls.fakes import (
    ALICE,
    ALICE_AUDIO,
    ALICE_VIDEO,
    BOB,
    BOB_AUDIO,
    BOB_VIDEO,
    CALL,
    HELD_AUDIO,
    START,
    FakeFlow,
    Proxy,
    make_proxy,
    receive,
)
from tests.calls.legs import PACKET, speaks

RULES = RelaySettings()


def test_what_one_end_sends_arrives_at_the_ports_that_were_announced_to_it(proxy: Proxy) -> None:
    (for_bob,) = proxy.offer(ALICE_AUDIO)
    (for_alice,) = proxy.answer(BOB_AUDIO)
    proxy.activate()
    rtp, rtcp = proxy.plane.running[0].pairs
    assert (rtp.from_.socket.local.port, rtp.to.socket.local.port) == (for_alice.port, for_bob.port)
    assert (rtcp.from_.socket.local.port, rtcp.to.socket.local.port) == (for_alice.port + 1, for_bob.port + 1)


def test_each_leg_knows_what_its_end_announced(proxy: Proxy) -> None:
    session = proxy.connect(offered=(ALICE_AUDIO, ALICE_VIDEO), answered=(BOB_AUDIO, BOB_VIDEO))
    assert [(p.medium, p.component, p.from_.announced, p.to.announced) for p in session.pairs] == [
        (0, 0, Endpoint("198.51.100.1", 4000), Endpoint("203.0.113.9", 6000)),
        (0, 1, Endpoint("198.51.100.1", 4001), Endpoint("203.0.113.9", 6001)),
        (1, 0, Endpoint("198.51.100.1", 4002), Endpoint("203.0.113.9", 6002)),
        (1, 1, Endpoint("198.51.100.1", 4003), Endpoint("203.0.113.9", 6003)),
    ]


def test_the_legs_of_a_pair_are_each_others_opposite(proxy: Proxy) -> None:
    for pair in proxy.connect().pairs:
        assert pair.from_.other is pair.to
        assert pair.to.other is pair.from_


def test_every_component_latches_by_itself(proxy: Proxy) -> None:
    rtp, rtcp = proxy.connect().pairs
    rtp.from_.admit(Endpoint("198.51.100.1", 4000), PACKET, now=proxy.now)
    assert rtp.from_.latched
    assert not rtcp.from_.latched
    assert not rtp.to.latched


def test_the_latch_window_begins_with_the_activation() -> None:
    proxy = make_proxy(RelaySettings(latch_window_s=2))
    proxy.offer(ALICE_AUDIO)
    proxy.answer(BOB_AUDIO)
    proxy.now += 100
    proxy.activate()
    assert {leg.window_ends for leg in proxy.plane.running[0].legs} == {START + 102}


def test_the_legs_of_an_end_share_the_number_of_their_window_when_it_signals_again(proxy: Proxy) -> None:
    """Else a number of 32 bytes for each leg."""
    session = proxy.connect()
    session.renew(Side.TO, policy=session.legs[1].terms.policy, latch_window_s=2.5, now=START + 0.25)
    of_rtp, of_rtcp = session.legs[Side.TO :: 2][:2]
    assert of_rtp.window_ends == START + 2.75
    assert of_rtp.window_ends is of_rtcp.window_ends


def test_calls_that_are_alike_share_the_terms_of_their_legs() -> None:
    """Else 48 bytes for each leg."""
    calls = [make_proxy().connect(), make_proxy().connect()]
    for session in calls:
        session.renew(Side.TO, policy=SourcePolicy.STRICT, latch_window_s=2.5, now=START)
    one, other = ([leg.terms for leg in session.legs] for session in calls)
    assert [each.policy for each in one] == [RULES.policy, SourcePolicy.STRICT] * 2
    assert all(own is theirs for own, theirs in zip(one, other, strict=True))


def test_groups_with_different_numbers_of_sockets_cannot_be_joined(proxy: Proxy) -> None:
    proxy.offer(ALICE_AUDIO, ALICE_VIDEO)
    proxy.answer(BOB_AUDIO)
    with pytest.raises(SocketCountMismatch, match=r"4 sockets.*2"):
        proxy.activate()
    assert not proxy.plane.running
    assert proxy.table.resources.sessions == 0


def test_after_a_mismatch_the_unused_sockets_still_expire(proxy: Proxy) -> None:
    proxy.offer(ALICE_AUDIO, ALICE_VIDEO)
    proxy.answer(BOB_AUDIO)
    with pytest.raises(SocketCountMismatch):
        proxy.activate()
    assert proxy.expire(after_s=181).unused_groups == 2
    assert proxy.nothing_is_left


def test_the_same_number_of_sockets_in_other_media_can_be_joined(proxy: Proxy) -> None:
    single = Media("203.0.113.9", 6000, 1, "udptl", "image")
    session = proxy.connect(
        offered=(ALICE_AUDIO,), answered=(single, Media("203.0.113.9", 6002, 1, "udptl", "image"))
    )
    assert [pair.to.announced for pair in session.pairs] == [
        Endpoint("203.0.113.9", 6000),
        Endpoint("203.0.113.9", 6002),
    ]


# --- hold -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "answered", "on_hold"),
    [
        ((ALICE_AUDIO,), (BOB_AUDIO,), False),
        ((HELD_AUDIO,), (BOB_AUDIO,), True),
        ((ALICE_AUDIO,), (HELD_AUDIO,), True),
        ((HELD_AUDIO,), (HELD_AUDIO,), True),
        ((ALICE_AUDIO, HELD_AUDIO), (BOB_AUDIO, BOB_VIDEO), False),
        ((ALICE_AUDIO, HELD_AUDIO), (HELD_AUDIO, BOB_VIDEO), True),
        ((), (), False),
    ],
    ids=["both", "from", "to", "neither", "one of two media", "crosswise", "no media"],
)
def test_a_session_is_on_hold_where_no_medium_goes_both_ways(
    proxy: Proxy, offered: tuple[Media, ...], answered: tuple[Media, ...], on_hold: bool
) -> None:
    assert proxy.connect(offered=offered, answered=answered).on_hold is on_hold


def test_the_held_end_gets_nothing_and_may_send(proxy: Proxy) -> None:
    rtp, _ = proxy.connect(offered=(HELD_AUDIO,)).pairs
    assert rtp.from_.destination is None
    assert speaks(rtp.from_, Endpoint("198.51.100.1", 4000), now=proxy.now)
    assert rtp.from_.destination is None
    assert rtp.to.destination == Endpoint("203.0.113.9", 6000)


# --- activity ---------------------------------------------------------------------------------------


def test_a_session_is_active_while_either_end_sends(proxy: Proxy) -> None:
    session = proxy.connect()
    assert session.last_active == START
    receive(session.pairs[0].from_, 172, at=START + 5)
    assert session.note(now=START + 5)
    receive(session.pairs[1].to, 80, 80, at=START + 9)
    assert session.note(now=START + 9)
    assert session.last_active == START + 9
    assert not session.note(now=START + 12)
    assert session.last_active == START + 9


def test_what_the_kernel_forwards_counts_from_when_it_came(proxy: Proxy) -> None:
    session = proxy.connect()
    flow = FakeFlow(session.legs[0])
    flow.forward(172, 172, at=START + 5)
    assert session.note(now=START + 9)
    assert (session.last_active, session.legs[0].last_seen) == (START + 5, START + 5)
    assert (session.legs[0].packets, session.legs[0].bytes) == (2, 344)
    assert not session.note(now=START + 10)


def test_a_flow_that_ends_leaves_the_time_of_its_packets(proxy: Proxy) -> None:
    session = proxy.connect()
    flow = FakeFlow(session.legs[0])
    flow.forward(172, at=START + 5)
    flow.end()
    assert session.note(now=START + 9)
    assert session.last_active == START + 5


def test_packets_that_come_to_the_socket_in_spite_of_a_flow_count_from_when_they_came(proxy: Proxy) -> None:
    session = proxy.connect()
    flow = FakeFlow(session.legs[0])
    flow.forward(172, at=START + 5)
    receive(session.legs[0], 172, at=START + 8)
    assert session.note(now=START + 9)
    assert session.last_active == START + 8
    assert session.legs[0].packets == 2


def test_it_expires_after_a_silence_and_on_hold_after_a_longer_one(proxy: Proxy) -> None:
    assert proxy.connect().expires_at(RULES) == START + 30
    assert proxy.connect(cseq=2, offered=(HELD_AUDIO,)).expires_at(RULES) == START + 3600


# --- session information ----------------------------------------------------------------------------


def test_session_information_is_that_of_net_sip() -> None:
    proxy = make_proxy(wall_offset_s=1_700_000_000)
    proxy.offer(ALICE_AUDIO, ALICE_VIDEO, cseq=7)
    proxy.answer(BOB_AUDIO, BOB_VIDEO, cseq=7)
    proxy.activate(cseq=7, param={"uri_from": "sip:alice@example.org", "tenant": "blue"})
    rtp, rtcp, video, _ = proxy.plane.running[0].pairs
    receive(rtp.from_, 172, 172, at=START)
    receive(rtcp.from_, 80, at=START)
    receive(video.to, 1000, at=START)
    (info,) = proxy.cancel(7)
    assert info.call_id == CALL
    assert info.cseq == 7
    assert (info.id_from, info.id_to) == (ALICE, BOB)
    assert info.from_ == "198.51.100.1:4000/2,198.51.100.1:4002/2"
    assert info.to == "203.0.113.9:6000/2,203.0.113.9:6002/2"
    assert (info.bytes_from, info.bytes_to) == (424, 1000)
    assert info.created == START + 1_700_000_000
    assert info.sessionid == 1
    assert info.param == {"uri_from": "sip:alice@example.org", "tenant": "blue"}


def test_sessions_are_numbered(proxy: Proxy) -> None:
    assert [proxy.connect(cseq=cseq).id for cseq in (1, 2, 3)] == [1, 2, 3]


def test_inactive_media_are_reported_as_announced(proxy: Proxy) -> None:
    proxy.connect(offered=(HELD_AUDIO,))
    (info,) = proxy.bye()
    assert info.from_ == "0.0.0.0:4000/2"
