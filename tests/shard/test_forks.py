"""A forked request: several answers share the sockets of the offer, and are told apart by their sources."""

import msgspec
import pytest

from nh.calls.media import Media, Side
from nh.commands import Close, TransactionKey
from nh.results import Closed
from nh.shard.media.pipeline.fast_readers import SocketReader
from nh.shard.media.poll import MediaPoll
from tests.shard.conftest import MakePeer
from tests.shard.testbed import PACKET, RelayTestbed, Where, audio, shuts_out
from tools.harness.media_peer import MediaPeer

ALICE = "127.0.0.11"
BOB = "127.0.0.22"
CAROL = "127.0.0.33"
MALLORY = "127.0.0.66"


class Fork:
    """A request of Alice's that Bob and Carol answer, one after the other."""

    def __init__(self, testbed: RelayTestbed, alice: MediaPeer) -> None:
        self.testbed = testbed
        self.alice = alice
        self.key = testbed.new_key(b"alice", b"")
        (self.for_callees,) = testbed.allocate(self.key, Side.FROM, [audio(alice)])

    def answer(self, callee: bytes, peer: MediaPeer | Media) -> Where:
        """One answer; returns where Alice sends to for it."""
        key = self.key_to(callee)
        answered = peer if isinstance(peer, Media) else audio(peer)
        (for_alice,) = self.testbed.allocate(key, Side.TO, [answered])
        assert self.testbed.activate(key)
        return for_alice

    def end(self, callee: bytes) -> int:
        result = self.testbed.relay.execute(Close(self.key_to(callee)))
        assert isinstance(result, Closed)
        return result.sessions

    def key_to(self, callee: bytes) -> TransactionKey:
        return TransactionKey(self.key.call_id, self.key.cseq, b"alice", callee)

    def sources(self) -> list[str | None]:
        """What each session knows of its answerer."""
        return [session.pairs[0].to.source for session in self.testbed.show(self.key).sessions]


def test_each_answerer_is_told_apart_by_its_source(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob, carol = make_peer(ALICE), make_peer(BOB), make_peer(CAROL)
    fork = Fork(testbed, alice)
    to_bob, to_carol = fork.answer(b"bob", bob), fork.answer(b"carol", carol)
    for _ in range(2):
        # Alice hears each of them from the port that she was told for it
        assert testbed.passes(bob, fork.for_callees, alice) == to_bob
        assert testbed.passes(carol, fork.for_callees, alice) == to_carol
        assert testbed.passes(alice, to_bob, bob) == fork.for_callees
        assert testbed.passes(alice, to_carol, carol) == fork.for_callees
    assert fork.sources() == [f"{BOB}:{bob.port}", f"{CAROL}:{carol.port}"]


def test_a_fork_that_arrives_after_the_first_one_latched_gets_through(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob, carol = make_peer(ALICE), make_peer(BOB), make_peer(CAROL)
    fork = Fork(testbed, alice)
    to_bob = fork.answer(b"bob", bob)
    testbed.passes(bob, fork.for_callees, alice)
    assert shuts_out(fork.for_callees, CAROL)
    to_carol = fork.answer(b"carol", carol)
    assert testbed.passes(carol, fork.for_callees, alice) == to_carol
    assert testbed.passes(bob, fork.for_callees, alice) == to_bob
    testbed.passes(alice, to_carol, carol)
    testbed.passes(alice, to_bob, bob)


def test_one_more_answer_costs_no_look_at_the_sockets_of_the_others(
    testbed: RelayTestbed, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = Fork(testbed, make_peer(ALICE))
    bob = audio(make_peer(BOB))
    if testbed.relay.plane.kernel is not None:
        pytest.skip("the kernel forwards, so each direction is looked at")
    set_reader = MediaPoll.set_reader
    looks: list[int] = []

    def note(poll: MediaPoll, fd: int, reader: SocketReader) -> None:
        looks.append(fd)
        set_reader(poll, fd, reader)

    monkeypatch.setattr(MediaPoll, "set_reader", note)
    costs = []
    for number in range(12):
        looks.clear()
        fork.answer(b"bob-%d" % number, bob)
        costs.append(len(looks))

    assert costs[-1] == costs[1]


def test_a_third_party_is_shut_out_of_a_latched_fork(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob, carol, mallory = (make_peer(address) for address in (ALICE, BOB, CAROL, MALLORY))
    fork = Fork(testbed, alice)
    fork.answer(b"bob", bob)
    fork.answer(b"carol", carol)
    testbed.passes(bob, fork.for_callees, alice)
    testbed.passes(carol, fork.for_callees, alice)
    mallory.send(PACKET, fork.for_callees)
    testbed.turn_until(lambda: testbed.stats().drop_source_mismatch == 1, "it is dropped")
    assert alice.pending() == []


def test_when_one_fork_ends_the_other_goes_on(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob, carol = make_peer(ALICE), make_peer(BOB), make_peer(CAROL)
    fork = Fork(testbed, alice)
    to_bob, _ = fork.answer(b"bob", bob), fork.answer(b"carol", carol)
    for peer in (bob, carol):
        testbed.passes(peer, fork.for_callees, alice)
    assert fork.end(b"carol") == 1
    assert shuts_out(fork.for_callees, CAROL), "the kernel filters again"
    testbed.passes(bob, fork.for_callees, alice)
    testbed.passes(alice, to_bob, bob)
    assert fork.end(b"bob") == 1
    assert testbed.stats().sockets == 0


def test_packets_queued_when_one_fork_ends_are_still_judged(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob, carol = make_peer(ALICE), make_peer(BOB), make_peer(CAROL)
    fork = Fork(testbed, alice)
    fork.answer(b"bob", bob)
    fork.answer(b"carol", carol)
    for peer in (bob, carol):
        testbed.passes(peer, fork.for_callees, alice)
    carol.send(b"too late", fork.for_callees)
    bob.send(b"still here", fork.for_callees)
    fork.end(b"carol")
    assert testbed.receive(alice)[0] == b"still here"
    assert alice.pending() == []
    assert testbed.stats().drop_source_mismatch == 1


def test_who_speaks_before_its_own_answer_is_found_once_it_is_there(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    # Carol's early media come while only Bob's answer is known, and pass for Bob's
    alice, bob, carol = make_peer(ALICE), make_peer(BOB), make_peer(CAROL)
    fork = Fork(testbed, alice)
    to_bob = fork.answer(b"bob", msgspec.structs.replace(audio(bob), address="192.168.1.20"))
    testbed.passes(carol, fork.for_callees, alice)
    to_carol = fork.answer(b"carol", carol)
    assert testbed.passes(carol, fork.for_callees, alice) == to_carol
    assert testbed.passes(bob, fork.for_callees, alice) == to_bob
    testbed.passes(alice, to_carol, carol)
    testbed.passes(alice, to_bob, bob)


def test_answerers_behind_one_nat_are_told_apart_by_their_ports(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob, carol = make_peer(ALICE), make_peer(BOB), make_peer(BOB)
    fork = Fork(testbed, alice)
    to_bob, to_carol = fork.answer(b"bob", bob), fork.answer(b"carol", carol)
    assert testbed.passes(carol, fork.for_callees, alice) == to_carol
    assert testbed.passes(bob, fork.for_callees, alice) == to_bob
    testbed.passes(alice, to_bob, bob)
    testbed.passes(alice, to_carol, carol)
