"""DTLS with one end: what it agrees on, and what others cannot do to it."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nh.dtls import attempts
from nh.dtls.association import BUSY_S, CLIENT_BYTES, Association, OutgoingDatagram
from nh.dtls.attempts import ALONE_S, AMPLIFICATION, MAX_HANDSHAKES, Budget
from nh.dtls.fingerprints import read_fingerprints
from nh.dtls.problem import Problem
from nh.dtls.profiles import PROFILES
from tests.dtls.ends import CLIENT, SERVER, Pair, fingerprints_of, identity
from tests.profiles import examples
from tools.harness.waiting import TIMEOUT_S
from tools.rtpload.openssl_end import OpensslEnd

ALERT = bytes.fromhex("15fefd0000000000000001000202") + b"\x28"
"""Fatal: handshake_failure, not encrypted."""

validated = pytest.mark.parametrize("validated", [True, False], ids=["ice", "cookie"])


def against(end: OpensslEnd, *, fingerprint: str = "", active: bool | None = None) -> Association:
    """The relay's association with an end."""
    (expected,) = read_fingerprints([(fingerprint or end.fingerprint).encode()])
    return Association(
        identity("relay"), [expected], active=not end.client if active is None else active, budget=Budget()
    )


def shake_hands(relay: Association, end: OpensslEnd, *, validated: bool = True) -> None:
    """Let both go on until neither has anything to say."""
    if relay.timer_at == 0:
        relay.on_timer(now=0.0)
    said = end.begin() if end.client else []
    while True:
        for each in said:
            relay.receive(each, "end", validated=validated, answers=True, now=0.0)
        answers = [output.payload for output in relay.take_output()]
        said = [each for answer in answers for each in end.receive(answer)]
        if not answers and not said:
            return


@validated
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("client", [True, False], ids=["passive", "active"])
def test_both_ends_get_the_same_keys(profile: str, client: bool, validated: bool) -> None:
    end = OpensslEnd(client=client, profiles=[profile])
    relay = against(end)
    shake_hands(relay, end, validated=validated)
    agreed = relay.take_agreed()
    assert agreed is not None
    assert end.done
    assert end.profile == profile
    sends, receives = end.keys
    assert agreed.receive.key + agreed.receive.salt == sends
    assert agreed.send.key + agreed.send.salt == receives
    assert relay.established
    assert not relay.running
    assert relay.take_agreed() is None, "once"


def test_the_profile_that_costs_least_is_taken() -> None:
    end = OpensslEnd(client=True, profiles=list(reversed(PROFILES)))
    shake_hands(against(end), end)
    assert end.profile == "SRTP_AEAD_AES_128_GCM"


def test_a_phone_with_rsa_is_taken() -> None:
    for client in (True, False):
        end = OpensslEnd(client=client, rsa_bits=2048)
        relay = against(end)
        shake_hands(relay, end)
        assert relay.established


def test_an_expired_certificate_passes_if_its_fingerprint_is_that_of_the_sdp() -> None:
    """The clock of the phone may be wrong, and the fingerprint says which certificate it is."""
    end = OpensslEnd(client=True, days=-2)
    relay = against(end)
    shake_hands(relay, end)
    assert relay.established


@validated
def test_another_certificate_is_refused(validated: bool) -> None:
    pair = Pair(of_client=fingerprints_of("another"), validated=validated)
    pair.begin()
    pair.exchange()
    assert pair.server.problem is Problem.FINGERPRINT
    assert pair.server.failures == {Problem.FINGERPRINT: 1}
    assert pair.client.problem is Problem.ALERT, "the end learns of it"
    assert not pair.agree()


def test_of_several_fingerprints_one_has_to_match() -> None:
    pair = Pair(of_client=[*fingerprints_of("another"), *fingerprints_of(CLIENT, "sha-512", "sha-384")])
    pair.begin()
    pair.exchange()
    assert pair.agree()


@pytest.mark.parametrize("client", [True, False])
def test_an_end_without_a_common_profile_gets_no_keys(client: bool) -> None:
    end = OpensslEnd(client=client, profiles=[])
    relay = against(end)
    shake_hands(relay, end)
    assert relay.problem is Problem.PROFILE
    assert relay.take_agreed() is None


@pytest.mark.parametrize("order", [list, reversed], ids=["in order", "reversed"])
def test_a_client_hello_in_pieces_is_put_together(order: Callable[[list[bytes]], list[bytes]]) -> None:
    """As Chromium's, which takes two datagrams; the relay answers at most three times its bytes."""
    for validated in (True, False):
        end = OpensslEnd(client=True, long=True)
        relay = against(end)
        pieces = end.begin()
        assert len(pieces) == 2
        for piece in order(pieces):
            relay.receive(piece, "end", validated=validated, answers=True, now=0.0)
        answers = [output.payload for output in relay.take_output()]
        assert answers
        if not validated:
            assert sum(map(len, answers)) <= 3 * sum(map(len, pieces))


@given(data=st.binary(max_size=64), kind=st.integers(20, 63))
def test_garbage_is_ignored(data: bytes, kind: int) -> None:
    pair = Pair()
    pair.begin()
    for garbage in (data, bytes([kind]) + data, bytes([kind, 0xFE, 0xFD]) + data):
        pair.to_server([garbage])
        pair.to_client([garbage])
    pair.exchange()
    assert pair.agree()


@validated
def test_forged_alerts_end_no_handshake(validated: bool) -> None:
    pair = Pair(validated=validated)
    pair.begin()

    def with_alerts(datagrams: list[bytes]) -> list[bytes]:
        return [part for each in datagrams for part in (ALERT, each, ALERT + each)]

    pair.exchange(with_alerts)
    assert pair.agree()


def test_an_alert_is_told_until_the_handshake_succeeds_after_all() -> None:
    pair = Pair()
    pair.begin()
    pair.to_server(pair.from_client())
    pair.to_server([ALERT])
    assert pair.server.problem is Problem.ALERT
    pair.exchange()
    assert pair.agree()
    assert pair.server.problem is None


def test_a_stranger_gets_a_cookie_and_costs_nothing() -> None:
    pair = Pair(validated=False)
    hello = OpensslEnd(client=True).begin()
    for number in range(1000):
        pair.to_server(hello, source=f"stranger {number}")
        (answer,) = pair.from_server()
        assert len(answer) < len(hello[0])
    assert not pair.server.running
    pair.begin()
    pair.exchange()
    assert pair.agree()


def test_a_stranger_with_another_certificate_does_not_disturb_the_end() -> None:
    pair = Pair(validated=False)
    pair.begin()
    hello = pair.from_client()
    pair.to_server(hello)
    stranger = OpensslEnd(client=True, name="stranger")
    said = stranger.begin()
    for _ in range(4):
        pair.to_server(said, source="stranger")
        outputs = pair.server.take_output()
        pair.to_client([each.payload for each in outputs if each.source == CLIENT])
        said = []
        for each in outputs:
            if each.source == "stranger" and each.payload[0] != 21:
                said += stranger.receive(each.payload)
    assert pair.server.problem is Problem.FINGERPRINT
    pair.exchange()
    assert pair.agree()


def test_handshakes_are_limited_for_each_end_and_for_the_process() -> None:
    pair = Pair(validated=False, budget=Budget(most=6))
    strangers = [OpensslEnd(client=True, name="stranger") for _ in range(8)]
    for number, stranger in enumerate(strangers):
        for _ in range(2):  # the second time with the cookie
            pair.to_server(stranger.begin(), source=f"{number}")
            for answer in pair.from_server():
                if answer[0] == 22 and answer[13] == 3:
                    pair.to_server(stranger.receive(answer), source=f"{number}")
            pair.from_server()
    assert pair.budget.running == MAX_HANDSHAKES
    full = Association(identity(SERVER), fingerprints_of(CLIENT), active=False, budget=Budget(most=0))
    full.receive(OpensslEnd(client=True).begin()[0], "end", validated=True, answers=True, now=0.0)
    assert full.problem is Problem.BUSY
    assert full.take_output() == []
    pair.server.close()
    assert pair.budget.running == 0


def test_strangers_leave_half_of_the_handshakes_to_ends_that_have_shown_where_they_are() -> None:
    """A ClientHello in pieces has no room for a cookie, so its sender may be forged."""
    budget = Budget(most=8)
    piece = OpensslEnd(client=True, long=True).begin()[0]
    flooded = [
        Association(identity(SERVER), fingerprints_of(CLIENT), active=False, budget=budget) for _ in range(4)
    ]
    for number in range(40):
        flooded[number % 4].receive(piece, f"stranger {number}", validated=False, answers=False, now=0.0)
    assert budget.running == 4
    assert sum(each.failures[Problem.BUSY] for each in flooded) == 36
    pair = Pair(validated=True, budget=budget)
    pair.begin()
    pair.exchange()
    assert pair.agree()


def test_a_client_waits_while_the_process_is_busy() -> None:
    budget = Budget(most=0)
    relay = Association(identity(SERVER), fingerprints_of(CLIENT), active=True, budget=budget)
    relay.on_timer(now=7.0)
    assert relay.problem is Problem.BUSY
    assert relay.timer_at == 7.0 + BUSY_S
    relay.on_timer(now=7.5)
    assert relay.failures == {Problem.BUSY: 1}
    budget.most = 1
    relay.on_timer(now=7.0 + BUSY_S)
    assert relay.take_output()


def test_a_stranger_without_a_cookie_ends_no_handshake_of_one_with_it() -> None:
    end = OpensslEnd(client=True)
    relay = against(end)
    for hello in end.begin():
        relay.receive(hello, "end", validated=False, answers=True, now=0.0)
    for answer in relay.take_output():
        for hello in end.receive(answer.payload):
            relay.receive(hello, "end", validated=False, answers=True, now=0.0)
    piece = OpensslEnd(client=True, long=True).begin()[0]
    for number in range(2 * MAX_HANDSHAKES):
        relay.receive(piece, f"stranger {number}", validated=False, answers=False, now=0.0)
    said = [output.payload for output in relay.take_output() if output.source == "end"]
    while said:
        for each in [answer for one in said for answer in end.receive(one)]:
            relay.receive(each, "end", validated=False, answers=True, now=0.0)
        said = [output.payload for output in relay.take_output()]
    assert relay.take_agreed() is not None


def in_two(hello: bytes) -> list[bytes]:
    """A ClientHello in two records (RFC 6347 4.2.3)."""
    handshake, body = hello[13:25], hello[25:]
    pieces = []
    for number, at in enumerate((0, len(body) // 2)):
        piece = body[at:] if at else body[: len(body) // 2]
        fragment = handshake[:6] + at.to_bytes(3) + len(piece).to_bytes(3) + piece
        pieces.append(hello[:10] + bytes([number]) + len(fragment).to_bytes(2) + fragment)
    return pieces


def test_what_comes_with_a_client_hello_in_pieces_does_not_show_where_its_sender_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A forged sender is sent some times its bytes, whatever else comes with them."""
    monkeypatch.setattr(attempts, "AMPLIFICATION", 2)  # less than the first flight
    relay = Association(identity(SERVER), fingerprints_of(CLIENT), active=False, budget=Budget())
    first, second = in_two(OpensslEnd(client=True).begin()[0])
    forged = bytes.fromhex("14fefd0000000000000005000101")
    sent = [first, forged, second]
    for each in sent:
        relay.receive(each, "victim", validated=False, answers=False, now=0.0)
    answered = [output.payload for output in relay.take_output()]
    assert sum(map(len, answered)) <= 2 * sum(map(len, sent))


def test_a_handshake_that_does_not_go_on_is_given_up() -> None:
    pair = Pair()
    pair.begin()
    pair.to_server(pair.from_client())
    pair.from_server()
    pair.now = 31.0
    pair.server.on_timer(now=pair.now)
    assert pair.server.problem is Problem.TIMEOUT
    assert pair.budget.running == 0
    pair.client.on_timer(now=pair.now)
    assert pair.client.timer_at == 0, "the client begins anew"
    pair.begin()
    pair.exchange()
    assert pair.agree()


def test_a_client_gives_up_after_some_handshakes() -> None:
    pair = Pair()
    while pair.client.timer_at < float("inf"):
        pair.client.on_timer(now=pair.now)
        pair.now = pair.client.timer_at or pair.now
    assert pair.client.failures == {Problem.TIMEOUT: 10}


def finish(relay: Association, end: OpensslEnd, *, validated: bool) -> tuple[list[bytes], list[bytes]]:
    """A handshake with an end that begins; its last flight, and the relay's, which has not arrived."""
    flight = end.begin()
    while True:
        for each in flight:
            relay.receive(each, "end", validated=validated, answers=True, now=0.0)
        said = [output.payload for output in relay.take_output()]
        if relay.established:
            return flight, said
        flight = [each for payload in said for each in end.receive(payload)]


def successor_of(relay: Association) -> Association:
    return Association(
        identity("relay"),
        fingerprints_of("end"),
        active=False,
        budget=Budget(),
        established=True,
        last_flight=relay.last_flight,
        agreed_source=relay.agreed_source,
    )


def test_the_last_flight_is_repeated_verbatim_for_an_end_that_lost_it() -> None:
    end = OpensslEnd(client=True)
    relay = against(end)
    flight, lost = finish(relay, end, validated=True)
    successor = successor_of(relay)
    successor.receive(b"".join(flight), "end", validated=True, answers=True, now=0.0)
    repeated = successor.take_output()
    assert [each.payload for each in repeated] == lost
    for output in repeated * 2:
        end.receive(output.payload)
    assert end.done


def test_without_ice_the_last_flight_goes_where_the_end_was_alone_after_a_restore_too() -> None:
    end = OpensslEnd(client=True)
    relay = against(end)
    flight, lost = finish(relay, end, validated=False)
    for process in (relay, successor_of(relay)):
        process.receive(b"".join(flight), "stranger", validated=False, answers=False, now=0.0)
        assert process.take_output() == []
        process.receive(b"".join(flight), "end", validated=False, answers=True, now=0.0)
        assert process.take_output() == [OutgoingDatagram(each, "end") for each in lost]


def test_an_end_that_began_anew_gets_new_keys() -> None:
    """A phone has been restarted: its new handshake takes the place of the old one, finished or not."""
    pair = Pair()
    pair.begin()
    pair.to_server(pair.from_client())
    pair.from_server()
    for _ in range(2):
        again = Pair()
        pair.client = again.client
        pair.begin()
        pair.exchange()
        assert pair.agree()


def test_a_late_client_hello_begins_nothing() -> None:
    pair = Pair()
    pair.begin()
    hello = pair.from_client()
    pair.to_server(hello)
    pair.to_client(pair.from_server())
    pair.exchange()
    assert pair.agree()
    pair.to_server(hello)
    assert not pair.server.running
    assert pair.from_server() == []


@settings(deadline=None, max_examples=examples(40))
@given(seed=st.integers(0, 2**32), validated=st.booleans())
def test_flights_may_be_repeated_and_reordered(seed: int, validated: bool) -> None:
    order = random.Random(seed)

    def deliver(datagrams: list[bytes]) -> list[bytes]:
        delivered = datagrams + order.choices(datagrams, k=order.randrange(3)) if datagrams else []
        order.shuffle(delivered)
        return delivered

    pair = Pair(validated=validated)
    pair.begin()
    pair.exchange(deliver)
    assert pair.agree()


@pytest.mark.full
def test_what_is_repeated_does_not_follow_a_stranger() -> None:
    """By OpenSSL's timers, which run in real time."""
    import time  # noqa: PLC0415

    relay = against(OpensslEnd(client=False))
    relay.on_timer(now=0.0)
    first = relay.take_output()
    for forged in (ALERT, bytes.fromhex("14fefd0000000000000005000101")):
        relay.receive(forged, "stranger", validated=False, answers=False, now=ALONE_S)
    until = time.monotonic() + TIMEOUT_S
    while not (repeated := relay.take_output()):
        assert time.monotonic() < until
        time.sleep(0.05)
        relay.on_timer(now=relay.timer_at)
    assert {output.source for output in (*first, *repeated)} == {None}


def forged_cookie(number: int) -> bytes:
    """A HelloVerifyRequest (RFC 6347 4.2.1) as a sender can make it that has read nothing."""
    body = b"\xfe\xff\x01x"
    size = len(body).to_bytes(3, "big")
    message = b"\x03" + size + number.to_bytes(2, "big") + bytes(3) + size + body
    return b"\x16\xfe\xff" + number.to_bytes(8, "big") + len(message).to_bytes(2, "big") + message


def test_a_stranger_is_sent_nothing_of_a_handshake_that_the_relay_begins() -> None:
    relay = against(OpensslEnd(client=False))
    relay.on_timer(now=0.0)
    (first,) = relay.take_output()
    relay.receive(forged_cookie(0), "stranger", validated=False, answers=False, now=ALONE_S)
    (again,) = relay.take_output()
    assert again.payload != first.payload, "it has the cookie"
    assert (first.source, again.source) == (None, None), "where the media of the end go"


def test_forged_cookies_make_the_relay_send_little_to_its_end() -> None:
    relay = against(OpensslEnd(client=False))
    relay.on_timer(now=0.0)
    sent = sum(len(output.payload) for output in relay.take_output())
    received = 0
    for number in range(500):
        forged = forged_cookie(number)
        received += len(forged)
        relay.receive(forged, "stranger", validated=False, answers=False, now=ALONE_S)
        sent += sum(len(output.payload) for output in relay.take_output())
    assert CLIENT_BYTES < sent <= CLIENT_BYTES + AMPLIFICATION * received


def in_clear(content_type: int, body: bytes, number: int = 0) -> bytes:
    """A record that is not encrypted (RFC 6347 4.1), as any host can make it."""
    head = bytes((content_type, 0xFE, 0xFD)) + number.to_bytes(8, "big")
    return head + len(body).to_bytes(2, "big") + body


def message(kind: int, body: bytes, number: int = 0) -> bytes:
    """A message of a handshake in one piece (RFC 6347 4.2.2)."""
    size = len(body).to_bytes(3, "big")
    return bytes((kind,)) + size + number.to_bytes(2, "big") + bytes(3) + size + body


def replies(end: OpensslEnd, relay: Association) -> list[bytes]:
    """What an end answers to what the relay has to say."""
    return [each for output in relay.take_output() for each in end.receive(output.payload)]


FORGED = {
    "a ServerHello without a common cipher": in_clear(22, message(2, b"\xfe\xfd" + bytes(35))),
    "half a ServerHello": in_clear(22, message(2, b"\xfe\xfd")),
    "a message out of turn": in_clear(22, message(20, bytes(12))),
    "a number that hides the records of the end": in_clear(22, message(20, bytes(12), 5), 2**48 - 1),
    "a change of the cipher": in_clear(20, b"\1", 2**48 - 1),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_stranger_ends_no_handshake_that_the_relay_begins(forged: bytes) -> None:
    end = OpensslEnd(client=False)
    relay = against(end)
    relay.on_timer(now=0.0)
    answers = replies(end, relay)
    assert not relay.receive(forged, "stranger", validated=False, answers=False, now=0.0)
    for each in answers:
        assert relay.receive(each, "end", validated=False, answers=True, now=ALONE_S)
    assert not relay.receive(forged, "stranger", validated=False, answers=False, now=ALONE_S)
    for each in replies(end, relay):
        relay.receive(each, "end", validated=False, answers=True, now=ALONE_S)
    assert relay.take_agreed() is not None
    assert not relay.failures


def test_an_end_that_a_nat_moves_on_the_way_back_is_heard_after_a_while() -> None:
    end = OpensslEnd(client=False)
    relay = against(end)
    relay.on_timer(now=0.0)
    answers = replies(end, relay)
    for now, is_heard in ((0.0, False), (ALONE_S, True)):
        for each in answers:
            assert relay.receive(each, "moved", validated=False, answers=False, now=now) is is_heard
    for each in replies(end, relay):
        relay.receive(each, "moved", validated=False, answers=False, now=ALONE_S)
    assert relay.take_agreed() is not None


@validated
@pytest.mark.parametrize("content_type", [23, 24, 63], ids=["media of DTLS", "a heartbeat", "no known type"])
def test_what_no_handshake_has_in_clear_ends_none(validated: bool, content_type: int) -> None:
    pair = Pair(validated=validated)
    pair.begin()
    forged = in_clear(content_type, b"hello", 1000)

    def with_forged(datagrams: list[bytes]) -> list[bytes]:
        return [part for each in datagrams for part in (forged, each, forged + each)]

    pair.exchange(with_forged)
    assert pair.agree()
    assert not pair.server.failures


def test_an_end_that_ice_has_validated_is_answered_where_it_is() -> None:
    end = OpensslEnd(client=False)
    relay = against(end)
    relay.on_timer(now=0.0)
    (hello,) = relay.take_output()
    for each in end.receive(hello.payload):
        relay.receive(each, "end", validated=True, answers=True, now=0.0)
    assert {output.source for output in relay.take_output()} == {"end"}


@pytest.mark.full
@pytest.mark.parametrize("lost", [0, 1, 2, 3])
def test_a_lost_flight_is_repeated(lost: int) -> None:
    """By OpenSSL's timers, which run in real time."""
    import time  # noqa: PLC0415

    pair = Pair()
    flights = iter(range(100))
    pair.begin()
    pair.exchange(lambda datagrams: [] if datagrams and next(flights) == lost else datagrams)
    until = time.monotonic() + TIMEOUT_S
    while not (pair.server.established and pair.client.established):
        assert time.monotonic() < until
        time.sleep(0.05)
        pair.now += 0.05
        for each in (pair.client, pair.server):
            if each.timer_at <= pair.now:
                each.on_timer(now=pair.now)
        pair.exchange()
    assert pair.agree()
