"""Flows that move to other maps, as with `nh shards N`: each packet arrives meanwhile, and counts once."""

import contextlib
import ctypes
import errno
import os
from collections.abc import Callable, Iterator

import pytest

from nh.calls.leg import Leg
from nh.calls.settings import RelayConfig
from nh.errors import KernelPathUnavailable
from nh.fastpath import bpf, layout
from nh.fastpath.loader import LoadedProgram
from nh.fastpath.moving_flows import MovingFlows
from nh.ipc.link_messages import RestoreCall
from nh.loop import SelectorLoop
from nh.shard.recovery.recovery import Recovery
from nh.shard.relay import Relay
from tests.calls.rtp import rtp_packet
from tests.kernel_paths import new_kernel_path, program_on_loopback
from tests.shard.conftest import MakeKernelPath
from tests.shard.test_restore import Held
from tests.shard.testbed import Conversation, RelayTestbed
from tools.harness.media_peer import MediaPeer
from tools.harness.waiting import turn_until

pytestmark = pytest.mark.kernel

TALK = 77
"""SSRC of what Alice says."""

FAR = 100
"""More packets than a stream remembers: had some waited at the socket meanwhile, they would be a restart."""


@pytest.fixture
def make_kernel_path(kernel_program: LoadedProgram) -> MakeKernelPath:
    """The relay of the run before has the path in the kernel."""
    return lambda: new_kernel_path(kernel_program)


@pytest.fixture
def other_program() -> Iterator[LoadedProgram]:
    """The program of the next run, with maps of its own."""
    yield from program_on_loopback()


def flows_in(program: LoadedProgram) -> int:
    """How many flows there are, without markers."""
    flows = bpf.elements(program.flows_fd, layout.KEY.size, layout.FLOW.size)
    return sum(layout.owner_of(flow).mtu_bytes > 0 for _, flow in flows)


class NextShard:
    """A shard of the next run, which goes on with the calls of a relay that has stopped."""

    def __init__(self, before: RelayTestbed, ports: range, old: LoadedProgram, new: LoadedProgram) -> None:
        kernel = before.relay.plane.kernel
        assert kernel is not None
        before.relay.pause()
        kernel.hold()
        path = new_kernel_path(new)
        path.move_from(MovingFlows(os.dup(old.flows_fd), os.dup(old.counters_fd)))
        self.relay = Relay(RelayConfig(ports=(ports[0], ports[-1])), kernel=path)
        self.loop = SelectorLoop()
        self._recovery = Recovery(self.relay, Held())
        self._checkpoints = list(Recovery(before.relay, Held()).checkpoints())

    def restore(self) -> None:
        for call_id, sockets, snapshot in self._checkpoints:
            inherited = {endpoint: os.dup(fd) for endpoint, fd in sockets}
            self._recovery.restorer.restore(inherited, [RestoreCall(call_id, snapshot)])

    def serve(self) -> None:
        self._recovery.attach(self.loop)
        self.relay.update_stats()

    def leg(self, call: Conversation) -> Leg:
        """The leg that receives what the caller says."""
        return self.relay.table.get_call(call.key.call_id).running[0].legs[0]

    def close(self) -> None:
        self.relay.close()
        self.loop.close()


@pytest.fixture
def next_shard(
    testbed: RelayTestbed,
    ports: range,
    kernel_program: LoadedProgram,
    other_program: LoadedProgram,
    call: Conversation,
) -> Iterator[NextShard]:
    """It has got the calls of the testbed's relay, and restored none yet."""
    shard = NextShard(testbed, ports, kernel_program, other_program)
    with contextlib.closing(shard):
        yield shard


@pytest.fixture
def call(testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer) -> Conversation:
    """A call whose four directions the kernel relays."""
    call = testbed.call(alice, bob)
    for _ in range(2):
        testbed.converse(alice, bob, call)
    return call


class Talk:
    """What Alice says to Bob, in packets that are numbered from 0."""

    def __init__(self, alice: MediaPeer, bob: MediaPeer, call: Conversation) -> None:
        self._alice, self._bob, self._call = alice, bob, call
        self.sent = 0
        self.heard: list[int] = []

    def say(self, packets: int) -> None:
        for _ in range(packets):
            packet = rtp_packet(self.sent, self.sent * 160, ssrc=TALK)
            self._alice.send(packet, self._call.for_caller)
            self.sent += 1
            self._listen()

    def assert_heard(self, shard: NextShard) -> None:
        """Bob hears each packet once, in order, and the shard's statistics say so."""

        def all_is_heard() -> bool:
            self._listen()
            return len(self.heard) >= self.sent

        turn_until(shard.loop, all_is_heard, "Bob has heard all")
        assert self.heard == list(range(self.sent))
        (stream,) = [each for each in shard.leg(self._call).streams if each.ssrc == TALK]
        fields = stream.to_fields()
        assert (fields.packets, fields.lost, fields.reordered, fields.duplicates, fields.highest) == (
            *(self.sent, 0, 0, 0),
            self.sent - 1,
        )
        assert fields.seen == 2 ** min(self.sent, 64) - 1
        leg = shard.leg(self._call)
        leg.collect()
        assert leg.packets == self.sent + 2

    def _listen(self) -> None:
        for packet in self._bob.pending():
            assert packet[8:12] == TALK.to_bytes(4)
            self.heard.append(int.from_bytes(packet[2:4]))


@pytest.fixture
def talk(call: Conversation, alice: MediaPeer, bob: MediaPeer) -> Talk:
    """It begins before the calls move."""
    talk = Talk(alice, bob, call)
    talk.say(3)
    return talk


@contextlib.contextmanager
def before_each_step(do: Callable[[], None]) -> Iterator[None]:
    """Have something done before each system call that reads or writes maps."""
    call = bpf._bpf

    def slowly(command: bpf._Command, attributes: "bytes | ctypes.Array[ctypes.c_char]", what: str) -> int:
        do()
        return call(command, attributes, what)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpf, "_bpf", slowly)
        yield


@contextlib.contextmanager
def refusing(what: str, code: int) -> Iterator[None]:
    """Have the kernel refuse a function of `bpf`."""

    def refuses(*_: object) -> None:
        raise KernelPathUnavailable(os.strerror(code), errno=code)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpf, what, refuses)
        yield


def test_flows_are_in_the_new_maps_alone_once_their_calls_are_restored(
    next_shard: NextShard, kernel_program: LoadedProgram, other_program: LoadedProgram
) -> None:
    assert (flows_in(kernel_program), flows_in(other_program)) == (4, 0)
    next_shard.restore()
    assert (flows_in(kernel_program), flows_in(other_program)) == (0, 4)
    next_shard.serve()
    assert (flows_in(kernel_program), flows_in(other_program)) == (0, 4)


def test_a_talk_loses_nothing_whatever_pauses_there_are_between_the_steps_of_a_move(
    talk: Talk, next_shard: NextShard
) -> None:
    """So much is said in each pause that packets from before it, measured behind it, would be a restart."""
    with before_each_step(lambda: talk.say(FAR)):
        next_shard.restore()
        talk.say(FAR)
        next_shard.serve()
        talk.say(FAR)
    talk.assert_heard(next_shard)


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOMEM, errno.EBUSY], ids=errno.errorcode.get)
@pytest.mark.parametrize("what", ["lookup", "update", "delete"])
def test_a_talk_loses_nothing_where_the_kernel_refuses_a_step_of_the_move(
    what: str, code: int, talk: Talk, next_shard: NextShard, caplog: pytest.LogCaptureFixture
) -> None:
    with refusing(what, code):
        next_shard.restore()
        talk.say(3)
    next_shard.serve()
    talk.say(3)
    talk.assert_heard(next_shard)
    assert caplog.text.count(os.strerror(code)) == 1
