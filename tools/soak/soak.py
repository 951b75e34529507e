"""The course of a soak: calls that come and go, faults at random instants, a verdict at the end."""

import contextlib
import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from nh.errors import NhError
from tools.harness import HarnessError
from tools.harness.deployment import Deployment
from tools.harness.hosts import some_hosts
from tools.harness.ports import claim_ports, free_port
from tools.harness.relay import Place
from tools.harness.waiting import eventually
from tools.rtpload.coordinator.load import Progress
from tools.rtpload.errors import LoadFailed
from tools.rtpload.options import MAX_DRAIN_S, LoadOptions
from tools.rtpload.report.values import Report
from tools.soak.leaks import Reading, close_all, left_behind, memory_trend, read, still_taken
from tools.soak.report import SoakReport
from tools.soak.subjects import Kind, OneRelay, Subject, TwoHosts
from tools.survive.background_load import BackgroundLoad, background_load
from tools.survive.faults import FaultKind, Injected
from tools.survive.host_faults import MOVES, HostFault
from tools.survive.host_scenario import host_path
from tools.survive.scenario import HANG_S, RELAY_NICE, kernel_settings
from tools.survive.verdict import Verdict, longest_gaps_ms

READING_S: Final = 2.0
LAST_MEDIA_S: Final = 3.0
IDLE_S: Final = 10.0
UNSTORED_S: Final = 0.2
"""What was answered so long before the death of a host may not be known to the other one."""

DEATHS: Final = MOVES - {HostFault.MOVE, HostFault.END_NH}
"""Faults after which a host has what was stored, and no more."""

PORTS_PER_CALL: Final = 12
"""Three times what a call needs: calls are not dealt out evenly, and those that end give ports back later."""

SILENT_S: Final = 30.0
"""nh's own default: a call that no command has ended must end by itself."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What shall be done.

    Args:
        minutes: how long.
        seed: of all chance.
        kernel: media go through the kernel.
        shards, calls: of the relay; at once.
        call_s: mean length of a call, seconds.
        pause_s: mean time between two faults, seconds.
        kinds: what faults there are.
        hosts: two hosts in network namespaces, and faults of hosts.
        ports: media ports of the relay; None: some that are free, or those of the two hosts.
        patience_s: how much longer gaps and starts may be than promised, as the host has other things to do.
    """

    minutes: float
    seed: int
    kernel: bool
    shards: int
    calls: int
    call_s: float
    pause_s: float
    kinds: tuple[Kind, ...]
    hosts: bool = False
    ports: range | None = None
    patience_s: float = 0.0


class Soak:
    """One soak; `run` it once.

    Args:
        plan: see Plan.
        directory: the relay's.
        on_progress: called with what to show while it runs.
    """

    def __init__(self, plan: Plan, directory: Path, on_progress: Callable[[str], None]) -> None:
        self._plan = plan
        self._rng = random.Random(plan.seed)
        self._on_progress = on_progress
        self._directory = directory
        self._faults: list[Injected] = []
        self._readings: list[Reading] = []
        self._after: Reading | None = None
        self._findings: list[str] = []
        self._stop = threading.Event()
        self._began_s = time.monotonic()

    def stop(self) -> None:
        """End it now; `run` returns its report soon."""
        self._stop.set()

    def run(self) -> SoakReport:
        """See the module. Raises HarnessError if the relay does not start at all, and what a load raises."""
        report = None
        with self._subject() as subject:
            subject.start()
            idle = read(subject.relays)
            try:
                with subject.entered(), background_load(self._options(subject), self._show) as load:
                    load.wait_until_up()
                    self._let_faults_strike(load, subject)
                    report = load.stop()
                self._end(subject, idle)
            except (HarnessError, TimeoutError) as exc:
                self._findings.append(str(exc))
            after = self._after or read(subject.relays)
            for relay in subject.relays:
                relay.close()
                self._findings += left_behind(relay, had_died=self._plan.hosts)
            self._findings += memory_trend(self._readings)
        return self._report(report, [idle, *self._readings, after])

    @contextlib.contextmanager
    def _subject(self) -> Iterator[Subject]:
        """What faults strike, not yet started. Behind the context all its processes have ended."""
        plan = self._plan
        if plan.hosts:
            with some_hosts(
                shards=plan.shards,
                nice=RELAY_NICE,
                hang_s=HANG_S,
                silent_s=SILENT_S,
                **host_path(plan.kernel),
            ) as network:
                yield TwoHosts(network)
            return
        settings = {
            "state": self._directory / "state",
            "hang_s": HANG_S,
            "silent_s": SILENT_S,
            **kernel_settings(plan.kernel),
        }
        with contextlib.ExitStack() as stack:
            if plan.ports is None:
                ports = stack.enter_context(claim_ports(PORTS_PER_CALL * plan.calls))
            else:
                ports = plan.ports
            place = Place(self._directory / "run", ports, free_port())
            deployment = Deployment(place, settings, shards=plan.shards, nice=RELAY_NICE)
            yield OneRelay(stack.enter_context(contextlib.closing(deployment)))

    def _options(self, subject: Subject) -> LoadOptions:
        plan = self._plan
        options = subject.load(calls=plan.calls, seed=plan.seed)
        longest_s = plan.minutes * 60 + 3600
        return msgspec.structs.replace(
            options,
            time_s=longest_s,
            duration=f"exp:{plan.call_s}",
            ramp=100,
            # a call's last packets come as late as the longest gap ends
            drain_s=min(options.drain_s + plan.patience_s, MAX_DRAIN_S),
        )

    def _let_faults_strike(self, load: BackgroundLoad, subject: Subject) -> None:
        ends_s = self._began_s + self._plan.minutes * 60
        while not load.over and self._pause(subject, ends_s):
            try:
                self._faults.append(subject.strike(self._rng.choice(self._plan.kinds), self._rng))
            except HarnessError as exc:  # more faults show nothing now, but the report of the calls does
                self._findings.append(str(exc))
                break
        self._stop.wait(LAST_MEDIA_S)

    def _pause(self, subject: Subject, ends_s: float) -> bool:
        """Let calls alone for a while; returns whether there is time for another fault."""
        until_s = time.monotonic() + self._rng.uniform(0.5, 1.5) * self._plan.pause_s
        while time.monotonic() < min(until_s, ends_s):
            self._readings.append(read(subject.relays))
            if self._stop.wait(min(READING_S, max(0.0, until_s - time.monotonic()))):
                return False
        return until_s < ends_s

    def _end(self, subject: Subject, idle: Reading) -> None:
        """The calls are over: see that the relay gave everything back, and that it ends; standbys first."""
        if self._unstored:
            closed = close_all(subject.relays[0])
            if closed > self._unstored:
                self._findings.append(f"{closed} calls are there again that had ended")
        with contextlib.suppress(HarnessError):
            eventually(
                lambda: not still_taken(subject.relays, idle), "everything is given back", timeout_s=IDLE_S
            )
        self._findings += still_taken(subject.relays, idle)
        self._after = read(subject.relays)
        for relay in reversed(subject.relays):
            if (status := relay.stop()) != 0:
                self._findings.append(f"it ended with status {status}. It said:\n{relay.last_output()}")

    @property
    def _unstored(self) -> int:
        """How many calls may be gone, or there again, because the host died before that was stored.

        Three times as many as begin and end in UNSTORED_S on average, and two, for each death.
        """
        changes_per_s = 2 * self._plan.calls / self._plan.call_s
        deaths = sum(fault.kind in DEATHS for fault in self._faults)
        return deaths * (2 + math.ceil(3 * changes_per_s * UNSTORED_S))

    def _report(self, load: Report | None, readings: Sequence[Reading]) -> SoakReport:
        plan, records = self._plan, load.streams if load else ()
        verdict = Verdict(self._faults, kernel=plan.kernel, hang_s=HANG_S, patience_s=plan.patience_s)
        findings = [*self._findings, *verdict.findings(records), *_signalling(load, self._unstored)]
        return SoakReport(
            seed=plan.seed,
            minutes=plan.minutes,
            kernel=plan.kernel,
            faults=tuple(map(str, self._faults)),
            calls=load.signalled.calls_set_up if load else 0,
            sent=sum(record.sent for record in records),
            lost=sum(record.lost for record in records),
            doubled=sum(len(record.doubled) for record in records),
            worst_gap_ms=max(longest_gaps_ms(records), default=0.0),
            descriptors=_figures([reading.descriptors for reading in readings]),
            memory_mib=_figures([reading.memory_bytes >> 20 for reading in readings]),
            findings=tuple(findings),
            interrupted=self._stop.is_set(),
        )

    def _show(self, progress: Progress) -> None:
        last = self._faults[-1].kind if self._faults else FaultKind.NONE
        self._on_progress(
            f"{(time.monotonic() - self._began_s) / 60:5.1f} of {self._plan.minutes:g} min"
            f" · {progress.calls_up} calls · {progress.received} of {progress.sent} packets"
            f" · {len(self._faults)} faults, the last: {last} · {progress.failures} commands failed"
        )


def _signalling(load: Report | None, unstored: int) -> list[str]:
    if load is None:
        return ["the load came to no end: nothing is known of its packets"]
    lines = [
        f"{it.what} failed {it.count} times: {it.reason}"
        for it in load.signalled.failures
        if "not found" not in it.reason or it.count > unstored
    ]
    if load.misrouted:
        lines.append(f"{load.misrouted} packets reached a wrong phone")
    if load.generator.send_failures:
        lines.append(f"the kernel refused to send {load.generator.send_failures} packets")
    return lines


def _figures(values: Sequence[int]) -> tuple[int, int, int]:
    return values[0], max(values), values[-1]


UNEXPECTED: Final = (HarnessError, LoadFailed, NhError, TimeoutError)
"""What `run` raises where the relay or the generator gives no chance to judge."""
