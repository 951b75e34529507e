"""Packets that waited when a source latched: judged by their source, in order, some in each turn."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from nh.calls.media import Side
from nh.shard.media.pipeline.plan import Plan, plan_for
from nh.shard.media.sockets.media_socket import MediaSocket, socket_of
from nh.shard.media.sockets.opening import open_beside
from tests.shard.conftest import MakePeer, errors_in
from tests.shard.testbed import Conversation, RelayTestbed
from tools.harness.media_peer import MediaPeer

WAITING = 200
ALICE = "127.0.0.11"
BOB = "127.0.0.22"
MALLORY = "127.0.0.66"


@pytest.fixture
def testbed(ports: range, caplog: pytest.LogCaptureFixture) -> Iterator[RelayTestbed]:
    """A relay in user space."""
    with contextlib.closing(RelayTestbed(ports)) as testbed:
        yield testbed
    assert errors_in(caplog) == []


def flood(sender: MediaPeer, call: Conversation, count: int = WAITING) -> list[bytes]:
    """Send so many packets before the relay turns; what they say."""
    sent = [b"%d" % number for number in range(count)]
    for payload in sent:
        sender.send(payload, call.for_caller)
    return sent


def towards_relay(testbed: RelayTestbed) -> MediaSocket:
    """The socket that the caller of the latest call sends to."""
    *_, session = testbed.relay.plane._running
    return socket_of(session.legs[Side.FROM])


def latch_while_many_wait(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer
) -> tuple[Conversation, list[bytes], MediaSocket]:
    """A call whose caller latches with the first of many packets; the others wait at that socket."""
    call = testbed.call(alice, bob)
    sent = flood(alice, call)
    testbed.relay.plane.poll.serve()
    return call, sent, towards_relay(testbed)


def test_the_batch_in_which_a_source_latches_takes_no_longer_for_what_waits(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    """A command waits for one packet of the socket, not for all that its buffer holds."""
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call, sent, media_socket = latch_while_many_wait(testbed, alice, bob)
    assert media_socket.connected
    assert testbed.leg(call.key, Side.FROM).packets == 1
    assert [testbed.receive(bob)[0] for _ in sent] == sent


def test_a_socket_is_left_to_the_kernel_once_what_waited_has_been_read(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call, sent, media_socket = latch_while_many_wait(testbed, alice, bob)
    assert media_socket.older >= WAITING - 1, "more packets than that do not wait"
    assert [testbed.receive(bob)[0] for _ in sent] == sent
    while media_socket.older:
        testbed.passes(alice, call.for_caller, bob)
    assert media_socket.output is not None, "the plain plan"
    testbed.converse(alice, bob, call)


def test_every_packet_of_a_stranger_that_waited_is_dropped(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob, mallory = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = testbed.call(alice, bob)
    alice.send(b"first", call.for_caller)
    flood(mallory, call)
    alice.send(b"last", call.for_caller)
    assert [testbed.receive(bob)[0] for _ in range(2)] == [b"first", b"last"]
    assert testbed.leg(call.key, Side.FROM).dropped == {"source_mismatch": WAITING}


def test_what_comes_while_the_socket_beside_is_opened_stays_in_its_order(
    testbed: RelayTestbed, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux chooses one of two sockets at a port by the source, so several phones send."""
    phones: list[tuple[MediaPeer, Conversation]] = []

    def open_while_more_comes(media_socket: MediaSocket) -> Any:
        beside = open_beside(media_socket)
        alice, call = phones[-1]
        for number in range(10, 20):
            alice.send(b"%d" % number, call.for_caller)
        return beside

    monkeypatch.setattr("nh.shard.media.connector.open_beside", open_while_more_comes)
    bob = make_peer(BOB)
    for _ in range(12):
        alice = make_peer(ALICE)
        phones.append((alice, testbed.call(alice, bob)))
        flood(alice, phones[-1][1], 10)
        assert [testbed.receive(bob)[0] for _ in range(20)] == [b"%d" % number for number in range(20)]


def test_a_socket_whose_plan_fails_once_is_left_to_the_kernel_with_the_next_packet(
    testbed: RelayTestbed,
    make_peer: MakePeer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = testbed.call(alice, bob)
    flood(alice, call, 3)
    testbed.relay.plane.poll.serve()
    media_socket = towards_relay(testbed)
    assert media_socket.older
    failed: list[bool] = []

    def fail_once(*args: Any, **kwargs: Any) -> Plan:
        if not failed:
            failed.append(True)
            raise ZeroDivisionError
        return plan_for(*args, **kwargs)

    monkeypatch.setattr("nh.shard.media.paths.plan_for", fail_once)
    for _ in range(3):
        testbed.receive(bob)
    while not failed:
        testbed.passes(alice, call.for_caller, bob)
    caplog.clear()
    testbed.passes(alice, call.for_caller, bob)
    assert media_socket.output is not None, "the plain plan"
