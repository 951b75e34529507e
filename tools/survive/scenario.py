"""One fault under load, from the set-up of the calls to the verdict."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from nh.errors import Unavailable
from nh.stats.reading import StatsReading
from tools.harness.deployment import Deployment
from tools.harness.waiting import eventually
from tools.rtpload.options import ControlKind, LoadOptions
from tools.rtpload.report.values import Report
from tools.survive.background_load import BackgroundLoad, background_load
from tools.survive.calls import changes, read_calls
from tools.survive.faults import FaultKind, Injected, inject
from tools.survive.limits import CONSENT_S, counters_stay
from tools.survive.verdict import Verdict, longest_gaps_ms

CALLS: Final = 200
HANG_S: Final = 1.0
"""The setting of the relays that faults are tried on: the default would only make tests longer."""

SECURED_CALLS: Final = 100
"""With SRTP: the generator shares two CPUs with the relay, and each has more work with a packet."""

MEDIA_AFTERWARDS_S: Final = 2.0
MAX_S: Final = 300.0
RETRY_S: Final = 5.0
"""Longest wait of a client. Where a relay is gone for good, 200 calls wait for that one after another."""
LATCHED_S: Final = 20.0
ASK_EVERY_S: Final = 0.5
"""200 calls shown in detail are work for the shards, and would be seen in the gaps."""
GENERATOR_NICE: Final = -10
"""Packets leave in time whatever the fault keeps the CPUs busy with."""
RELAY_NICE: Final = -10
"""Shards have it from the supervisor. The fault is measured, and not what else runs on this host."""

COUNT_ANEW: Final = frozenset({FaultKind.KILL_ALL, FaultKind.RESTART})
"""Faults after which a relay begins to count what it did."""


class RelayUnderLoad(Protocol):
    """What a scenario needs of a relay, however it was started."""

    @property
    def address(self) -> str:
        """Its RPC socket."""

    @property
    def kernel(self) -> bool:
        """Whether its media go through the kernel."""

    def stats(self) -> StatsReading:
        """See Relay."""

    def last_output(self) -> str:
        """See Relay."""


class Outcome(msgspec.Struct, frozen=True):
    """The outcome of a scenario.

    Args:
        fault: what was done.
        report: of the load.
        changed: calls whose ports, sources or sessions changed.
        findings: what the streams lost beyond the promise.
        handshakes: how many handshakes of DTLS there were from the fault on.
    """

    fault: Injected
    report: Report
    changed: Sequence[str]
    findings: Sequence[str]
    handshakes: int = 0

    @property
    def failures(self) -> list[str]:
        """All that went wrong; empty if all promises were kept."""
        failures = [
            f"{it.what} failed {it.count} times: {it.reason}" for it in self.report.signalled.failures
        ]
        astray = [f"{self.report.misrouted} packets reached a wrong phone"] if self.report.misrouted else []
        damaged = self.report.both.damaged
        refused = [f"phones refused {damaged} packets"] if damaged else []
        again = [f"{self.handshakes} handshakes began anew"] if self.handshakes else []
        silent_s = self.report.browsers.longest_s if self.report.browsers else 0.0
        silent = [f"a browser got no answer for {silent_s:.1f} s"] if silent_s > CONSENT_S else []
        return [*self.findings, *self.changed, *failures, *astray, *refused, *again, *silent]

    @property
    def cost(self) -> str:
        """What it cost, in words."""
        records = self.report.streams
        gaps = longest_gaps_ms(records) or [0.0]
        lost, doubled = sum(record.lost for record in records), sum(len(record.doubled) for record in records)
        return (
            f"{len(records)} streams, {sum(record.sent for record in records)} packets:"
            f" {lost} lost, {doubled} doubled; longest gap of each RTP stream: {gaps[len(gaps) // 2]:.1f} ms"
            f" (median), {gaps[0]:.1f} ms (worst); sent late (p99)"
            f" {self.report.generator.lateness.p99_ms:.1f} ms"
        )

    def __str__(self) -> str:
        return f"{self.fault}. {self.cost}"


def kernel_settings(kernel: bool) -> dict[str, object]:
    """Settings of a relay whose media go through the kernel, on loopback, or through user space."""
    return {"kernel": "on", "kernel_interface": "lo"} if kernel else {"kernel": "off"}


def load_options(address: str, *, calls: int = CALLS, seed: int = 1) -> LoadOptions:
    """A load that can tell what became of each packet, and retries commands without an answer.

    Args:
        address: the control socket of the relay.
        calls: how many at once.
        seed: of all chance.
    """
    return LoadOptions(
        address=address,
        control=ControlKind.NATIVE,
        calls=calls,
        ramp=0,
        time_s=MAX_S,
        rtcp_interval_s=1,
        retry_s=RETRY_S,
        list_streams=True,
        nice=GENERATOR_NICE,
        seed=seed,
    )


def secured_load(relay: RelayUnderLoad, ng: str, suite: str) -> LoadOptions:
    """The same over ng, with SRTP between the relay and the callees.

    Args:
        relay: the relay.
        ng: its HOST:PORT of ng.
        suite: their crypto suite.
    """
    options = load_options(relay.address, calls=SECURED_CALLS)
    return msgspec.structs.replace(options, address=ng, control=ControlKind.NG, srtp=suite)


def browser_load(relay: RelayUnderLoad, ng: str, suite: str) -> LoadOptions:
    """The same with browsers as callees: ICE, DTLS, and audio, video and RTCP at one port (BUNDLE).

    A call has twice the packets of one without video, so there are half as many.

    Args:
        relay: the relay.
        ng: its HOST:PORT of ng.
        suite: what they have keys for.
    """
    secured = secured_load(relay, ng, suite)
    return msgspec.structs.replace(secured, webrtc=True, video=True, calls=secured.calls // 2)


def play_through(
    deployment: Deployment, kind: FaultKind, rng: random.Random, *, options: LoadOptions | None = None
) -> Outcome:
    """Play media in many calls, let the fault happen at a random instant, and see what it cost.

    Args:
        deployment: the relay.
        kind: the fault.
        rng: all chance.
        options: the load; None: load_options().

    Raises:
        HarnessError: the relay does not come back.
        LoadFailed, NhError: as a load.
    """
    return play_while(deployment, lambda: inject(kind, deployment, rng), rng, options=options)


def play_while(
    relay: RelayUnderLoad,
    happen: Callable[[], Injected],
    rng: random.Random,
    *,
    calls: int = CALLS,
    options: LoadOptions | None = None,
    patience_s: float = 0.0,
) -> Outcome:
    """The same for anything that may happen to a relay.

    Args:
        relay: the relay.
        happen: lets it happen, and returns when the relay is whole again.
        rng: chooses the instant.
        calls: of the load, unless there are `options`.
        options: the load.
        patience_s: how much longer gaps may be than promised.
    """
    options = options or load_options(relay.address, calls=calls)
    calls = options.calls
    with background_load(options) as load:
        wait_until_latched(relay, load, calls, video=options.video)
        before, handshakes = read_calls(relay.address), relay.stats().totals.dtls_ok
        time.sleep(ASK_EVERY_S + rng.uniform(0, 1))  # any instant of the pacing and of the relay's own rounds
        fault = happen()
        time.sleep(MEDIA_AFTERWARDS_S)  # media go on
        stats = relay.stats()
        shards = len(stats.shards)
        changed = changes(
            before,
            read_calls(relay.address),
            staying=shards - (fault.kind is FaultKind.FEWER_SHARDS),
            counters=lambda leg: counters_stay(fault.kind, kernel=leg.kernel),
        )
        report = load.stop()
    verdict = Verdict([fault], kernel=relay.kernel, hang_s=HANG_S, patience_s=patience_s)
    again = stats.totals.dtls_ok - (0 if fault.kind in COUNT_ANEW else handshakes)
    return Outcome(fault, report, changed, list(verdict.findings(report.streams)), again)


def wait_until_latched(
    relay: RelayUnderLoad, load: BackgroundLoad, calls: int, *, video: bool = False
) -> None:
    """Return once the RTP of every call flows both ways, in the kernel if it shall.

    Args:
        relay: it.
        load: of the calls.
        calls: how many there are.
        video: whether their callers have video at a port of its own, and browsers at that of their audio. The
            sessions of the ports that the relay offered for it besides end a moment after the answer.
    """
    ports = (3 if video else 2) * calls

    def latched() -> bool:
        try:
            states = read_calls(relay.address).values()
        except Unavailable:  # a shard is replaced
            return False
        rtp = [leg for call in states for leg in call.legs if _is_rtp(leg.local)]
        there = {leg.local for leg in rtp if leg.latched and (leg.kernel or not relay.kernel)}
        return len(there) == ports and (not video or len(rtp) == 4 * calls)

    load.wait_until_up()
    eventually(
        latched,
        f"the media of {calls} calls are latched",
        LATCHED_S,
        poll_s=ASK_EVERY_S,
        details=relay.last_output,
    )


def _is_rtp(endpoint: str) -> bool:
    return int(endpoint.rpartition(":")[2]) % 2 == 0
