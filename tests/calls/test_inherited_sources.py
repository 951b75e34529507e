"""Sessions that replace others: what their legs know of the ends from before, in Net::SIP's model and ng's.

A re-INVITE of Net::SIP's has a cseq, and so ports and legs, of its own; so has an offer of ng's that brings
other ports. An end that says the same again keeps its source, and nothing is opened for others.
"""

import msgspec
import pytest

from nh.calls.latching.claims import Carried
from nh.calls.latching.source import SourcePolicy
from nh.calls.leg import Leg
from nh.calls.media import Endpoint, Media
from nh.calls.session import Session
from nh.calls.settings import RelaySettings
from tests.calls.fakes import ALICE, ALICE_AUDIO, BOB, BOB_AUDIO, HELD_AUDIO, Proxy, make_proxy
from tests.calls.legs import hear, speaks
from tests.calls.ng_proxy import A_AUDIO, B_AUDIO, A, B, NgProxy
from tests.calls.rtp import SSRC, empty_report, voice
from tests.calls.snapshots import move_calls

PRIVATE = msgspec.structs.replace(ALICE_AUDIO, address="192.168.1.10")
NAT = Endpoint("203.0.113.50", 12_345)
NAT_2 = Endpoint("203.0.113.50", 23_456)
STRANGER = Endpoint("192.0.2.66", 4000)
ELSEWHERE = Endpoint("192.0.2.67", 5555)


def talk(proxy: Proxy, *, offered: Media = PRIVATE) -> Session:
    """A call in which Alice has been found behind her NAT, RTP and RTCP; Bob has not sent yet."""
    session = proxy.connect(offered=(offered,))
    rtp, rtcp = session.legs[0], session.legs[2]
    for number in range(10):
        assert hear(rtp, NAT, voice(number), now=proxy.now)
        proxy.now += 0.02
    assert hear(rtcp, Endpoint(NAT.address, 12_346), empty_report(), now=proxy.now)
    proxy.now += 3
    for leg in session.legs:
        leg.close_window(now=proxy.now)
    return session


def of_alice(session: Session) -> Leg:
    """The RTP leg for what Alice sends."""
    return session.legs[0] if session.group_from.id == ALICE else session.legs[1]


def shuts_out(leg: Leg, *, now: float, for_s: float = 0.0) -> bool:
    """Whether a stranger's stream changes nothing."""
    before = leg.source
    return not speaks(leg, STRANGER, now=now, for_s=for_s) and leg.source == before


@pytest.mark.parametrize("sender", [ALICE, BOB], ids=["by the caller", "by the callee"])
def test_a_re_invite_that_changes_nothing_opens_nothing(sender: bytes) -> None:
    proxy = make_proxy()
    talk(proxy)
    if sender == ALICE:
        session = proxy.connect(cseq=2, offered=(PRIVATE,))
    else:
        session = proxy.connect(caller=BOB, callee=ALICE, offered=(BOB_AUDIO,), answered=(PRIVATE,))
    leg = of_alice(session)
    assert (leg.destination, leg.latched) == (NAT, True), "she gets media before her next packet"
    assert shuts_out(leg, now=proxy.now + 5, for_s=5), "however long she is silent"
    assert hear(leg, NAT, voice(9), now=proxy.now + 6)
    rtcp = session.legs[2 if sender == ALICE else 3]
    assert rtcp.destination == Endpoint(NAT.address, 12_346)
    assert rtcp.latched


def test_what_is_not_settled_goes_on_as_it_was() -> None:
    proxy = make_proxy()
    session = proxy.connect(offered=(PRIVATE,))
    hear(of_alice(session), ELSEWHERE, voice(1, 7), now=proxy.now)
    proxy.now += 1
    leg = of_alice(proxy.connect(cseq=2, offered=(PRIVATE,)))
    assert (leg.source, leg.latched, leg.window_ends) == (ELSEWHERE, False, proxy.now + 2)
    speaks(leg, NAT, now=proxy.now)
    assert speaks(leg, NAT, now=proxy.now + 0.4), "a scan that was first gives way to a phone"


def test_an_end_that_has_not_sent_yet_is_learned_with_a_new_window() -> None:
    proxy = make_proxy()
    talk(proxy)
    bob = proxy.connect(cseq=2, offered=(PRIVATE,)).legs[1]
    assert (bob.source, bob.rank, bob.latched) == (None, None, False)
    assert bob.window_ends == proxy.now + 3


def test_an_end_that_moves_is_learned_anew_and_the_other_is_not() -> None:
    proxy = make_proxy()
    session = talk(proxy)
    hear(session.legs[1], Endpoint("203.0.113.9", 6000), voice(1, 7), now=proxy.now)
    moved = msgspec.structs.replace(BOB_AUDIO, address="203.0.113.10")
    session = proxy.connect(cseq=2, offered=(PRIVATE,), answered=(moved,))
    assert session.legs[1].destination == Endpoint("203.0.113.10", 6000)
    assert not session.legs[1].latched
    assert (session.legs[0].source, session.legs[0].latched) == (NAT, True)


def test_an_end_that_announces_another_port_is_expected_behind_its_nat() -> None:
    proxy = make_proxy()
    talk(proxy)
    leg = of_alice(proxy.connect(cseq=2, offered=(msgspec.structs.replace(PRIVATE, port=5000),)))
    assert leg.destination == Endpoint("192.168.1.10", 5000)
    assert shuts_out(leg, now=proxy.now + 1, for_s=1)
    assert speaks(leg, NAT_2, now=proxy.now + 1)
    assert leg.source == NAT_2


@pytest.mark.parametrize("policy", [SourcePolicy.HEURISTIC, SourcePolicy.LEARNED, SourcePolicy.FIRST])
def test_the_nat_may_give_the_end_another_port_for_the_new_port(policy: SourcePolicy) -> None:
    for ssrc, number in ((SSRC, 40), (7, 1)):
        proxy = make_proxy(RelaySettings(policy=policy))
        talk(proxy)
        leg = of_alice(proxy.connect(cseq=2, offered=(PRIVATE,)))
        hear(leg, NAT_2, voice(number, ssrc), now=proxy.now)
        assert hear(leg, NAT_2, voice(number + 1, ssrc), now=proxy.now + 0.02), "her stream, or a new one"
        assert (leg.source, leg.latched) == (NAT_2, True)
        assert shuts_out(leg, now=proxy.now + 1)
        assert not speaks(leg, NAT, now=proxy.now + 1), "one rebinding, not a free-for-all"


def test_her_stream_may_go_on_from_another_network() -> None:
    proxy = make_proxy()
    talk(proxy)
    leg = of_alice(proxy.connect(cseq=2, offered=(PRIVATE,)))
    assert hear(leg, ELSEWHERE, voice(40), now=proxy.now)
    assert leg.source == ELSEWHERE


def test_her_stream_is_known_after_two_re_invites_without_a_packet() -> None:
    proxy = make_proxy()
    talk(proxy)
    proxy.connect(cseq=2, offered=(PRIVATE,))
    leg = of_alice(proxy.connect(cseq=3, offered=(PRIVATE,)))
    assert leg.destination == NAT
    assert hear(leg, ELSEWHERE, voice(40), now=proxy.now)


def test_an_end_that_was_on_hold_is_where_it_was() -> None:
    proxy = make_proxy()
    talk(proxy)
    held = of_alice(proxy.connect(cseq=2, offered=(HELD_AUDIO,)))
    assert held.destination is None
    assert shuts_out(held, now=proxy.now + 4, for_s=4)
    resumed = of_alice(proxy.connect(cseq=3, offered=(PRIVATE,)))
    assert (resumed.destination, resumed.latched) == (NAT, True)
    assert shuts_out(resumed, now=proxy.now + 5, for_s=4)


def test_media_are_matched_one_by_one() -> None:
    proxy = make_proxy()
    video = Media("192.168.1.10", 4002, 2, "RTP/AVP", "video")
    session = proxy.connect(offered=(PRIVATE, video), answered=(BOB_AUDIO, BOB_AUDIO))
    for leg, source in zip((session.legs[0], session.legs[4]), (NAT, NAT_2), strict=True):
        hear(leg, source, voice(1, source.port), now=proxy.now)
    session = proxy.connect(cseq=2, offered=(PRIVATE, video), answered=(BOB_AUDIO, BOB_AUDIO))
    assert [session.legs[index].source for index in (0, 4)] == [NAT, NAT_2]
    assert proxy.connect(cseq=3, offered=(PRIVATE,)).legs[0].source == NAT


def test_what_was_inherited_survives_the_shard() -> None:
    proxy = make_proxy()
    talk(proxy)
    proxy.connect(cseq=2, offered=(msgspec.structs.replace(PRIVATE, address="192.168.1.10"),))
    after = make_proxy()
    move_calls(proxy.table, after.table, now=proxy.now)
    leg = of_alice(after.plane.running[-1])
    assert (leg.destination, leg.latched, leg.unheard()) == (NAT, True, True)
    assert hear(leg, ELSEWHERE, voice(40), now=proxy.now)


def test_where_an_end_was_met_survives_the_shard() -> None:
    proxy = make_proxy()
    talk(proxy)
    proxy.connect(cseq=2, offered=(msgspec.structs.replace(PRIVATE, port=5000),))
    after = make_proxy()
    move_calls(proxy.table, after.table, now=proxy.now)
    assert of_alice(after.plane.running[-1]).known_at == NAT.address


def test_an_offer_of_ng_that_brings_other_ports_keeps_the_sources_of_the_ends(ng: NgProxy) -> None:
    private = msgspec.structs.replace(A_AUDIO, address="192.168.1.10")
    ng.offer(private)
    ng.answer(B_AUDIO)
    (session,) = ng.plane.running
    leg = session.legs[0]
    for number in range(10):
        hear(leg, NAT, voice(number), now=ng.now)
    ng.now += 3
    leg.close_window(now=ng.now)
    moved = msgspec.structs.replace(B_AUDIO, port=6500)
    ng.offer(private, to=B)
    ng.answer(moved)
    new = ng.plane.running[-1]
    assert new is not session
    assert (new.legs[0].destination, new.legs[0].latched) == (NAT, True)
    assert shuts_out(new.legs[0], now=ng.now + 5, for_s=5)
    ng.offer(msgspec.structs.replace(moved, port=6600), tag=B, to=A)
    assert ng.plane.running[-1].legs[0].destination == NAT, "an offer that is not answered yet, too"


def test_a_fax_comes_from_where_the_speech_did() -> None:
    proxy = make_proxy()
    talk(proxy)
    fax = msgspec.structs.replace(PRIVATE, range=1, proto="udptl", kind="image")
    leg = of_alice(proxy.connect(cseq=2, offered=(fax,), answered=(Media("203.0.113.9", 6000, 1, "udptl"),)))
    assert (leg.destination, leg.latched, leg.terms.carried) == (NAT, True, Carried.UDPTL)
