"""Legs of ends that have ICE with the relay: checks say whose packets are admitted, and where media go."""

import msgspec
import pytest

from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.offer_answer.offered import RelayOffer
from nh.calls.snapshots.codec import decode_snapshot
from nh.ice.agent import CheckResult, IceAgent
from nh.ice.credentials import IceCredentials
from nh.ice.stun import StunAttribute, StunClass, encode
from tests.calls.fakes import CALL, RELAY
from tests.calls.legs import ANNOUNCED, PACKET, make_leg
from tests.calls.ng_proxy import A_AUDIO, B_AUDIO, NgProxy, make_ng_proxy
from tests.calls.snapshots import written
from tests.calls.test_snapshot import ng_moved

OURS = IceCredentials("ours", "o" * 22)
OTHER, FOREIGN = "192.0.2.2", "192.0.2.3"
HOME, MOBILE, MALLORY = (Endpoint(f"203.0.113.{host}", 4000) for host in (1, 2, 3))


def check(username: bytes = b"ours:them", *, nominates: bool = False) -> bytes:
    attributes = [(int(StunAttribute.USERNAME), username), (int(StunAttribute.PRIORITY), bytes(4))]
    if nominates:
        attributes.append((int(StunAttribute.USE_CANDIDATE), b""))
    return encode(StunClass.REQUEST, b"transaction!", attributes, key=OURS.key)


def checks(leg: Leg, source: Endpoint, *, nominates: bool = False, username: bytes = b"ours:them") -> None:
    """A check of the end, which passes."""
    assert leg.ice is not None
    result = leg.ice.receive(check(username, nominates=nominates), source, now=0.0)
    assert result is CheckResult.ANSWERED
    [(_, destination)] = leg.ice.take_output()
    assert destination == source
    leg.follow_ice()


@pytest.fixture
def leg() -> Leg:
    leg = make_leg()
    leg.use_ice(IceAgent((OURS,), "them"))
    return leg


def admits(leg: Leg, source: Endpoint) -> bool:
    return leg.admit(source, PACKET, now=1.0)


def test_nothing_is_admitted_or_sent_before_a_check(leg: Leg) -> None:
    """Not even from or to where the SDP says that the end is: it is one candidate of many."""
    assert not admits(leg, ANNOUNCED)
    assert leg.destination is None


def test_media_come_from_and_go_to_where_a_check_came_from(leg: Leg) -> None:
    checks(leg, HOME)
    assert admits(leg, HOME) and not admits(leg, MALLORY)
    assert leg.destination == HOME
    assert not leg.latched


def test_the_nomination_decides_where_media_go(leg: Leg) -> None:
    checks(leg, HOME, nominates=True)
    checks(leg, MOBILE)
    assert leg.destination == HOME and leg.latched
    assert admits(leg, MOBILE), "it has passed a check, too"
    checks(leg, MOBILE, nominates=True)
    assert leg.destination == MOBILE
    assert admits(leg, HOME)


def test_signalling_and_time_move_nothing(leg: Leg) -> None:
    checks(leg, HOME)
    leg.renew(announced=MALLORY, terms=leg.terms, signalled_from="203.0.113.3", window_ends=9.0)
    assert not leg.close_window(now=1e9)
    assert not leg.release(HOME)
    assert leg.destination == HOME
    assert not admits(leg, MALLORY)


def test_a_held_end_is_sent_nothing(leg: Leg) -> None:
    checks(leg, HOME)
    leg.terms = msgspec.structs.replace(leg.terms, receives=False)
    assert leg.destination is None


def test_a_lite_end_is_where_its_sdp_says() -> None:
    """It sends no checks."""
    leg = make_leg()
    leg.use_ice(IceAgent((OURS,), "them", remote_lite=True))
    assert admits(leg, ANNOUNCED)
    assert leg.destination == ANNOUNCED


def test_an_end_that_leaves_ice_is_learned_again(leg: Leg) -> None:
    checks(leg, HOME, nominates=True)
    leg.use_ice(None)
    assert admits(leg, HOME)
    assert not leg.use_ice(None)


# --- calls ----------------------------------------------------------------------------------------


def early_call() -> NgProxy:
    """The callee is offered credentials, and has not answered."""
    ng = make_ng_proxy()
    ng.connect()
    party, _ = ng.offers.parties
    party.relay_offer = RelayOffer(ice=(OURS,))
    for group in ng.offers.groups:
        group.ice = IceAgent((OURS,), "")
    for session in ng.plane.running:
        session.secure()
    return ng


def test_of_several_answerers_each_keeps_its_own_sources() -> None:
    ng = early_call()
    leg = ng.plane.running[0].legs[1]
    checks(leg, HOME, username=b"ours:bob", nominates=True)
    checks(leg, MOBILE, username=b"ours:carol")
    leg.use_ice(IceAgent((OURS,), "bob"))
    assert admits(leg, HOME) and not admits(leg, MOBILE)
    assert leg.destination == HOME
    leg.use_ice(IceAgent((OURS,), "carol"))
    assert leg.destination is None


def test_a_successor_knows_credentials_and_sources() -> None:
    ng = early_call()
    for leg in ng.plane.running[0].legs[:2]:
        checks(leg, HOME)
        checks(leg, MOBILE, nominates=True)
    after = ng_moved(ng)
    assert after.offers.parties[0].relay_offer.ice == (OURS,)
    for leg in after.plane.running[0].legs[:2]:
        assert leg.destination == MOBILE and leg.latched
        assert admits(leg, HOME) and not admits(leg, MALLORY)
        checks(leg, HOME)
        assert leg.ice is not None
        assert leg.ice.component.results == {CheckResult.ANSWERED: 3}
    assert after.plane.running[0].legs[2].destination is None, "RTCP is checked by itself"


def test_a_successor_knows_the_candidates_and_the_nominated_pair() -> None:
    ng = make_ng_proxy()
    ng.offer(A_AUDIO, further=(OTHER, FOREIGN))
    ng.answer(B_AUDIO)
    for group in ng.offers.groups:
        group.ice = IceAgent((OURS,), "them")
    (session,) = ng.plane.running
    session.secure()
    leg = session.legs[1]
    assert [each.local.address for each in leg.sockets] == [RELAY, OTHER, FOREIGN]
    local = leg.sockets[1].local
    for nominates in (True, False):
        assert leg.ice is not None
        leg.ice.receive(check(nominates=nominates), HOME, local=(local.address, local.port), now=0.0)
        leg.ice.take_output()
        local = leg.sockets[2].local
    leg.follow_ice()
    after = ng_moved(ng, foreign={FOREIGN})
    leg = after.plane.running[0].legs[1]
    assert [each.local.address for each in leg.sockets] == [RELAY, OTHER], "one is not of that host"
    assert leg.socket is leg.sockets[1]
    assert leg.destination == HOME
    assert after.table.resources.sockets == len(after.plane.open) == 6
    after.delete()
    after.now += 60
    after.expire()
    assert not after.plane.open


def test_a_snapshot_shows_no_password() -> None:
    ng = early_call()
    data = written(ng.table, CALL, now=ng.now)
    assert OURS.password.encode() in data
    assert OURS.password not in repr(decode_snapshot(data))
