"""A kernel that refuses changes to its flow table: calls and media go on, and no packet is counted twice."""

import errno
import os

import pytest

from nh.calls.media import Side
from nh.commands import TransactionKey
from nh.errors import KernelPathUnavailable
from nh.fastpath import bpf, layout
from nh.fastpath.loader import LoadedProgram
from nh.fastpath.netlink.events import Events
from nh.fastpath.netlink.routes import NoRoute, Routes
from tests.calls.rtp import PCMA, PCMU, rtp_packet
from tests.kernel_paths import new_kernel_path
from tests.shard.conftest import MakeKernelPath, MakeTestbed
from tests.shard.testbed import PACKET, RelayTestbed
from tools.harness.media_peer import MediaPeer

pytestmark = pytest.mark.kernel

BUSY = "the kernel is busy"


@pytest.fixture
def make_kernel_path(kernel_program: LoadedProgram) -> MakeKernelPath:
    """Every relay here has the path in the kernel."""
    return lambda: new_kernel_path(kernel_program)


def refuse(patch: pytest.MonkeyPatch, what: str) -> None:
    def refuses(*_: object) -> None:
        raise KernelPathUnavailable(BUSY, errno=errno.EBUSY)

    patch.setattr(bpf, what, refuses)


def kernel_flows(testbed: RelayTestbed) -> int:
    return testbed.stats().kernel_flows


def test_a_flow_that_is_not_taken_stays_in_user_space_and_is_tried_again(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = testbed.call(alice, bob)
    with pytest.MonkeyPatch.context() as patch:
        refuse(patch, "update")
        for _ in range(2):
            testbed.converse(alice, bob, call)
        assert testbed.leg(call.key, Side.FROM).user_space_because == BUSY
    testbed.turn_until(lambda: kernel_flows(testbed) == 4, "the kernel takes them")
    testbed.converse(alice, bob, call)
    assert testbed.stats().kernel_packets == 4


def test_a_flow_that_is_not_removed_goes_with_the_next_try(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = testbed.call(alice, bob)
    with pytest.MonkeyPatch.context() as patch:
        refuse(patch, "delete")
        for _ in range(3):
            testbed.converse(alice, bob, call)
        assert testbed.bye(call.key) == 1
        assert kernel_flows(testbed) == 4
        alice.send(PACKET, call.for_caller)  # nothing can be done about it
    testbed.turn_until(lambda: kernel_flows(testbed) == 0, "they are gone")
    stats = testbed.stats()
    assert (stats.packets_in, stats.kernel_packets) == (12 + 1, 8 + 1)


def test_a_re_invite_works_while_the_kernel_refuses_everything(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    first = testbed.call(alice, bob)
    testbed.converse(alice, bob, first)
    assert kernel_flows(testbed) == 4
    with pytest.MonkeyPatch.context() as patch:
        for what in ("update", "delete"):
            refuse(patch, what)
        again = TransactionKey(first.key.call_id, 2, first.key.id_from, first.key.id_to)
        second = testbed.call(alice, bob, key=again)
        for _ in range(3):
            testbed.converse(alice, bob, second)
    testbed.turn_until(lambda: kernel_flows(testbed) == 4, "the new session is there, the old one is gone")
    testbed.converse(alice, bob, second)
    stats = testbed.stats()
    assert (stats.packets_in, stats.packets_out) == (20, 20)


def test_a_flow_that_another_process_removed_does_no_harm(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer, kernel_program: LoadedProgram
) -> None:
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    for key, _ in bpf.elements(kernel_program.flows_fd, layout.KEY.size, layout.FLOW.size):
        bpf.delete(kernel_program.flows_fd, key)
    testbed.converse(alice, bob, call)
    testbed.bye(call.key)
    stats = testbed.stats()
    assert (stats.packets_in, stats.kernel_packets, stats.kernel_flows) == (8, 0, 0)


def test_a_route_that_could_not_be_asked_for_is_asked_for_again(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Routes, "find", lambda *_: NoRoute("the kernel did not say", sure=False))
        call = testbed.call(alice, bob)
        testbed.converse(alice, bob, call)
        because = testbed.leg(call.key, Side.FROM).user_space_because
        assert because == "127.0.0.1: the kernel did not say"
    testbed.turn_until(lambda: kernel_flows(testbed) == 4, "the kernel has said")


NOT_FOLLOWED = "127.0.0.1: changes of routes cannot be followed: Cannot allocate memory"


def refuse_to_tell_changes(patch: pytest.MonkeyPatch) -> None:
    """Have the system have no memory for a subscription to netlink."""

    def refuses(*_: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    patch.setattr(Events, "_subscribe", refuses)


def test_a_relay_that_cannot_follow_routes_starts_in_user_space_and_tries_again(
    make_testbed: MakeTestbed, alice: MediaPeer, bob: MediaPeer, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        refuse_to_tell_changes(patch)
        testbed = make_testbed()
        call = testbed.call(alice, bob)
        for _ in range(2):
            testbed.converse(alice, bob, call)
        assert testbed.leg(call.key, Side.FROM).user_space_because == NOT_FOLLOWED
        assert testbed.stats().kernel_packets == 0
    testbed.turn_until(lambda: kernel_flows(testbed) == 4, "the kernel takes them")
    testbed.converse(alice, bob, call)
    assert testbed.stats().kernel_packets == 4
    assert caplog.text.count("media stay in user space, and nh tries again") == 1


def test_flows_of_the_process_before_end_where_routes_cannot_be_followed(
    monkeypatch: pytest.MonkeyPatch, testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    kernel = testbed.relay.plane.kernel
    assert kernel is not None
    refuse_to_tell_changes(monkeypatch)
    kernel.watch(testbed.loop)
    testbed.turn_until(lambda: kernel_flows(testbed) == 0, "all directions are in user space")
    testbed.converse(alice, bob, call)
    assert testbed.leg(call.key, Side.FROM).user_space_because == NOT_FOLLOWED


def say(
    testbed: RelayTestbed, to: tuple[str, int], payload_type: int, sequence: int, ends: list[MediaPeer]
) -> None:
    packet = rtp_packet(sequence, sequence * 160, payload_type=payload_type)
    testbed.passes(ends[0], to, ends[1], payload=packet)


def test_a_codec_that_changes_just_before_the_end_does_not_disturb_it(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = testbed.call(alice, bob)
    for sequence, payload_type in enumerate((PCMU, PCMU, PCMA)):
        say(testbed, call.for_caller, payload_type, sequence, [alice, bob])
    assert testbed.bye(call.key) == 1
    assert testbed.stats().kernel_flows == 0


def test_a_codec_that_changes_is_measured_once_the_kernel_agrees(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = testbed.call(alice, bob)
    say(testbed, call.for_caller, PCMU, 0, [alice, bob])
    with pytest.MonkeyPatch.context() as patch:
        refuse(patch, "update")
        say(testbed, call.for_caller, PCMA, 1, [alice, bob])
        assert testbed.leg(call.key, Side.FROM).kernel
    for sequence in range(2, 5):
        say(testbed, call.for_caller, PCMA, sequence, [alice, bob])
        testbed.stats()
        assert testbed.leg(call.key, Side.FROM).kernel
    (stream,) = testbed.leg(call.key, Side.FROM).streams
    assert (stream.payload_type, stream.packets) == (PCMA, 5)
    assert stream.jitter_ms is not None
