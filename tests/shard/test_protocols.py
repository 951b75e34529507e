"""Protocols beside the media: STUN and DTLS of an end go to its objects, which answer in their own time."""

import math
from collections import Counter
from typing import cast

import msgspec
import pytest

from nh.calls.drop import Drop
from nh.calls.latching.source import SourcePolicy
from nh.calls.leg import Leg
from nh.calls.media import Endpoint, Side
from nh.calls.protocols.ice import EndIce
from nh.calls.protocols.media_security import MediaSecurity
from nh.calls.protocols.packet_protocol import Datagram, DtlsProtocol
from nh.dtls.problem import Problem
from nh.ice.agent import CheckResult
from nh.shard.media import protocols
from nh.shard.media.protocol_queue import MAX_WAITING
from nh.shard.media.protocol_timers import STEPS_A_TURN
from nh.shard.media.sockets.media_socket import socket_of
from tests.shard.conftest import MakePeer
from tests.shard.testbed import PACKET, Conversation, RelayTestbed
from tools.harness.media_peer import MediaPeer

STUN = b"\0\1" + bytes(18)
DTLS = b"\x16\xfe\xfd" + bytes(10)


class Echo:
    """Answers each packet with itself, and says something when its timer is due."""

    def __init__(self) -> None:
        self.timer_at = math.inf
        self.closed = False
        self.validated: list[bool] = []
        self.answers: list[bool] = []
        self.met: set[int] = set()
        self._output: list[Datagram] = []

    guards = False  # as ICE: that of a lite end, which sends no checks

    def receive(
        self,
        packet: bytes,
        source: Endpoint,
        *,
        now: float,
        validated: bool | None = None,
        answers: bool = False,
        local: object = None,
    ) -> CheckResult:
        self.met.add(source.port)
        if validated is not None:
            self.validated.append(validated)
            self.answers.append(answers)
        self._output.append(Datagram(packet, source))
        self.timer_at = now + 0.01
        return CheckResult.ANSWERED

    def on_timer(self, *, now: float) -> None:
        assert now >= self.timer_at
        self.timer_at = math.inf
        self._output.append(Datagram(b"in time"))

    def take_output(self) -> list[Datagram]:
        output, self._output = self._output, []
        return output

    def take_changed(self) -> bool:
        return False

    def take_proven(self) -> bool:
        return False

    def take_results(self) -> Counter[Problem | None]:
        return Counter()

    def close(self) -> None:
        self.closed = True

    def validates(self, source: Endpoint) -> bool:
        return source.port in self.met


class Checks(Echo):
    """ICE whose checks say where the end is."""

    guards = True


class ByEcho(MediaSecurity):
    """What has an Echo as its DTLS."""

    def __init__(self, echo: Echo) -> None:
        super().__init__()
        self._echo = echo

    @property
    def dtls(self) -> DtlsProtocol:
        return cast(DtlsProtocol, self._echo)


@pytest.fixture
def call(testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer) -> Conversation:
    return testbed.call(alice, bob)


def give(testbed: RelayTestbed, leg: Leg, *, ice: Echo | None = None, dtls: Echo | None = None) -> None:
    """Let the end of a leg speak these protocols with the relay."""
    leg.ice = cast(EndIce | None, ice)
    if dtls is not None:
        leg.security = ByEcho(dtls)
    testbed.relay.plane._forwarding.apply([leg])


def test_stun_is_answered_where_it_came_from(
    testbed: RelayTestbed, call: Conversation, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    testbed.converse(alice, bob, call)
    give(testbed, testbed.running_leg(Side.FROM), ice=Echo())
    elsewhere = make_peer("127.0.0.9")
    for peer in (alice, elsewhere):
        peer.send_raw(STUN, call.for_caller)
        assert testbed.receive(peer)[0] == STUN
        assert testbed.receive(alice)[0] == b"in time"
    assert bob.pending() == []
    testbed.passes(alice, call.for_caller, bob)


def test_an_end_without_ice_passes_stun_on(
    testbed: RelayTestbed, call: Conversation, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed.converse(alice, bob, call)
    give(testbed, testbed.running_leg(Side.FROM), ice=Echo())
    bob.send_raw(STUN, call.for_callee)
    assert testbed.receive(alice)[0] == STUN


def test_what_no_end_takes_is_dropped_and_counted(
    testbed: RelayTestbed, call: Conversation, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed.converse(alice, bob, call)
    give(testbed, testbed.running_leg(Side.FROM), ice=Echo())
    for packet in (DTLS, b"\x07"):
        alice.send_raw(packet, call.for_caller)
    testbed.turn_until(lambda: testbed.stats().drop_source_mismatch == 2, "each is counted")
    assert bob.pending() == []


def test_dtls_waits_for_ice(
    testbed: RelayTestbed, call: Conversation, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed.converse(alice, bob, call)
    ice, dtls = Checks(), Echo()
    give(testbed, testbed.running_leg(Side.FROM), ice=ice, dtls=dtls)
    alice.send_raw(DTLS, call.for_caller)
    testbed.turn_until(lambda: testbed.stats().drop_source_mismatch == 1, "its source is not validated")
    alice.send_raw(STUN, call.for_caller)
    assert testbed.receive(alice)[0] == STUN
    alice.send_raw(DTLS, call.for_caller)
    assert {testbed.receive(alice)[0], testbed.receive(alice)[0]} == {DTLS, b"in time"}
    assert dtls.validated == [True]


def test_an_end_that_sends_no_checks_is_not_validated_by_them(
    testbed: RelayTestbed, call: Conversation, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed.converse(alice, bob, call)
    ice, dtls = Echo(), Echo()
    ice.met.add(alice.port)
    give(testbed, testbed.running_leg(Side.FROM), ice=ice, dtls=dtls)
    alice.send_raw(DTLS, call.for_caller)
    testbed.turn_until(lambda: bool(dtls.validated), "its handshake begins with a cookie")
    assert dtls.validated == [False]


def test_dtls_answers_from_where_the_media_of_its_end_go_unless_the_end_is_asymmetric(
    testbed: RelayTestbed, call: Conversation, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    testbed.converse(alice, bob, call)
    dtls, elsewhere = Echo(), make_peer("127.0.0.9")
    leg = testbed.running_leg(Side.FROM)
    give(testbed, leg, dtls=dtls)
    for policy, peer in (
        (SourcePolicy.HEURISTIC, alice),
        (SourcePolicy.HEURISTIC, elsewhere),
        (SourcePolicy.ASYMMETRIC, elsewhere),
    ):
        leg.terms = msgspec.structs.replace(leg.terms, policy=policy)
        handled = [*dtls.answers]
        peer.send_raw(DTLS, call.for_caller)
        testbed.turn_until(lambda: dtls.answers != handled, "it is handled")  # noqa: B023  called here alone
    assert dtls.answers == [True, False, True]


def test_a_timer_that_each_packet_postpones_is_one_timer(
    testbed: RelayTestbed, call: Conversation, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed.converse(alice, bob, call)
    dtls = Echo()
    give(testbed, testbed.running_leg(Side.FROM), dtls=dtls)
    for _ in range(30):
        alice.send_raw(DTLS, call.for_caller)
    testbed.turn_until(lambda: len(dtls.validated) == 30, "all are handled")
    assert len(testbed.relay.plane._forwarding.protocols._timers) <= 1
    testbed.turn_until(lambda: dtls.timer_at == math.inf, "the timer is due")


def test_many_packets_of_dtls_do_not_delay_media(
    testbed: RelayTestbed, call: Conversation, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed.converse(alice, bob, call)
    dtls = Echo()
    give(testbed, testbed.running_leg(Side.FROM), dtls=dtls)
    for _ in range(60):
        alice.send_raw(DTLS, call.for_caller)
    bob.send_raw(PACKET, call.for_callee)
    testbed.turn_until(lambda: bool(dtls.validated), "the first is handled")
    assert len(dtls.validated) < 60, "each turn handles some"
    testbed.turn_until(lambda: len(dtls.validated) == 60, "all are handled")
    assert not any(dtls.validated)


def test_checks_beyond_a_few_in_a_batch_of_packets_are_answered_in_later_turns(
    testbed: RelayTestbed,
    call: Conversation,
    alice: MediaPeer,
    bob: MediaPeer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A check that shows a new path takes as long as some packets of media."""
    monkeypatch.setattr(protocols, "CHECKS_A_TURN", 1)
    testbed.converse(alice, bob, call)
    give(testbed, testbed.running_leg(Side.FROM), ice=Echo())
    give(testbed, testbed.running_leg(Side.TO), ice=Echo())
    for _ in range(10):
        alice.send_raw(STUN, call.for_caller)
        bob.send_raw(STUN, call.for_callee)
    for peer in (alice, bob):
        answers = [testbed.receive(peer)[0] for _ in range(10)]
        assert set(answers) <= {STUN, b"in time"}
    checks = testbed.relay.plane._forwarding.protocols.checks
    testbed.turn_until(lambda: checks[CheckResult.ANSWERED] == 20, "all are answered")


def test_a_flood_of_dtls_at_one_port_is_counted_and_leaves_the_others_their_turn(
    testbed: RelayTestbed, call: Conversation, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed.converse(alice, bob, call)
    flooded, other = Echo(), Echo()
    legs = testbed.running_leg(Side.FROM), testbed.running_leg(Side.TO)
    for leg, dtls in zip(legs, (flooded, other), strict=True):
        give(testbed, leg, dtls=dtls)
    protocols = testbed.relay.plane._forwarding.protocols
    for _ in range(MAX_WAITING):
        protocols.receive(socket_of(legs[0]), memoryview(DTLS), Endpoint("198.51.100.9", 9))
    bob.send_raw(DTLS, call.for_callee)
    testbed.turn_until(lambda: bool(other.validated), "the other end is served")
    assert len(flooded.validated) < 2 * STEPS_A_TURN, "before the flood has been worked off"
    lost = testbed.stats().drop_protocol_overflow
    assert lost > MAX_WAITING * 3 // 4
    assert legs[0].drops is not None
    assert legs[0].drops[Drop.PROTOCOL_OVERFLOW] == lost
    assert legs[1].drops is None


class Broken(Echo):
    """Has a bug, and counts how often it is met."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0

    def take_output(self) -> list[Datagram]:
        self.failures += 1
        raise ZeroDivisionError


def test_a_check_that_waits_and_fails_costs_itself_alone(
    testbed: RelayTestbed,
    make_peer: MakePeer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(protocols, "CHECKS_A_TURN", 1)
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    ends = [Broken() for _ in Side]
    for side, ice in zip(Side, ends, strict=True):
        give(testbed, testbed.running_leg(side), ice=ice)
    for peer, to in ((alice, call.for_caller), (bob, call.for_callee)):
        peer.send_raw(STUN, to)
        peer.send_raw(STUN, to)
    testbed.turn_until(lambda: [each.failures for each in ends] == [2, 2], "each check meets the bug")
    assert 1 <= caplog.text.count("\nZeroDivisionError") <= 2, "a stream of them fills no disk"


@pytest.mark.parametrize("packet", [STUN, DTLS])
def test_a_protocol_that_fails_costs_one_packet(
    testbed: RelayTestbed, packet: bytes, make_peer: MakePeer, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    give(testbed, testbed.running_leg(Side.TO), **{"ice" if packet is STUN else "dtls": Broken()})
    bob.send_raw(packet, call.for_callee)
    testbed.turn_until(lambda: "ZeroDivisionError" in caplog.text, "the bug is logged")
    alice.send_raw(PACKET, call.for_caller)
    testbed.turn_until(lambda: testbed.running_leg(Side.FROM).packets > 1, "the others are served")


def test_what_a_call_leaves_unfinished_ends_with_its_timer(
    testbed: RelayTestbed, call: Conversation, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed.converse(alice, bob, call)
    dtls = Echo()
    give(testbed, testbed.running_leg(Side.FROM), dtls=dtls)
    alice.send_raw(DTLS, call.for_caller)
    assert testbed.receive(alice)[0] == DTLS
    testbed.relay.close_call(call.key.call_id)
    testbed.turn_until(lambda: dtls.closed or dtls.timer_at == math.inf, "its timer is due")
    assert dtls.closed or testbed.receive(alice)[0] == b"in time"
