"""A kernel that lets no shard find or change the flows of the process before: calls and media go on."""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator

import pytest

from nh.calls.media import Endpoint
from nh.errors import KernelPathUnavailable
from nh.fastpath import bpf, layout
from nh.fastpath.flows import FlowTable
from nh.fastpath.loader import LoadedProgram
from nh.fastpath.netlink.routes import Routes
from nh.shard.media.kernel.path import KernelPath
from tests.kernel_paths import SLOTS, new_kernel_path
from tests.shard.conftest import MakeKernelPath
from tests.shard.next_shard import NextShard, Talk
from tests.shard.testbed import Conversation, RelayTestbed
from tools.harness.waiting import turn_until

pytestmark = pytest.mark.kernel

CODES = (errno.EPERM, errno.ENOMEM, errno.E2BIG, errno.EBUSY, errno.ENOSPC, errno.EINVAL)
AN_HOUR_S = 3600.0

MakeSuccessor = Callable[[], NextShard]


@pytest.fixture
def make_kernel_path(kernel_program: LoadedProgram) -> MakeKernelPath:
    """Every relay here has the path in the kernel."""
    return lambda: new_kernel_path(kernel_program)


@contextlib.contextmanager
def refusing(what: str, code: int) -> Iterator[None]:
    """Have the kernel refuse a function of `bpf`."""

    def refuses(*_: object) -> None:
        raise KernelPathUnavailable(os.strerror(code), errno=code)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpf, what, refuses)
        yield


@pytest.fixture
def make_successor(
    testbed: RelayTestbed, ports: range, kernel_program: LoadedProgram
) -> Iterator[Callable[[], NextShard]]:
    """Starts the next process of the testbed's shard, with the same part of the maps."""
    program, before = kernel_program, testbed.relay.plane.kernel
    assert before is not None
    shard = before._flows.shard
    with contextlib.ExitStack() as stack:

        def make() -> NextShard:
            flows = FlowTable(
                program.flows_fd,
                program.counters_fd,
                shard=shard,
                first_index=shard * SLOTS,
                indexes=SLOTS,
                successor=True,
            )
            return stack.enter_context(NextShard(testbed, ports, KernelPath(flows, Routes())))

        yield make


@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
@pytest.mark.parametrize("what", ["elements", "delete", "update", "lookup"])
def test_no_refusal_costs_a_shard_its_calls_or_a_packet(
    what: str, code: int, talk: Talk, make_successor: MakeSuccessor, caplog: pytest.LogCaptureFixture
) -> None:
    with refusing(what, code):
        shard = make_successor()
        shard.restore()
        talk.say(3)
        shard.serve()
        talk.say(3)
    turn_until(shard.loop, lambda: shard.stats().kernel_flows == 4, "the shard has all flows")
    talk.say(3)
    talk.assert_heard(shard)
    is_met = what == "elements"  # there is nothing to be changed
    assert (shard.stats().kernel_refused > 0) is is_met
    assert caplog.text.count(os.strerror(code)) == is_met


def test_calls_do_not_end_as_silent_while_flows_that_cannot_be_found_may_relay_them(
    talk: Talk, make_successor: MakeSuccessor
) -> None:
    with refusing("elements", errno.ENOMEM):
        shard = make_successor()
        shard.restore()
        shard.serve()
        shard.relay._housekeeping(time.monotonic() + AN_HOUR_S)
        assert shard.relay.calls == 1
        talk.say(3)
    shard.relay.update_stats()  # they are found, and no call has adopted them yet
    shard.relay._housekeeping(time.monotonic() + AN_HOUR_S)
    assert shard.relay.calls == 1
    turn_until(shard.loop, lambda: shard.stats().kernel_flows == 4, "the shard has all flows")
    talk.assert_heard(shard)
    shard.relay._housekeeping(time.monotonic() + AN_HOUR_S)
    assert shard.relay.calls == 0


@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
def test_flows_that_no_call_adopts_are_removed_once_the_kernel_lets_it(
    code: int, relayed_call: Conversation, make_successor: MakeSuccessor, caplog: pytest.LogCaptureFixture
) -> None:
    shard = make_successor()
    kernel = shard.relay.plane.kernel
    assert kernel is not None
    assert kernel._flows._own_flows()
    with refusing("delete", code):
        shard.serve()  # it has restored no call
        assert caplog.text.count(os.strerror(code)) == 1
        assert shard.stats().kernel_refused > 0
    turn_until(shard.loop, lambda: not kernel._flows._own_flows(), "they are gone")


def test_an_adopted_flow_that_cannot_be_changed_as_its_call_wants_ends(
    talk: Talk, relayed_call: Conversation, make_successor: MakeSuccessor, kernel_program: LoadedProgram
) -> None:
    key = layout.pack_key(Endpoint(*relayed_call.for_caller))
    before = bpf.lookup(kernel_program.flows_fd, key, layout.FLOW.size)
    assert before is not None
    shorter = layout.unpack_flow(before)._replace(mtu_bytes=1000)
    bpf.update(kernel_program.flows_fd, key, layout.pack_flow(shorter))
    shard = make_successor()
    with refusing("update", errno.EBUSY):
        shard.restore()
        leg = shard.leg(relayed_call)
        assert leg.offload is None
        assert leg.not_offloaded == os.strerror(errno.EBUSY)
    shard.serve()
    talk.say(3)
    turn_until(shard.loop, lambda: shard.stats().kernel_flows == 4, "all directions are in the kernel")
    talk.assert_heard(shard)
