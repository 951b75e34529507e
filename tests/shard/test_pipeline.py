"""The media pipeline: which plan a socket has, and where transforms and taps take part."""

import contextlib
import dataclasses
import time
from collections.abc import Iterable

import pytest

from nh.calls.drop import Drop
from nh.calls.latching.source import SourcePolicy
from nh.calls.leg import Leg
from nh.calls.media import Endpoint, Side
from nh.fastpath.loader import LoadedProgram
from nh.shard.media.pipeline.fast_readers import SocketReader
from nh.shard.media.pipeline.plan import PLAIN, Admit, Plan, plan_for
from nh.shard.media.sockets.loop_guard import LocalPorts
from nh.shard.media.sockets.media_socket import MediaSocket, socket_of
from tests.calls.legs import make_leg
from tests.kernel_paths import new_kernel_path
from tests.shard.conftest import MakePeer, MakeTestbed
from tests.shard.testbed import PACKET, RelayTestbed
from tools.harness.media_peer import RTCP

LOCAL_PORTS = LocalPorts([(20_000, 20_099)], ["192.0.2.1"])
ALICE, BOB = Endpoint("198.51.100.1", 4000), Endpoint("198.51.100.2", 4000)
LOCAL = Endpoint("192.0.2.1", 20_010)


@dataclasses.dataclass
class Pair:
    """Alice's RTP leg and Bob's."""

    alice: Leg
    bob: Leg

    def plan(self, *, connected: bool = False) -> Plan:
        """Of the socket that Alice sends to."""
        return plan_for([self.alice], connected=connected, local_ports=LOCAL_PORTS)


def make_pair(bob: Endpoint = BOB) -> Pair:
    pair = Pair(make_leg(announced=ALICE), make_leg(announced=bob))
    pair.alice.other, pair.bob.other = pair.bob, pair.alice
    return pair


def upper(packet: memoryview) -> memoryview:
    """A trivial transform."""
    return memoryview(bytes(packet).upper())


# --- plans --------------------------------------------------------------------------------------------


def test_without_a_leg_every_packet_is_dropped() -> None:
    assert plan_for([], connected=False, local_ports=LOCAL_PORTS) == Plan(Admit.NO_SESSION)


def test_until_a_socket_is_connected_packets_are_admitted_by_source() -> None:
    assert make_pair().plan() == Plan(Admit.BY_SOURCE)


def test_a_connected_socket_has_the_plain_plan() -> None:
    assert make_pair().plan(connected=True) == PLAIN


def test_rtcp_on_the_rtp_port_is_demultiplexed() -> None:
    pair, rtcp = make_pair(), make_pair()
    pair.alice.rtcp = rtcp.alice
    assert pair.plan(connected=True) == Plan(Admit.BY_KERNEL, demultiplexes=True)


def test_the_ttl_is_read_where_packets_go_on_to_a_local_port() -> None:
    assert make_pair(bob=LOCAL).plan(connected=True) == Plan(Admit.BY_KERNEL, reads_ttl=True)
    assert make_pair(bob=LOCAL).plan() == Plan(Admit.BY_SOURCE, reads_ttl=True)


def test_a_leg_with_a_transform_or_a_tap_is_not_plain() -> None:
    transformed, tapped = make_pair(), make_pair()
    transformed.alice.transforms = (upper,)
    tapped.alice.taps = (lambda _packet: None,)
    for pair in (transformed, tapped):
        assert pair.plan(connected=True) == Plan(Admit.BY_KERNEL, transforms=True)


# --- transforms and taps ------------------------------------------------------------------------------


def recompile(testbed: RelayTestbed) -> None:
    """What a feature does that gives a leg a stage."""
    (session,) = testbed.relay.plane._running
    testbed.relay.plane._forwarding.apply(session.legs)


@pytest.mark.parametrize("policy", [SourcePolicy.FIRST, SourcePolicy.HANDOVER], ids=["connected", "latching"])
def test_a_transform_rewrites_the_packets_of_its_leg_and_a_tap_sees_the_result(
    make_testbed: MakeTestbed, make_peer: MakePeer, policy: SourcePolicy
) -> None:
    testbed = make_testbed(policy=policy)
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    tapped: list[bytes] = []
    leg = testbed.running_leg(Side.FROM)
    leg.transforms = (upper,)
    leg.taps = (lambda packet: tapped.append(bytes(packet)),)
    recompile(testbed)
    alice.send_raw(b"hello", call.for_caller)
    assert testbed.receive(bob)[0] == b"HELLO"
    assert tapped == [b"HELLO"]
    testbed.passes(bob, call.for_callee, alice, payload=b"hello")
    testbed.passes(alice, call.for_caller, bob, RTCP)
    assert tapped == [b"HELLO"], "the other legs have no stages"
    leg.transforms = leg.taps = ()
    recompile(testbed)
    testbed.passes(alice, call.for_caller, bob, payload=b"hello")


def test_transforms_apply_in_their_order(make_testbed: MakeTestbed, make_peer: MakePeer) -> None:
    testbed = make_testbed()
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    testbed.running_leg(Side.FROM).transforms = (upper, lambda packet: memoryview(bytes(packet) + b"!"))
    recompile(testbed)
    alice.send_raw(b"hello", call.for_caller)
    assert testbed.receive(bob)[0] == b"HELLO!"
    assert testbed.leg(call.key, Side.FROM).bytes == len(PACKET) + len(b"hello"), "as it was received"


@pytest.mark.kernel
def test_a_leg_with_stages_stays_out_of_the_kernel(
    ports: range, make_peer: MakePeer, kernel_program: LoadedProgram
) -> None:
    testbed = RelayTestbed(ports, kernel=new_kernel_path(kernel_program))
    try:
        alice, bob = make_peer(), make_peer()
        call = testbed.call(alice, bob)
        testbed.converse(alice, bob, call)
        assert testbed.stats().kernel_flows == 4
        testbed.running_leg(Side.FROM).transforms = (upper,)
        recompile(testbed)
        assert testbed.stats().kernel_flows == 3
        leg = testbed.leg(call.key, Side.FROM)
        assert leg.user_space_because == "its packets are transformed or observed"
        alice.send_raw(b"hello", call.for_caller)
        assert testbed.receive(bob)[0] == b"HELLO"
    finally:
        testbed.close()


# --- apply --------------------------------------------------------------------------------------------


def test_what_a_batch_changed_is_applied_after_its_last_packet(
    testbed: RelayTestbed, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    packets: list[int] = []
    forwarding = testbed.relay.plane._forwarding
    apply = forwarding.apply

    def apply_and_note(legs: Iterable[Leg]) -> None:
        if legs := tuple(legs):  # housekeeping finds none
            packets.append(
                sum(leg.packets for session in testbed.relay.plane._running for leg in session.legs)
            )
        apply(legs)

    monkeypatch.setattr(forwarding, "apply", apply_and_note)
    alice.send(PACKET, call.for_caller)
    bob.send(PACKET, call.for_callee)
    assert testbed.receive(bob)[0] == testbed.receive(alice)[0] == PACKET
    testbed.turn_until(lambda: len(packets) == 2, "both legs are applied")
    assert all(packets), "no leg was applied before its packet was sent"


def test_a_leg_that_cannot_be_applied_does_not_keep_the_others_from_it(
    ports: range, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.closing(RelayTestbed(ports)) as testbed:
        alice, bob = make_peer(), make_peer()
        call = testbed.call(alice, bob)
        broken = testbed.running_leg(Side.FROM)
        forwarding = testbed.relay.plane._forwarding
        apply = forwarding.apply

        def fail_for_one(legs: Iterable[Leg]) -> None:
            if broken in legs:
                raise ZeroDivisionError
            apply(legs)

        monkeypatch.setattr(forwarding, "apply", fail_for_one)
        alice.send(PACKET, call.for_caller)
        bob.send(PACKET, call.for_callee)
        assert testbed.receive(bob)[0] == testbed.receive(alice)[0] == PACKET
        assert "could not follow its source" in caplog.text
        other = socket_of(testbed.running_leg(Side.TO))
        testbed.turn_until(lambda: other.connected, "the other end's socket is connected")
        testbed.passes(alice, call.for_caller, bob, payload=b"by source, as before")


def test_a_socket_that_gets_no_plan_drops_its_packet_once(
    ports: range, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.closing(RelayTestbed(ports)) as testbed:
        alice, bob = make_peer(), make_peer()
        call = testbed.call(alice, bob)
        broken = socket_of(testbed.running_leg(Side.FROM))
        paths = testbed.relay.plane._forwarding._paths
        plan = paths.plan

        def fail_for_one(media_socket: MediaSocket) -> SocketReader:
            if media_socket is broken:
                raise ZeroDivisionError
            return plan(media_socket)

        monkeypatch.setattr(paths, "plan", fail_for_one)
        alice.send(PACKET, call.for_caller)
        testbed.turn_until(lambda: testbed.relay.plane.traffic.drops[Drop.NO_SESSION] == 1, "drop")
        for _ in range(3):
            testbed.passes(bob, call.for_callee, alice)
        assert caplog.text.count("could not be served") == 1


def test_packets_that_waited_have_the_time_at_which_they_are_served(
    ports: range, make_peer: MakePeer
) -> None:
    """Not that of the last batch, which may be long ago on an idle relay."""
    with contextlib.closing(RelayTestbed(ports)) as testbed:
        alice, bob = make_peer(), make_peer()
        call = testbed.call(alice, bob)
        leg = testbed.running_leg(Side.FROM)
        plane = testbed.relay.plane
        plane.poll.now = before = time.monotonic() - 3600
        alice.send(PACKET, call.for_caller)
        plane._forwarding.apply(plane._forwarding._paths.serve_waiting(socket_of(leg)))
        assert leg.packets == 1
        assert leg.last_seen is not None
        assert leg.last_seen > before + 3500
