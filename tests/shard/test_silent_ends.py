"""Ends that are sent media and never answer: their socket is connected, and answers are heard."""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator

import pytest

from nh.calls.interfaces import Interface
from nh.calls.media import Endpoint, Side
from nh.shard.media import forwarding
from nh.shard.media.leg_notes import NOTE_S
from nh.shard.media.pipeline.plan import ENOUGH_PACKETS
from nh.shard.media.poll import MediaPoll
from nh.shard.media.sockets import opening
from nh.shard.media.sockets.media_socket import MediaSocket, socket_of
from tests.calls.rtp import rtp_packet
from tests.shard.conftest import MakePeer, errors_in
from tests.shard.ng_testbed import NgTalk, NgTestbed
from tests.shard.test_forks import Fork
from tests.shard.testbed import PACKET, V4, V6, Conversation, RelayTestbed
from tools.harness.media_peer import RTP, MediaPeer
from tools.harness.waiting import TIMEOUT_S

ELSEWHERE = "127.0.0.33"


@pytest.fixture
def testbed(
    ports: range, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[RelayTestbed]:
    """A relay in user space that looks with each packet whether the end is silent."""
    monkeypatch.setattr(forwarding, "LOOK_AGAIN_S", 0.0)
    with contextlib.closing(RelayTestbed(ports)) as testbed:
        yield testbed
    assert errors_in(caplog) == []


def speak(testbed: RelayTestbed, speaker: MediaPeer, call: Conversation, listener: MediaPeer) -> None:
    """Send enough to an end that says nothing, and hear all of it there, in order."""
    for number in range(ENOUGH_PACKETS + 10):
        testbed.passes(speaker, call.for_caller, listener, payload=rtp_packet(number, number * 160))


def output(testbed: RelayTestbed) -> MediaSocket:
    """The socket that sends to the callee."""
    *_, session = testbed.relay.plane._running
    return socket_of(session.legs[Side.TO])


@pytest.mark.usefixtures("ipv6")
@pytest.mark.parametrize("address", [V4, V6])
def test_the_socket_of_a_silent_end_is_connected_and_its_answer_latches(
    testbed: RelayTestbed, make_peer: MakePeer, address: str
) -> None:
    alice, bob = make_peer(address), make_peer(address)
    call = testbed.call(alice, bob, to_callee=address, to_caller=address)
    speak(testbed, alice, call, bob)
    assert output(testbed).peer == Endpoint(address, bob.port)
    assert testbed.leg(call.key, Side.TO).source is None
    testbed.converse(alice, bob, call)
    assert testbed.leg(call.key, Side.TO).latched
    assert output(testbed).connected
    testbed.converse(alice, bob, call)


def test_few_packets_connect_nothing(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    for _ in range(5):
        testbed.passes(alice, call.for_caller, bob)
    assert output(testbed).is_open_to_all


def test_an_answer_from_another_port_is_heard_with_its_first_packet(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, announced, nat = make_peer(), make_peer(ELSEWHERE), make_peer(ELSEWHERE)
    call = testbed.call(alice, announced)
    speak(testbed, alice, call, announced)
    assert output(testbed).connected
    for _ in range(3):
        testbed.passes(nat, call.for_callee, alice)
        testbed.passes(alice, call.for_caller, nat)
    assert testbed.leg(call.key, Side.TO).source == f"{ELSEWHERE}:{nat.port}"
    assert testbed.leg(call.key, Side.TO).dropped == {}
    assert announced.pending() == []


def test_strangers_are_shut_out_as_before(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob, mallory = make_peer(), make_peer(), make_peer(ELSEWHERE)
    call = testbed.call(alice, bob)
    speak(testbed, alice, call, bob)
    for number in range(3):
        mallory.send(b"hello", call.for_callee)
        testbed.turn_until(
            lambda n=number: testbed.stats().drop_source_mismatch == n + 1,  # type: ignore[misc]
            "she is counted",
        )
    testbed.converse(alice, bob, call)
    assert mallory.pending() == []


def test_an_end_that_is_announced_elsewhere_is_sent_to_there(
    ports: range, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "LOOK_AGAIN_S", 0.0)
    alice, bob, other = make_peer(), make_peer(), make_peer(ELSEWHERE)
    with contextlib.closing(NgTestbed(ports, interfaces=[Interface("default", V4, V4)])) as testbed:
        to_alice = testbed.connect(alice, bob).alice_sends_to[0]
        for number in range(ENOUGH_PACKETS + 10):
            testbed.passes(alice, to_alice, bob, payload=rtp_packet(number, number * 160))
        assert output(testbed).peer == Endpoint(V4, bob.port)
        to_bob = testbed.offer(alice, to=b"bob")
        talk = NgTalk(testbed.answer(other), to_bob)
        assert output(testbed).peer != Endpoint(V4, bob.port)
        testbed.talk(alice, other, talk)
        assert bob.pending() == []


@pytest.mark.parametrize("of", ["descriptors", "watches"])
def test_without_room_for_a_socket_beside_it_is_sent_to_as_before(
    testbed: RelayTestbed, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no more watches (fs.epoll.max_user_watches)")

    if of == "descriptors":
        monkeypatch.setattr(opening, "BESIDE_SHARE", 0.0)
    else:
        monkeypatch.setattr(MediaPoll, "add", refuse)
    speak(testbed, alice, call, bob)
    assert output(testbed).is_open_to_all
    testbed.converse(alice, bob, call)


def test_without_a_route_it_is_tried_again(
    testbed: RelayTestbed, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    refused = 0

    def refuse(_self: MediaSocket, _address: object) -> None:
        nonlocal refused
        refused += 1
        raise OSError(errno.ENETUNREACH, "no route")

    with monkeypatch.context() as without_route:
        without_route.setattr(MediaSocket, "connect", refuse, raising=False)
        speak(testbed, alice, call, bob)
        assert refused
        assert output(testbed).is_open_to_all
    output(testbed).leg.other.note_due = 0.0  # type: ignore[union-attr]  # as some seconds later
    testbed.passes(alice, call.for_caller, bob)
    testbed.turn_until(lambda: output(testbed).connected, "its socket is connected")
    testbed.converse(alice, bob, call)


def test_an_end_that_is_gone_is_noted_and_heard_when_it_is_back(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    speak(testbed, alice, call, bob)
    place = bob.sockets[RTP].getsockname()
    bob.close()
    alice.send(b"are you there?", call.for_caller)
    testbed.turn_until(lambda: testbed.leg(call.key, Side.TO).unreachable, "ICMP is noted")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
        back.bind(place)
        back.settimeout(TIMEOUT_S)
        back.sendto(PACKET, call.for_callee)
        assert testbed.receive(alice)[0] == PACKET
        alice.send(PACKET, call.for_caller)
        testbed.turn_until(lambda: testbed.leg(call.key, Side.FROM).packets == ENOUGH_PACKETS + 12, "it came")
        assert back.recv(2048) == PACKET


def test_a_call_may_end_before_its_socket_is_connected(
    ports: range, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command serves packets that wait, and the next one deletes the call: other calls notice nothing."""
    monkeypatch.setattr(forwarding, "LOOK_AGAIN_S", 0.0)
    alice, moved, bob, mallory = make_peer(), make_peer(), make_peer(), make_peer(ELSEWHERE)
    with contextlib.closing(NgTestbed(ports, interfaces=[Interface("default", V4, V4)])) as testbed:
        to_alice = testbed.connect(alice, bob).alice_sends_to[0]
        testbed.passes(alice, to_alice, bob)
        carol, dave = make_peer(), make_peer()
        other = testbed.call(carol, dave)
        later = [os.dup(0) for _ in range(20)]
        testbed.converse(carol, dave, other)  # the sockets beside them have the highest descriptors of all
        for descriptor in later:
            os.close(descriptor)
        for number in range(ENOUGH_PACKETS + 10):
            moved.send_raw(rtp_packet(number, number * 160), to_alice)
        testbed.offer(moved, to=b"bob")
        testbed.answer(bob)
        assert output(testbed).leg.other.packets > ENOUGH_PACKETS  # type: ignore[union-attr]
        testbed.delete()
        for count, place in enumerate((other.for_caller, other.for_callee), 1):
            mallory.send(b"hello", place)
            testbed.turn_until(
                lambda n=count: testbed.stats().drop_source_mismatch == n,  # type: ignore[misc]
                "she is counted",
            )


def test_where_two_may_answer_speech_is_looked_at_no_more_often_than_without(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    """The socket of a forked offer is connected to none of its ends."""
    alice = make_peer()
    fork = Fork(testbed, alice)
    to_bob = fork.answer(b"bob", bob := make_peer())
    fork.answer(b"carol", make_peer(ELSEWHERE))
    for number in range(ENOUGH_PACKETS + 10):
        testbed.passes(alice, to_bob, bob, payload=rtp_packet(number, number * 160))
    leg = next(iter(testbed.relay.plane._running)).legs[Side.FROM]
    assert leg.note_due > time.monotonic() + NOTE_S / 2


def test_the_end_of_the_call_closes_both_sockets(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    speak(testbed, alice, call, bob)
    out = output(testbed)
    beside = out.beside
    assert beside is not None
    testbed.relay.close_call(call.key.call_id)
    assert (out.fileno(), beside.fileno()) == (-1, -1)
