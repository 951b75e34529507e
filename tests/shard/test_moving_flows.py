"""Flows that move to other maps, as with `nh shards N`: each packet arrives meanwhile, and counts once."""

import contextlib
import ctypes
import errno
import os
from collections.abc import Callable, Iterator

import pytest

from nh.errors import KernelPathUnavailable
from nh.fastpath import bpf, layout
from nh.fastpath.loader import LoadedProgram
from nh.fastpath.moving_flows import MovingFlows
from tests.kernel_paths import new_kernel_path, program_on_loopback
from tests.shard.conftest import MakeKernelPath
from tests.shard.next_shard import NextShard, Talk
from tests.shard.testbed import Conversation, RelayTestbed

pytestmark = pytest.mark.kernel

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


@pytest.fixture
def next_shard(
    testbed: RelayTestbed,
    ports: range,
    kernel_program: LoadedProgram,
    other_program: LoadedProgram,
    relayed_call: Conversation,
) -> Iterator[NextShard]:
    """It has maps of its own, and has restored no call yet."""
    path = new_kernel_path(other_program)
    path.move_from(MovingFlows(os.dup(kernel_program.flows_fd), os.dup(kernel_program.counters_fd)))
    with NextShard(testbed, ports, path) as shard:
        yield shard


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
