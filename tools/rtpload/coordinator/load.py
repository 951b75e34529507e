"""A load from beginning to end: `run_load(options)` is what programs call.

The coordinator lives in one asyncio loop: a task for each call at a time, one for the display. Media are
sent by worker processes, commands by threads.
"""

import asyncio
import contextlib
import itertools
import random
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from tools.rtpload.command_times import CommandTimes
from tools.rtpload.controls import control_factory
from tools.rtpload.coordinator.call_script import CallScript
from tools.rtpload.coordinator.descriptors import provide_descriptors
from tools.rtpload.coordinator.plan import CallPlan, plan_calls
from tools.rtpload.coordinator.signalling import Signalling
from tools.rtpload.coordinator.starting_line import StartingLine
from tools.rtpload.coordinator.workers import WorkerHandle, running_workers
from tools.rtpload.durations import parse_duration
from tools.rtpload.errors import LoadFailed
from tools.rtpload.messages import CallStreams, Configure, Finished
from tools.rtpload.options import LoadOptions
from tools.rtpload.report.progress import RunCounters
from tools.rtpload.report.relay_usage import RelayMeter, find_relay
from tools.rtpload.report.summary import Course, summarize
from tools.rtpload.report.values import Report
from tools.rtpload.streams.record import StreamRecord

PROGRESS_S: Final = 0.25
RETRY_S: Final = 1.0
"""How long a call's place stays empty if its set-up failed."""


class Progress(msgspec.Struct, frozen=True):
    """How a load stands.

    Args:
        phase: ramp, load or end.
        calls_up: calls now.
        elapsed_s, total_s: of the time at full load.
        sent, received: RTP packets so far, as the workers told a second ago.
        latency_p99_ms, lateness_p99_ms: of the last second.
        failures: commands that failed so far.
    """

    phase: str
    calls_up: int
    elapsed_s: float
    total_s: float
    sent: int
    received: int
    latency_p99_ms: float
    lateness_p99_ms: float
    failures: int


def run_load(options: LoadOptions, on_progress: Callable[[Progress], None] | None = None) -> Report:
    """Run a load and say what came of it; blocks until it is over.

    Args:
        options: see LoadOptions.
        on_progress: called a few times a second.

    What goes wrong with single calls is in the report.

    Raises:
        ConfigError: an option cannot be used.
        NhError: the relay does not answer at the beginning.
        LoadFailed: the generator cannot do its part.
    """
    return asyncio.run(Load(options, on_progress).run())


class Load:
    """One load; `run` it once. Arguments as for run_load."""

    def __init__(self, options: LoadOptions, on_progress: Callable[[Progress], None] | None = None) -> None:
        options.check()
        self._options = options
        self._on_progress = on_progress
        self._run = secrets.randbits(32)
        self._counters = RunCounters()
        self._stop = asyncio.Event()
        self._full = asyncio.Event()
        self._times = CommandTimes()
        self._starting_line = StartingLine(options.calls) if options.handshakes_at_once else None
        self._tried = 0
        self._course = Course()
        self._meter: RelayMeter | None = None
        self._records: list[StreamRecord] = []

    def stop(self) -> None:
        """End the calls now; `run` returns its report when all are closed."""
        self._course.interrupted = True
        self._stop.set()
        if self._starting_line is not None:
            self._starting_line.open()

    async def run(self) -> Report:
        """See run_load."""
        options = self._options
        workers = provide_descriptors(options)
        self._meter = find_relay(options)
        self._course.pid = self._meter.pid if self._meter else 0
        times = self._times
        async with Signalling(control_factory(options, times), options.signallers) as signalling:
            await signalling.check()
            async with running_workers(
                self._configurations(workers), self._counters.take, self._record
            ) as handles:
                accounts = await self._play(handles, signalling)
        report = summarize(options, self._course, self._counters, times, accounts)
        return msgspec.structs.replace(report, streams=tuple(self._records))

    async def _play(self, workers: list[WorkerHandle], signalling: Signalling) -> list[Finished]:
        self._course.started_unix_s, self._course.started_s = time.time(), time.monotonic()
        self._read_usage()
        watching = asyncio.create_task(self._watch())
        try:
            async with asyncio.TaskGroup() as group:
                guards = [group.create_task(worker.guard()) for worker in workers]
                plans = self._plans()
                places = [
                    group.create_task(
                        self._keep_place(place, plans, workers[place % len(workers)], signalling)
                    )
                    for place in range(self._options.calls)
                ]
                await self._keep_time()
                await asyncio.wait(places)
                for guard in guards:
                    guard.cancel()
            return await asyncio.gather(*(worker.finish() for worker in workers))
        except* LoadFailed as failures:
            raise failures.exceptions[0] from None
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _keep_place(
        self, place: int, plans: Iterator[CallPlan], worker: WorkerHandle, signalling: Signalling
    ) -> None:
        """One of the calls that there shall be at once; when it ends, another one begins."""
        options = self._options
        if options.ramp and await self._stopped_within(place / options.ramp):
            return
        for attempt in itertools.count():
            if self._stop.is_set():
                return
            script = CallScript(
                next(plans),
                run=f"{self._run:08x}",
                worker=worker,
                signalling=signalling,
                counters=self._counters,
                stop=self._stop,
                times=self._times,
                starting_line=self._starting_line,
            )
            up = await script.set_up()
            if attempt == 0:
                self._tried += 1
                if self._tried == options.calls:
                    self._full.set()
            if up:
                await script.play()
            elif not options.duration or await self._stopped_within(RETRY_S):
                return

    async def _keep_time(self) -> None:
        """Let the load go on for its time once all calls have been set up, then stop it."""
        course = self._course
        full, stopped = asyncio.create_task(self._full.wait()), asyncio.create_task(self._stop.wait())
        await asyncio.wait([full, stopped], return_when=asyncio.FIRST_COMPLETED)
        course.full_s = time.monotonic()
        course.calls_in_ramp = self._counters.calls_set_up
        if self._counters.calls_set_up:
            await self._stopped_within(self._options.time_s)
        course.stopped_s = time.monotonic()
        self._stop.set()
        full.cancel()
        await asyncio.gather(full, stopped, return_exceptions=True)

    async def _watch(self) -> None:
        """Read the relay's usage at each whole second of the clock, as the workers do; tell of progress."""
        while True:
            now_s = time.monotonic()
            await asyncio.sleep(PROGRESS_S - now_s % PROGRESS_S)
            if int(time.monotonic()) != int(now_s):
                self._read_usage()
            if self._on_progress is not None:
                self._on_progress(self._progress())

    def _record(self, ended: CallStreams) -> None:
        self._records += ended.streams

    def _read_usage(self) -> None:
        if self._meter is not None:
            self._course.usage.append((time.monotonic(), self._meter.read()))

    def _progress(self) -> Progress:
        counters, course, newest = self._counters, self._course, self._counters.newest
        latency = lateness = 0
        if newest is not None:
            latency = max(newest.caller.percentile(99), newest.callee.percentile(99))
            lateness = newest.lateness.percentile(99)
        elapsed_s = time.monotonic() - course.full_s if course.full_s else 0.0
        return Progress(
            phase="end" if self._stop.is_set() else "load" if course.full_s else "ramp",
            calls_up=counters.calls_up,
            elapsed_s=min(elapsed_s, self._options.time_s),
            total_s=self._options.time_s,
            sent=counters.packets_sent,
            received=counters.packets_received,
            latency_p99_ms=latency / 1e6,
            lateness_p99_ms=lateness / 1e6,
            failures=counters.failures.total(),
        )

    def _plans(self) -> Iterator[CallPlan]:
        options = self._options
        return plan_calls(
            random.Random(options.seed),
            duration=parse_duration(options.duration),
            time_s=options.time_s,
            one_way=options.one_way,
            hold=options.hold,
            reinvite=options.reinvite,
        )

    def _configurations(self, workers: int) -> list[Configure]:
        options = self._options
        return [
            Configure(
                run=self._run,
                address=options.phone_address(worker),
                rtcp=options.rtcp,
                packet_ns=options.packet_ns,
                rtcp_interval_ns=round(options.rtcp_interval_s * 1e9),
                jitter_ns=round(options.jitter_ms * 1e6),
                drain_ns=round(options.drain_s * 1e9),
                media=options.media_formats,
                cpus=options.cpus,
                seed=options.seed * 1000 + worker,
                nice=options.nice,
                list_streams=options.list_streams,
                srtp=options.srtp,
                webrtc=options.webrtc,
            )
            for worker in range(workers)
        ]

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
            return True
        return False
