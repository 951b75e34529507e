"""One fault of a host under load: what each stream lost, what both hosts sent, and which calls are gone."""

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Activate, Allocate, TransactionKey
from nh.errors import NhError
from tools.harness.hosts import LEASE_S, NG_PORT, PHONES, VIRTUAL, Host, Hosts, some_hosts
from tools.harness.waiting import eventually
from tools.rtpload.options import ControlKind, LoadOptions
from tools.survive.background_load import background_load
from tools.survive.calls import changes, read_calls
from tools.survive.host_faults import MOVES, HostFault, strike
from tools.survive.limits import BUSY_HOST_S, counters_stay
from tools.survive.scenario import (
    HANG_S,
    MEDIA_AFTERWARDS_S,
    RELAY_NICE,
    Outcome,
    load_options,
    wait_until_latched,
)
from tools.survive.taps import Overlap, overlap, taps
from tools.survive.verdict import Verdict

CALLS: Final = 20
SHARDS: Final = 2
STORED_AFTER_S: Final = 0.2
"""A call that was answered so long before the death of its host outlives it."""

COMMAND_TIMEOUT_S: Final = 20.0
"""What is judged is media: a command of the tool may wait for a busy host."""

PAUSE_S: Final = 0.02
STORED_S: Final = 10.0


class HostOutcome(msgspec.Struct, frozen=True):
    """What came of a fault of a host.

    Args:
        outcome: of the load.
        both: what the first host sent for calls that the second one was sending for already.
        both_s: for how long it may do so; 0.0: it must send nothing.
        answered: how many calls were answered in the second before the fault, beside the load's.
        gone: those that were answered early enough and are gone all the same.
    """

    outcome: Outcome
    both: Overlap
    both_s: float
    answered: int
    gone: Sequence[str]

    @property
    def failures(self) -> list[str]:
        """All that went wrong; empty if all promises were kept."""
        failures = [*self.outcome.failures, *self.gone]
        if self.both.packets and self.both.longest_s >= self.both_s:
            failures.append(f"both hosts sent for one call for {self.both.longest_s:.3f} s")
        return failures

    @property
    def losses(self) -> Iterator[str]:
        """What each stream lost, a line each."""
        began_ns = self.outcome.fault.began_ns
        for record in self.outcome.report.streams:
            holes = (
                f"{hole.first} to {hole.last} ({(hole.sent_ns - began_ns) / 1e6:+.0f} ms)"
                for hole in record.holes
            )
            yield f"{record}: {record.lost} of {record.sent} packets lost: {', '.join(holes)}"

    def __str__(self) -> str:
        return (
            f"{self.outcome}; of {self.answered} calls answered meanwhile {len(self.gone)} are gone;"
            f" both hosts sent for one call for {1000 * self.both.longest_s:.0f} ms at most,"
            f" the first one {self.both.packets} packets"
        )


def host_path(kernel: bool) -> dict[str, Any]:
    """Settings of relays on hosts whose media go through the kernel, or through user space."""
    return {"kernel": "on", "kernel_interface": "eth0"} if kernel else {"kernel": "off"}


@contextlib.contextmanager
def hosts_with_relays(*, kernel: bool = False, lease_s: float = LEASE_S) -> Iterator[Hosts]:
    """Two hosts: the first one has the address and serves, the second one is its standby.

    Args:
        kernel: whether media go through the kernel.
        lease_s: see some_hosts().
    """
    settings = {"hang_s": HANG_S, "command_timeout_s": COMMAND_TIMEOUT_S, **host_path(kernel)}
    with some_hosts(shards=SHARDS, nice=RELAY_NICE, lease_s=lease_s, **settings) as network:
        one, two = network.hosts
        network.move_address(one)
        one.start()
        two.start_standby()
        yield network


def play_on_hosts(
    network: Hosts, kind: HostFault, rng: random.Random, *, calls: int = CALLS, patience_s: float = 0.0
) -> HostOutcome:
    """Play media in many calls and set up others, let the fault strike at a random instant, and judge.

    Args:
        network: as of hosts_with_relays.
        kind: the fault.
        rng: all chance.
        calls: of the load.
        patience_s: how much longer gaps and starts may be than promised.

    Raises:
        HarnessError: the other host does not serve.
        LoadFailed, NhError: as a load.
    """
    one, two = network.hosts
    stored_after_ns = round((STORED_AFTER_S + min(patience_s, BUSY_HOST_S)) * 1e9)
    with network.phones.entered(), taps(network) as (first, second):
        with background_load(host_load(calls)) as load:
            wait_until_latched(one.deployment, load, calls)
            eventually(lambda: len(network.stored()) >= calls, "all calls are stored", STORED_S, poll_s=0.1)
            before = read_calls(one.deployment.address)
            with Answers(one) as answers:
                time.sleep(1.0 + rng.uniform(0, 0.5))
                eventually(
                    lambda: answers.until(time.monotonic_ns() - stored_after_ns),
                    "a call is answered and stored",
                    STORED_S,
                )
                fault = strike(kind, network, one, two, rng)
            time.sleep(MEDIA_AFTERWARDS_S)
            after = read_calls((two if kind in MOVES else one).deployment.address)
            report = load.stop()
        sent = first.close(), second.close()
    verdict = Verdict([fault], kernel=one.deployment.kernel, hang_s=HANG_S, patience_s=patience_s)
    early = answers.until(fault.began_ns - stored_after_ns)
    return HostOutcome(
        Outcome(
            fault,
            report,
            changes(before, after, staying=0, counters=lambda leg: counters_stay(kind, kernel=leg.kernel)),
            list(verdict.findings(report.streams)),
        ),
        overlap(*sent),
        LEASE_S + patience_s if kind is HostFault.MOVE else 0.0,
        len(early),
        [f"call {name.decode()} was answered and is gone" for name in early if name not in after],
    )


def host_load(calls: int, seed: int = 1) -> LoadOptions:
    """A load over ng, at the address that moves."""
    return msgspec.structs.replace(
        load_options(f"{VIRTUAL}:{NG_PORT}", calls=calls, seed=seed),
        control=ControlKind.NG,
        phone_addresses=(PHONES,),
        timeout_s=1.0,
        retry_s=30.0,
    )


class Answers:
    """Sets up calls at a host, one after the other, until the host answers no more or the block ends."""

    def __init__(self, host: Host) -> None:
        self._address = host.deployment.address
        self._answered: list[tuple[int, bytes]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="answers")

    def until(self, at_ns: int) -> list[bytes]:
        """The call-ids of those that were answered by then."""
        return [name for answered_ns, name in self._answered if answered_ns <= at_ns]

    def __enter__(self) -> "Answers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        media = (Media(PHONES, 9, 2, "RTP/AVP", "audio"),)  # no media are sent: any port will do
        with contextlib.suppress(NhError), NativeClient(self._address) as client:
            for number in itertools.count():
                key = TransactionKey(b"answered-%d" % number, 1, b"from", b"to")
                for side in Side:
                    client.request(Allocate(key, side, VIRTUAL, media))
                client.request(Activate(key))
                self._answered.append((time.monotonic_ns(), key.call_id))
                if self._ended.wait(PAUSE_S):
                    return
