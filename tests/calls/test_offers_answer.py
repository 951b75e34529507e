"""nh.calls.offer_answer.offers: an offer, its answers, and what is relayed then."""

import pytest

from nh.calls.latching.source import SourcePolicy
from nh.calls.media import Block, Endpoint, Side
from nh.calls.offer_answer.participants import MAX_PARTIES
from nh.calls.settings import RelaySettings
from nh.errors import LimitReached, PortsExhausted, UnknownCall, WrongDialog
from tests.calls.fakes import CALL, RELAY
from tests.calls.ng_proxy import (
    A_AUDIO,
    A_VIDEO,
    B_AUDIO,
    B_VIDEO,
    C_AUDIO,
    A,
    B,
    C,
    D,
    NgProxy,
    make_ng_proxy,
)


def test_an_offer_opens_ports_and_relays_nothing_yet(ng: NgProxy) -> None:
    (port,) = ng.offer(A_AUDIO)
    assert port is not None
    assert ng.plane.ports == {port, port + 1}
    assert ng.plane.running == []


def test_with_the_answer_media_are_relayed_both_ways(ng: NgProxy) -> None:
    (for_bob,) = ng.offer(A_AUDIO)
    (for_alice,) = ng.answer(B_AUDIO)
    (session,) = ng.plane.running
    rtp, rtcp = session.pairs
    assert (rtp.from_.announced, rtp.from_.socket.local.port) == (Endpoint("198.51.100.1", 4000), for_alice)
    assert (rtp.to.announced, rtp.to.socket.local.port) == (Endpoint("203.0.113.9", 6000), for_bob)
    assert rtcp.from_.announced == Endpoint("198.51.100.1", 4001)
    assert ng.talking == {frozenset((A, B))}


def test_a_retransmitted_offer_gets_the_same_ports(ng: NgProxy) -> None:
    assert ng.offer(A_AUDIO, A_VIDEO) == ng.offer(A_AUDIO, A_VIDEO)
    assert len(ng.plane.open) == 4


def test_a_retransmitted_answer_gets_the_same_ports_and_no_second_session(ng: NgProxy) -> None:
    ng.offer(A_AUDIO)
    assert ng.answer(B_AUDIO) == ng.answer(B_AUDIO)
    assert len(ng.plane.running) == 1


def test_early_media_are_relayed_and_the_final_answer_changes_nothing(ng: NgProxy) -> None:
    ng.offer(A_AUDIO)
    early = ng.answer(B_AUDIO)
    (session,) = ng.plane.running
    ng.now += 20
    assert ng.answer(B_AUDIO) == early
    assert ng.plane.running == [session]


def test_a_final_answer_may_come_from_elsewhere_than_early_media(ng: NgProxy) -> None:
    ng.offer(A_AUDIO)
    early = ng.answer(B_AUDIO)
    assert ng.answer(C_AUDIO) != early
    (session,) = ng.plane.running
    assert session.pairs[0].to.announced == Endpoint("203.0.113.77", 7000)
    assert len(ng.plane.open) == 4


def test_a_delayed_offer_comes_from_the_callee(ng: NgProxy) -> None:
    # the INVITE had no SDP: Bob's 200 offers, Alice's ACK answers
    ng.offer(B_AUDIO, tag=B, to=A)
    ng.answer(A_AUDIO, tag=A, to=B)
    (session,) = ng.plane.running
    assert (session.group_from.id, session.group_to.id) == (B, A)


def test_each_medium_has_a_session_of_its_own(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, A_VIDEO)
    ng.answer(B_AUDIO, B_VIDEO)
    assert [session.group_from.media for session in ng.plane.running] == [(A_AUDIO,), (A_VIDEO,)]


def test_a_medium_that_the_answer_rejects_is_not_relayed(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, A_VIDEO)
    answered = ng.answer(B_AUDIO, None)
    assert answered[1] is None
    assert [session.group_from.media for session in ng.plane.running] == [(A_AUDIO,)]


def test_a_medium_that_the_offer_rejects_has_no_ports(ng: NgProxy) -> None:
    assert ng.offer(None, A_VIDEO)[0] is None
    ng.answer(None, B_VIDEO)
    assert len(ng.plane.open) == 4


def test_an_answer_with_fewer_media_relays_those(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, A_VIDEO)
    ng.answer(B_AUDIO)
    assert len(ng.plane.running) == 1


def test_a_call_may_have_no_media_at_all(ng: NgProxy) -> None:
    assert ng.offer() == []
    assert ng.answer() == []
    assert ng.tags == {A, B}
    ng.delete(A)
    assert ng.nothing_is_left


def test_new_sockets_send_with_the_code_point_that_was_asked_for(ng: NgProxy) -> None:
    (port,) = ng.offer(A_AUDIO, dscp=46)
    (other,) = ng.answer(B_AUDIO)
    assert port is not None
    assert other is not None
    assert ng.plane.dscp[Endpoint(RELAY, port)] == ng.plane.dscp[Endpoint(RELAY, port + 1)] == 46
    assert ng.plane.dscp[Endpoint(RELAY, other)] is None


# --- forks ------------------------------------------------------------------------------------------


def test_forks_share_the_ports_of_the_offer(ng: NgProxy) -> None:
    ng.offer(A_AUDIO)
    of_bob = ng.answer(B_AUDIO, tag=B)
    of_carol = ng.answer(C_AUDIO, tag=C)
    assert of_bob != of_carol
    to_bob, to_carol = ng.plane.running
    assert to_bob.group_from is to_carol.group_from
    assert len(ng.plane.open) == 6


def test_each_branch_of_an_offer_has_its_ports_and_keeps_its_early_media(ng: NgProxy) -> None:
    first = ng.offer(A_AUDIO, branch=b"1")
    ng.answer(B_AUDIO, tag=B, branch=b"1")
    second = ng.offer(A_AUDIO, branch=b"2")
    assert second != first
    ng.answer(C_AUDIO, tag=C, branch=b"2")
    assert ng.offer(A_AUDIO, branch=b"1") == ng.offer(A_AUDIO, to=B) == first
    assert ng.offer(A_AUDIO, branch=b"2") == ng.offer(A_AUDIO, to=C) == second
    assert ng.talking == {frozenset((A, B)), frozenset((A, C))}


def test_a_fork_may_be_answered_with_other_media_than_another(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, A_VIDEO)
    ng.answer(B_AUDIO, None, tag=B)
    ng.answer(C_AUDIO, C_AUDIO, tag=C)
    assert len(ng.plane.running) == 3


# --- what is refused ----------------------------------------------------------------------------------


def test_an_answer_needs_the_call(ng: NgProxy) -> None:
    with pytest.raises(UnknownCall):
        ng.answer(B_AUDIO)


def test_an_answer_needs_its_offer(ng: NgProxy) -> None:
    ng.offer(A_AUDIO)
    with pytest.raises(UnknownCall, match="tag"):
        ng.answer(B_AUDIO, to=C)
    assert ng.tags == {A}


def test_an_end_cannot_answer_its_own_offer(ng: NgProxy) -> None:
    ng.offer(A_AUDIO)
    with pytest.raises(WrongDialog):
        ng.answer(A_AUDIO, tag=A, to=A)


def test_ends_of_different_dialogs_can_be_joined(ng: NgProxy) -> None:
    ng.offer(A_AUDIO)
    ng.answer(B_AUDIO, tag=B)
    ng.answer(C_AUDIO, tag=C)
    ng.offer(B_AUDIO, tag=B, to=C)
    ng.answer(C_AUDIO, tag=C, to=B)
    pairs = {frozenset((A, B)), frozenset((A, C)), frozenset((B, C))}
    assert ng.talking == pairs
    ng.delete(B, to=A)
    assert ng.talking == pairs - {frozenset((A, B))}
    ng.delete(B)
    ng.delete(C)
    assert ng.nothing_is_left


def test_a_call_beyond_max_calls_is_refused_and_those_that_are_known_go_on() -> None:
    ng = make_ng_proxy(RelaySettings(max_calls=1))
    ng.offer(A_AUDIO)
    with pytest.raises(LimitReached, match="max_calls"):
        ng.offer(A_AUDIO, call_id=b"another")
    ng.answer(B_AUDIO)
    ng.offer(A_AUDIO, to=B)
    ng.delete()
    assert ng.nothing_is_left


def test_a_call_has_only_so_many_ends() -> None:
    ng = make_ng_proxy(ports=(20_000, 20_999))
    ng.offer(A_AUDIO)
    for number in range(MAX_PARTIES - 1):
        ng.answer(B_AUDIO, tag=b"%d" % number)
    ng.answer(C_AUDIO, tag=C)
    ng.offer(A_AUDIO, branch=b"one more")
    assert len(ng.offers.parties) == MAX_PARTIES
    assert len(ng.plane.open) == 2 * MAX_PARTIES
    assert frozenset((A, C)) in ng.talking


def test_a_call_may_hunt_forever(ng: NgProxy) -> None:
    """The branch that has waited longest gives way, so a new branch never finds the call full."""
    ng = make_ng_proxy(ports=(20_000, 22_999))
    ng.offer(A_AUDIO, branch=b"answered")
    ng.answer(B_AUDIO, branch=b"answered")
    for number in range(2 * MAX_PARTIES):
        ng.offer(A_AUDIO, branch=b"%d" % number, expecting=True)
    assert len(ng.offers.parties) == MAX_PARTIES
    assert frozenset((A, B)) in ng.talking
    ng.answer(C_AUDIO, tag=C, branch=b"%d" % number)
    assert frozenset((A, C)) in ng.talking
    ng.delete()
    assert ng.nothing_is_left


@pytest.mark.parametrize(
    "settings", [RelaySettings(max_sockets=3), RelaySettings(max_sockets_in_group=3)], ids=["all", "one SDP"]
)
def test_sockets_are_limited_whatever_media_they_are_for(settings: RelaySettings) -> None:
    ng = make_ng_proxy(settings)
    with pytest.raises(LimitReached, match="max_sockets"):
        ng.offer(A_AUDIO, A_VIDEO)
    assert ng.nothing_is_left
    ng.offer(A_AUDIO)


def test_an_answer_beyond_the_limit_leaves_the_offer_as_it_is() -> None:
    ng = make_ng_proxy(RelaySettings(max_sockets=3))
    (port,) = ng.offer(A_AUDIO)
    with pytest.raises(PortsExhausted, match="max_sockets"):
        ng.answer(B_AUDIO)
    assert port is not None
    assert ng.plane.ports == {port, port + 1}
    assert ng.tags == {A}


def test_an_offer_without_ports_for_all_its_media_gets_none() -> None:
    ng = make_ng_proxy(ports=(20_000, 20_003))
    with pytest.raises(PortsExhausted):
        ng.offer(A_AUDIO, A_VIDEO, A_VIDEO)
    assert ng.nothing_is_left


def test_a_reoffer_without_ports_leaves_what_was_agreed() -> None:
    ng = make_ng_proxy(ports=(20_000, 20_003))
    session = ng.connect()
    with pytest.raises(PortsExhausted):
        ng.offer(A_AUDIO, A_VIDEO, to=B)
    assert ng.plane.running == [session]
    assert len(ng.plane.open) == 4


# --- blocked media ------------------------------------------------------------------------------------


def blocked(ng: NgProxy) -> list[tuple[bool, bool]]:
    """Of each session: whether the media of its FROM end and of its TO end are blocked."""
    return [(session.legs[0].blocked, session.legs[1].blocked) for session in ng.plane.running]


def test_one_end_can_be_blocked_and_unblocked(ng: NgProxy) -> None:
    session = ng.connect()
    ng.block(B)
    assert blocked(ng) == [(False, True)]
    assert ng.plane.renewed == [session]
    ng.block(B, blocked=False)
    assert blocked(ng) == [(False, False)]
    assert ng.plane.renewed == [session] * 2


def test_a_whole_call_can_be_blocked(ng: NgProxy) -> None:
    ng.connect()
    ng.block()
    assert blocked(ng) == [(True, True)]


def test_who_is_blocked_stays_so_in_what_is_agreed_later(ng: NgProxy) -> None:
    ng.offer(A_AUDIO)
    ng.block(A)
    ng.answer(B_AUDIO)
    ng.answer(C_AUDIO, tag=C)
    assert blocked(ng) == [(True, False)] * 2
    ng.offer(C_AUDIO, to=B)
    assert set(blocked(ng)) == {(True, False)}


def test_dtmf_is_blocked_apart_from_the_media(ng: NgProxy) -> None:
    session = ng.connect()
    ng.block(B, Block.DTMF)
    assert [leg.dtmf_blocked for leg in session.legs] == [False, True] * 2
    assert blocked(ng) == [(False, False)]
    ng.block()
    ng.block(blocked=False)
    assert [leg.dtmf_blocked for leg in session.legs] == [False, True] * 2
    ng.block(B, Block.DTMF, blocked=False)
    assert not any(leg.dtmf_blocked for leg in session.legs)
    assert ng.plane.renewed == [session] * 4


def test_only_who_is_in_the_call_can_be_blocked(ng: NgProxy) -> None:
    ng.connect()
    with pytest.raises(UnknownCall):
        ng.block(D)


# --- who may send -------------------------------------------------------------------------------------


def test_each_end_is_learned_as_its_own_sdp_asks_for(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, policy=SourcePolicy.ASYMMETRIC)
    ng.answer(B_AUDIO, policy=SourcePolicy.HANDOVER)
    (session,) = ng.plane.running
    assert [leg.terms.policy for leg in session.legs] == [SourcePolicy.ASYMMETRIC, SourcePolicy.HANDOVER] * 2
    ng.offer(B_AUDIO, tag=B, to=A)
    assert [leg.terms.policy for leg in session.legs] == [SourcePolicy.ASYMMETRIC, SourcePolicy.HEURISTIC] * 2


def test_without_a_wish_sources_are_learned_as_set() -> None:
    ng = make_ng_proxy(RelaySettings(policy=SourcePolicy.FIRST))
    assert {leg.terms.policy for leg in ng.connect().legs} == {SourcePolicy.FIRST}


# --- beside Net::SIP ----------------------------------------------------------------------------------


def test_the_information_on_a_session_has_its_tags_and_no_cseq(ng: NgProxy) -> None:
    ng.connect()
    (info,) = ng.table.close_call(CALL, now=ng.now)
    assert (info.cseq, info.id_from, info.id_to) == (0, A, B)
    assert info.from_ == "198.51.100.1:4000/2"
    assert ng.nothing_is_left


def test_groups_have_the_side_of_their_party_in_any_offer(ng: NgProxy) -> None:
    ng.connect()
    ng.offer(B_AUDIO, C_AUDIO, tag=B, to=A)
    ng.answer(A_AUDIO, A_VIDEO, tag=A, to=B)
    sides = {(group.id, group.side) for _, group in ng.table.get_call(CALL).groups}
    assert sides == {(A, Side.FROM), (B, Side.TO)}
