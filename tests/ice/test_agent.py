"""The lite agent: which checks it answers, how, and what it learns of its peer from them."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.ice.agent import (
    MAX_REFUSALS,
    MAX_SOURCES,
    Check,
    Checked,
    CheckResult,
    IceAgent,
    IceComponent,
    answer_check,
)
from nh.ice.candidates import foundation, priority
from nh.ice.credentials import MAX_CHARACTERS, IceCredentials, new_credentials
from nh.ice.stun import MACS, StunAttribute, StunClass, StunMessage, decode, encode

OURS = IceCredentials("ours", "o" * 22)
HOME, MOBILE = ("192.0.2.7", 4000), ("2001:db8::7", 5000)
TRANSACTION = b"transaction!"
CONTROLLING = (StunAttribute.ICE_CONTROLLING, bytes(8))
NOMINATES = (StunAttribute.USE_CANDIDATE, b"")


def check(
    *extra: tuple[int, bytes],
    username: bytes = b"ours:them",
    key: bytes | None = OURS.key,
    role: tuple[int, bytes] = CONTROLLING,
    mac: int = StunAttribute.MESSAGE_INTEGRITY,
    kind: StunClass = StunClass.REQUEST,
    method: int = 1,
) -> bytes:
    """A check of the peer."""
    attributes = [(StunAttribute.USERNAME, username), (StunAttribute.PRIORITY, bytes(4)), role, *extra]
    return encode(kind, TRANSACTION, attributes, key=key, mac=mac, method=method)


class Peer:
    """An end, and the relay's agent towards it."""

    def __init__(self, remote: str = "them") -> None:
        self.agent = IceAgent((OURS,), remote)
        self.component = IceComponent()

    def sends(self, packet: bytes, source: tuple[str, int] = HOME, *, now: float = 1.0) -> Check:
        """What becomes of a packet."""
        return answer_check(self.agent, self.component, packet, source, now=now)


@pytest.fixture
def peer() -> Peer:
    return Peer()


def code_of(response: bytes) -> int:
    value = decode(response).attributes[StunAttribute.ERROR_CODE]
    return value[2] * 100 + value[3]


def read(response: bytes) -> StunMessage:
    message = decode(response)
    assert message.transaction == TRANSACTION
    return message


# --- checks that pass -----------------------------------------------------------------------------


@pytest.mark.parametrize("mac", list(MACS))
@pytest.mark.parametrize("source", [HOME, MOBILE, ("fe80::1%eth0", 9)])
def test_a_check_is_answered_under_the_same_key(peer: Peer, mac: int, source: tuple[str, int]) -> None:
    decision = peer.sends(check(mac=mac), source)
    assert decision.result is CheckResult.ANSWERED
    response = read(decision.response)
    assert response.kind is StunClass.SUCCESS
    assert response.authenticated_by(OURS.key) == mac
    family = 2 if ":" in source[0] else 1
    assert response.attributes[StunAttribute.XOR_MAPPED_ADDRESS][1] == family
    assert peer.component.checked_at == 1.0


def test_a_check_validates_its_source_and_a_nomination_selects_it(peer: Peer) -> None:
    assert peer.sends(check())[2:] == (True, False)
    assert peer.component.selected is None
    assert peer.sends(check(NOMINATES))[2:] == (False, True)
    assert peer.component.selected == HOME
    assert peer.sends(check(NOMINATES))[2:] == (False, False)


def test_the_latest_nomination_counts(peer: Peer) -> None:
    """A phone that leaves its Wi-Fi nominates the pair of its mobile network."""
    peer.sends(check(NOMINATES), HOME)
    peer.sends(check(), MOBILE)
    assert peer.component.selected == HOME
    assert peer.sends(check(NOMINATES), MOBILE).selected
    assert peer.component.selected == MOBILE
    assert list(peer.component.sources) == [HOME, MOBILE]


def test_a_check_may_come_before_the_answer(peer: Peer) -> None:
    """Then its user fragment is not known yet (RFC 8445 7.3)."""
    early = Peer(remote="")
    assert early.sends(check(username=b"ours:early")).result is CheckResult.ANSWERED
    assert early.component.sources == {HOME: Checked(b"early")}
    unlawful = b"ours:" + b"x" * (MAX_CHARACTERS + 1)
    assert early.sends(check(username=unlawful)).result is CheckResult.WRONG_UFRAG


# --- checks that do not ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "result", "code"),
    [
        (check(username=b"ours:other"), CheckResult.WRONG_UFRAG, 401),
        (check(username=b"theirs:them"), CheckResult.WRONG_UFRAG, 401),
        (check(username=b"ours"), CheckResult.WRONG_UFRAG, 401),
        (check(key=b"guessed"), CheckResult.WRONG_PASSWORD, 401),
        (check(key=None), CheckResult.INCOMPLETE, 400),
        (encode(StunClass.REQUEST, TRANSACTION, [], key=OURS.key), CheckResult.INCOMPLETE, 400),
        (check((0x7ABC, b"x")), CheckResult.UNKNOWN_ATTRIBUTE, 420),
        (check(role=(StunAttribute.ICE_CONTROLLED, bytes(8))), CheckResult.ROLE_CONFLICT, 487),
    ],
)
def test_what_is_wrong_is_said_and_validates_nothing(
    peer: Peer, packet: bytes, result: CheckResult, code: int
) -> None:
    decision = peer.sends(packet)
    assert decision.result is result
    assert code_of(decision.response) == code
    authentic = result in {CheckResult.UNKNOWN_ATTRIBUTE, CheckResult.ROLE_CONFLICT}
    assert (read(decision.response).authenticated_by(OURS.key) is not None) is authentic
    assert peer.component.sources == {}
    assert peer.component.results == {result: 1}


def test_unknown_attributes_are_named(peer: Peer) -> None:
    response = peer.sends(check((0x7ABC, b"x"), (0x0015, b""), (0x9999, b"optional"))).response
    assert read(response).attributes[StunAttribute.UNKNOWN_ATTRIBUTES].hex() == "7abc0015"


@pytest.mark.parametrize(
    "packet",
    [
        check(kind=StunClass.INDICATION),
        check(kind=StunClass.SUCCESS),
        check(kind=StunClass.ERROR),
        check(method=3),
    ],
)
def test_what_asks_for_nothing_gets_no_answer(peer: Peer, packet: bytes) -> None:
    """Two lite agents that answered each other's responses would never end."""
    assert peer.sends(packet) == Check(CheckResult.IGNORED)


# --- restarts -------------------------------------------------------------------------------------


def test_around_a_restart_old_and_new_credentials_are_good(peer: Peer) -> None:
    new = new_credentials()
    peer.sends(check(NOMINATES), HOME)
    peer.agent = IceAgent((new, OURS), "again", "them")
    assert peer.sends(check()).result is CheckResult.ANSWERED
    renewed = check(NOMINATES, username=f"{new.ufrag}:again".encode(), key=new.key)
    assert peer.component.selected == HOME
    decision = peer.sends(renewed, MOBILE)
    assert decision.selected
    assert read(decision.response).authenticated_by(new.key)
    assert peer.sends(check(username=b"ours:other")).result is CheckResult.WRONG_UFRAG


# --- floods ---------------------------------------------------------------------------------------


def test_sources_are_bounded_and_the_selected_one_stays(peer: Peer) -> None:
    peer.sends(check(NOMINATES), HOME)
    for port in range(1, 500):
        peer.sends(check(), ("192.0.2.9", port))
    assert len(peer.component.sources) == MAX_SOURCES
    assert HOME in peer.component.sources
    assert ("192.0.2.9", 499) in peer.component.sources


def test_strangers_get_few_error_responses(peer: Peer) -> None:
    sent = [peer.sends(check(key=b"guessed"), now=1.0).response for _ in range(500)]
    assert sum(map(bool, sent)) == MAX_REFUSALS
    assert peer.component.results[CheckResult.WRONG_PASSWORD] == 500
    assert peer.sends(check(), now=1.0).response
    assert peer.sends(check(key=b"guessed"), now=2.0).response


attributes = st.lists(
    st.tuples(st.integers(0, 0xFFFF).filter(lambda k: k not in {8, 0x1C, 0x8028}), st.binary(max_size=12))
)


@given(
    extra=attributes,
    key=st.sampled_from([OURS.key, b"guessed", None]),
    username=st.sampled_from([None, b"ours:them", b"x"]),
)
def test_no_response_is_longer_than_three_times_its_request(
    extra: Sequence[tuple[int, bytes]], key: bytes | None, username: bytes | None
) -> None:
    named = [] if username is None else [(int(StunAttribute.USERNAME), username)]
    request = encode(StunClass.REQUEST, TRANSACTION, [*named, *extra], key=key)
    assert len(Peer().sends(request, MOBILE).response) <= 3 * len(request)


@given(packet=st.binary(max_size=100))
def test_noise_is_counted_and_gets_no_answer(packet: bytes) -> None:
    assert Peer().sends(packet) == Check(CheckResult.NOT_STUN)


# --- credentials and candidates -------------------------------------------------------------------


def test_credentials_differ_and_tell_nothing_of_the_password() -> None:
    one, other = new_credentials(), new_credentials()
    assert one.ufrag != other.ufrag and one.password != other.password
    assert one.password not in repr(one)
    assert one == IceCredentials(one.ufrag, one.password) != other


@pytest.mark.parametrize(("ufrag", "password"), [("abc", "x" * 22), ("abcd", "x" * 21), ("a b c", "x" * 22)])
def test_credentials_of_a_wrong_form_are_none(ufrag: str, password: str) -> None:
    with pytest.raises(ValueError, match="no credentials"):
        IceCredentials(ufrag, password)


def test_priorities_are_those_of_host_candidates() -> None:
    assert priority(1) == 2130706431
    assert priority(2) == 2130706430
    assert priority(1, 65534) < priority(2)
    assert foundation("192.0.2.1") == foundation("192.0.2.1") != foundation("2001:db8::1")
