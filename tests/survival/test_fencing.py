"""The host that has lost its calls sends nothing for them, with two faults at once and with either path.

The phones go on sending to the old host, as if the address had not moved; a tap sees all that it sends.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import psutil
import pytest

from tests.constants import set_constants
from tests.netns import needs_namespaces
from tools.harness.call import RelayedCall
from tools.harness.deployment import has_ended
from tools.harness.hosts import PREFIX, Host, Hosts, Link, some_hosts
from tools.harness.waiting import eventually
from tools.rtpload.worker.phone import wall_clock_offset_ns
from tools.survive.host_faults import serves
from tools.survive.host_scenario import host_path
from tools.survive.taps import Tap

pytestmark = [pytest.mark.valkey, pytest.mark.timeout(180)]

CALLS = 4
PACE_S = 0.005
PATIENCE_S = 60.0
ENDED_S = 30.0
LEASE_S = 12
"""Four times that of other hosts: a busy host renews it late, and media are to go on after a fault."""
STALL_S = LEASE_S + 1.0
REPLY_S = 90.0
"""How long a relay waits for the server's answer: for longer than the server stalls."""
MIN_GOES_ON_NS = 500_000_000
"""Most of the lease is left when the fault begins; a busy host is late."""


class Talk:
    """Both phones of each call send at a pace, until the block ends."""

    def __init__(self, calls: Sequence[RelayedCall]) -> None:
        self._calls = calls
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="talk")

    def __enter__(self) -> "Talk":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(PACE_S):
            for call in self._calls:
                with contextlib.suppress(OSError):  # the port is closed: the shard has ended
                    call.alice.send(b"media", call.for_alice)
                with contextlib.suppress(OSError):
                    call.bob.send(b"media", call.for_bob)


class Sent(NamedTuple):
    """What the old host sent, all times monotonic nanoseconds.

    Attributes:
        times: of its packets.
        began_ns: when the fault began.
        promoted_ns: when the server gave the calls to the standby.
    """

    times: Sequence[int]
    began_ns: int
    promoted_ns: int


class Pair:
    """A host that serves calls, its standby, and phones that never learn of a move."""

    def __init__(self, network: Hosts, calls: Sequence[RelayedCall]) -> None:
        self.network = network
        self.calls = calls
        self.one, self.two = network.hosts

    def strike(self, fault: "Fault") -> Sent:
        """Let a fault strike, wait until the standby serves, and look at what the old host sends then."""
        tap = Tap(self.network, self.one)
        with contextlib.ExitStack() as stack:
            stack.enter_context(Talk(self.calls))
            eventually(self._flows, "media take the path of this test", PATIENCE_S)
            began_ns = time.monotonic_ns()
            fault.begin(self.one)
            fault.go_on(self.one)
            eventually(lambda: serves(self.two), "the standby serves", PATIENCE_S)
            fault.end(self.one)
            times = tap.close()
        return Sent(sorted(at for each in times.values() for at in each), began_ns, self._promoted_ns())

    def _promoted_ns(self) -> int:
        """An epoch is the server's clock, in milliseconds, when it gave the calls to a relay."""
        with self.network.phones.entered():
            epoch_ms = self.network.server.client().hget(f"{{{PREFIX}}}:group", "epoch")
        return int(epoch_ms or 0) * 1_000_000 - wall_clock_offset_ns()

    def _flows(self) -> bool:
        stats = self.one.deployment.stats().totals
        return stats.packets_out > 100 and (stats.kernel_packets > 100) == self.one.deployment.kernel


@pytest.fixture(params=["user space", pytest.param("kernel", marks=[pytest.mark.kernel, pytest.mark.full])])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    needs_namespaces()
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(some_hosts(lease_s=LEASE_S, **host_path(request.param == "kernel")))
        one, two = network.hosts
        network.move_address(one)
        one.start()
        two.start_standby()
        calls = [network.make_call(one, f"call {number}") for number in range(CALLS)]
        for call in calls:
            stack.callback(call.hang_up)
        two.wait_until_warm(CALLS)
        yield Pair(network, calls)


def stop_the_supervisor(one: Host) -> None:
    one.deployment.processes()[0].suspend()


def stop_everything(one: Host) -> None:
    one.stop()


def stop_everything_and_cut_the_server(one: Host) -> None:
    one.cut(Link.STORE)
    one.stop()


def kill_the_supervisor_and_cut_the_server(one: Host) -> None:
    one.cut(Link.STORE)
    one.deployment.kill_supervisor()


def resume_the_shards(one: Host) -> None:
    for process in one.deployment.processes()[1:]:
        process.resume()


def start_a_standby(one: Host) -> None:
    one.launch(standby=True).program.wait_for_line("trying again every second")


def resume_everything(one: Host) -> None:
    processes = one.deployment.processes()
    one.resume(processes)
    eventually(lambda: all(map(has_ended, processes)), "the host that was stopped ends", ENDED_S)


def nothing(_one: Host) -> None:
    pass


class Fault(NamedTuple):
    """What happens to the old host: at once, then, and when the standby serves.

    Attributes:
        shards_run: whether its shards run meanwhile.
    """

    begin: Callable[[Host], None]
    go_on: Callable[[Host], None] = nothing
    end: Callable[[Host], None] = nothing
    shards_run: bool = True


FAULTS = {
    "its supervisor is stopped": Fault(stop_the_supervisor, end=resume_everything),
    "it is stopped": Fault(stop_everything, end=resume_everything, shards_run=False),
    "its supervisor is killed, and the server cut off": Fault(kill_the_supervisor_and_cut_the_server),
    "so it is, and starts as a standby": Fault(kill_the_supervisor_and_cut_the_server, start_a_standby),
    "its supervisor is stopped, and the server cut off": Fault(
        stop_everything_and_cut_the_server, resume_the_shards, resume_everything
    ),
    "it is stopped, and the server cut off": Fault(
        stop_everything_and_cut_the_server, end=resume_everything, shards_run=False
    ),
}
QUICK = "its supervisor is killed, and the server cut off"


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=() if name == QUICK else pytest.mark.full) for name in FAULTS]
)
def test_the_old_host_sends_nothing_once_another_has_its_calls(pair: Pair, fault: str) -> None:
    sent = pair.strike(FAULTS[fault])
    late = [at - sent.promoted_ns for at in sent.times if at >= sent.promoted_ns]
    assert not late, f"{len(late)} packets, up to {max(late) / 1e6:.0f} ms late"
    if FAULTS[fault].shards_run or pair.one.deployment.kernel:
        assert sent.times[-1] > sent.began_ns + MIN_GOES_ON_NS, "media did not go on meanwhile"


@pytest.mark.full
def test_an_answer_that_comes_when_the_lease_is_over_keeps_no_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server stalls for longer than the lease, but not for as long as the relay waits for its answer."""
    needs_namespaces()
    set_constants(monkeypatch, {"nh.supervisor.store.valkey.failures:REPLY_S": REPLY_S})
    with some_hosts(lease_s=LEASE_S) as network:
        one, two = network.hosts
        network.move_address(one)
        one.start()
        two.start_standby()
        two.deployment.relay.program.wait_for_line("waiting until it ends")
        server = psutil.Process(network.server.program.pid)

        def resume(_one: Host) -> None:
            time.sleep(STALL_S)
            server.resume()

        with network.make_call(one, "call") as call:
            sent = Pair(network, [call]).strike(Fault(lambda _one: server.suspend(), resume))
        assert sent.times[-1] < sent.promoted_ns
        output = one.deployment.relay.program.output
        assert f"the lease of {LEASE_S} s ran out" in output
        assert "has not answered" not in output
