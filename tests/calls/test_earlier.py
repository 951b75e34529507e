"""nh.calls.latching.earlier: who is remembered at a port, and for how long."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.latching.earlier import EARLIER_S, MAX_SENDERS, EarlierSender, EarlierSenders
from nh.calls.leg import Leg
from nh.calls.media import Endpoint, Side
from nh.calls.session import Session
from nh.calls.snapshots.call import restore_call
from nh.calls.snapshots.codec import decode_snapshot
from tests.calls.fakes import ALICE_AUDIO, Proxy, make_proxy
from tests.calls.ng_proxy import A_AUDIO, B_AUDIO, B, make_ng_proxy
from tests.calls.rtp import rtp_packet
from tests.calls.snapshots import written

PORTS = [Endpoint("192.0.2.1", port) for port in (20_000, 20_002, 20_004)]
PHONE, OTHER = Endpoint("198.51.100.7", 4000), Endpoint("198.51.100.7", 4002)


def test_a_sender_whose_session_fell_silent_is_remembered_no_longer_than_one_whose_call_was_closed() -> None:
    senders = EarlierSenders()
    senders.add(PORTS[0], PHONE, frozenset(), call_id=b"closed", now=100.0)
    senders.add(PORTS[1], PHONE, frozenset(), call_id=b"silent", now=70.0)
    now = 70.0 + EARLIER_S
    assert senders.find(PORTS[0], call_id=b"next", now=now)
    assert not senders.find(PORTS[1], call_id=b"next", now=now)


def test_several_senders_to_a_port_are_remembered() -> None:
    """Of several calls, one after the other, or several answerers of one."""
    senders = EarlierSenders()
    others = [Endpoint("198.51.100.8", port) for port in range(4000, 4000 + MAX_SENDERS)]
    for number, source in enumerate([PHONE, *others[:-1]]):
        senders.add(PORTS[0], source, frozenset(), call_id=b"%d" % (number // 2), now=100.0)
    found = senders.find(PORTS[0], call_id=b"next", now=110.0)
    assert [each.source for each in found] == [*others[-2::-1], PHONE]
    senders.add(PORTS[0], others[-1], frozenset(), call_id=b"last", now=110.0)
    found = senders.find(PORTS[0], call_id=b"next", now=110.0)
    assert [each.source for each in found] == others[::-1], "the latest"


def test_who_sent_on_in_the_call_after_its_own_is_remembered_longer() -> None:
    senders = EarlierSenders()
    senders.add(PORTS[0], PHONE, frozenset(), call_id=b"one", now=100.0)
    (sender,) = senders.find(PORTS[0], call_id=b"two", now=130.0)
    senders.keep(PORTS[0], (sender._replace(until=150.0 + EARLIER_S),), now=150.0)
    senders.add(PORTS[0], OTHER, frozenset(), call_id=b"two", now=150.0)
    found = senders.find(PORTS[0], call_id=b"three", now=190.0)
    assert [each.source for each in found] == [OTHER, PHONE]


def test_of_two_sessions_at_a_port_the_one_that_heard_a_sender_last_counts() -> None:
    """Whichever ends first, as those of several answerers."""
    senders = EarlierSenders()
    senders.add(PORTS[0], PHONE, frozenset(), call_id=b"one", now=100.0)
    found = senders.find(PORTS[0], call_id=b"two", now=130.0)
    senders.keep(PORTS[0], (found[0]._replace(until=150.0 + EARLIER_S),), now=160.0)
    senders.keep(PORTS[0], found, now=160.0)
    assert [each.until for each in senders.find(PORTS[0], call_id=b"three", now=170.0)] == [150.0 + EARLIER_S]


def arrives(leg: Leg, source: Endpoint, ssrc: int, number: int, now: float) -> bool:
    """A packet of RTP; whether the leg takes it."""
    packet = rtp_packet(number, 160 * number, ssrc=ssrc)
    taken = leg.admit(source, memoryview(packet), now=now)
    meter = leg.find_meter()
    if taken and meter is not None:
        meter.measure(packet, len(packet), now)
    return taken


def restore(proxy: Proxy, call_id: bytes) -> Session:
    """End the call, and go on with it from its snapshot, as another process does."""
    snapshot = decode_snapshot(written(proxy.table, call_id, now=proxy.now))
    proxy.bye(call_id=call_id)
    restore_call(proxy.table, snapshot, shift_s=0.0, now=proxy.now)
    return proxy.plane.running[-1]


@pytest.mark.parametrize("restored", [False, True])
def test_a_phone_whose_bye_was_lost_is_heard_in_none_of_the_calls_that_have_its_port(restored: bool) -> None:
    """The phones of all calls have one gateway, and each has a port of it."""
    proxy = make_proxy(ports=(20_000, 20_003))
    gateway = [Endpoint(ALICE_AUDIO.address, ALICE_AUDIO.port + 100 * number) for number in range(8)]
    for number, phone in enumerate(gateway):
        call_id = b"call-%d" % number
        offered = msgspec.structs.replace(ALICE_AUDIO, port=phone.port)
        leg = proxy.connect(call_id=call_id, offered=(offered,)).legs[Side.FROM]
        if restored:
            leg = restore(proxy, call_id).legs[Side.FROM]
        if number:
            assert not arrives(leg, gateway[0], 0xA1, 10 * number, proxy.now)
        assert arrives(leg, phone, 0xA1 + number, 0, proxy.now)
        proxy.now += 10
        proxy.bye(call_id=call_id)


def test_who_sends_on_is_not_heard_in_a_later_session_of_the_call_either() -> None:
    """A phone moves, so its call has a new session at the port that the phone sends to."""
    proxy = make_ng_proxy()
    leg = proxy.connect().legs[Side.FROM]
    stranger, moved = Endpoint(A_AUDIO.address, 4002), Endpoint(A_AUDIO.address, 4004)
    leg.earlier = (EarlierSender(stranger, frozenset({0xA1}), proxy.now + EARLIER_S),)
    proxy.now += EARLIER_S - 10
    assert not arrives(leg, stranger, 0xA1, 1, proxy.now)
    proxy.offer(msgspec.structs.replace(A_AUDIO, port=moved.port), to=B)
    proxy.answer(B_AUDIO)
    after = proxy.plane.running[-1].legs[Side.FROM]
    assert after is not leg
    assert after.socket.local == leg.socket.local
    proxy.now += 20
    assert not arrives(after, stranger, 0xA1, 2, proxy.now)
    assert arrives(after, moved, 0xB2, 1, proxy.now)


def test_the_latest_of_those_that_send_on_is_the_first() -> None:
    """An earlier version of nh reads the first one of a snapshot only."""
    leg = make_proxy().connect().legs[Side.FROM]
    leg.earlier = tuple([EarlierSender(each, frozenset(), 1060.0) for each in (OTHER, PHONE)])
    assert not arrives(leg, PHONE, 0xA1, 1, 1010.0)
    assert [each.source for each in leg.earlier] == [PHONE, OTHER]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(PORTS),
            st.sampled_from([b"one", b"two"]),
            st.sampled_from([0.0, 30.0]),
            st.sampled_from([0.0, 7.5, EARLIER_S / 2, EARLIER_S]),
        ),
        max_size=30,
    )
)
def test_the_latest_sender_to_each_port_is_remembered_for_its_time(
    ends: list[tuple[Endpoint, bytes, float, float]],
) -> None:
    senders, latest, now = EarlierSenders(), dict[Endpoint, tuple[bytes, float]](), 1000.0
    for port, call_id, silent_s, passed_s in ends:
        senders.add(port, PHONE, frozenset(), call_id=call_id, now=now - silent_s)
        latest[port] = (call_id, now - silent_s + EARLIER_S)
        now += passed_s
        for each in PORTS:
            earlier, until = latest.get(each, (b"", 0.0))
            for asking in (b"one", b"two"):
                found = senders.find(each, call_id=asking, now=now)
                if until > now and earlier != asking:
                    assert earlier in {sender.call_id for sender in found}
                assert asking not in {sender.call_id for sender in found}
                assert all(now < sender.until <= now + EARLIER_S for sender in found)
