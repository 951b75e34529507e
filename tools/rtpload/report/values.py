"""What a load found: plain values that become JSON, a table or a picture (docs/reference/rtpload.md)."""

import msgspec

from tools.rtpload.options import LoadOptions
from tools.rtpload.streams.histogram import Histogram
from tools.rtpload.streams.record import StreamRecord
from tools.rtpload.streams.stream import Account


class Times(msgspec.Struct, frozen=True):
    """How long something took, many times: milliseconds that the given share did not exceed."""

    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float

    @classmethod
    def of(cls, *histograms: Histogram) -> "Times":
        """The figures of some histograms together."""
        total = Histogram()
        for histogram in histograms:
            total.merge(histogram.filled())
        p50, p90, p99, p999, highest = (ns / 1e6 for ns in total.percentiles([50, 90, 99, 99.9, 100]))
        return cls(total.total, total.mean / 1e6, p50, p90, p99, p999, highest)


class Side(msgspec.Struct, frozen=True):
    """What one side of all calls received.

    Args:
        media: the RTP that was sent to it.
        misrouted: packets of other streams, RTP and RTCP.
        foreign: packets that are none of this run's.
        latency: one way, from the other phone's send to this one's socket.
        jitter: RFC 3550's, one value a stream.
    """

    media: Account
    misrouted: int
    foreign: int
    latency: Times
    jitter: Times


class Reports(msgspec.Struct, frozen=True):
    """The RTCP of both sides."""

    account: Account
    latency: Times


class Browsers(msgspec.Struct, frozen=True):
    """The checks of ICE of browsers, those of their consent among them.

    Args:
        checks, answered: how many.
        longest_s: longest time that a browser waited for an answer, over all checks that it sent meanwhile.
            After 5 s Chromium says that it is disconnected.
    """

    checks: int
    answered: int
    longest_s: float


class Failure(msgspec.Struct, frozen=True):
    """Something that did not work `count` times."""

    what: str
    reason: str
    count: int


class Signalled(msgspec.Struct, frozen=True):
    """What was signalled.

    Args:
        calls_set_up, calls_ended: how many.
        calls_incomplete: of those that ended, with packets missing.
        rate_per_s: calls set up per second of the ramp.
        renegotiations: how many, by kind.
        commands: how long the relay took for each, by name.
        failures: see Failure.
    """

    calls_set_up: int
    calls_ended: int
    calls_incomplete: int
    rate_per_s: float
    renegotiations: dict[str, int]
    commands: dict[str, Times]
    failures: tuple[Failure, ...]


class Generator(msgspec.Struct, frozen=True):
    """How the generator itself did.

    Args:
        workers: processes.
        cpu_s: CPU time of each, since it was ready.
        lateness: of each RTP packet that was sent, against its stream's clock.
        send_failures: sends that the kernel refused.
        dropped_here: packets that arrived at sockets which were full.
        kernel_clock: whether the kernel times arrivals; if not, latency contains the generator's own delay.
        warnings: why its figures cannot be trusted; empty if they can.
    """

    workers: int
    cpu_s: tuple[float, ...]
    lateness: Times
    send_failures: int
    dropped_here: int
    kernel_clock: bool
    warnings: tuple[str, ...]


class Relay(msgspec.Struct, frozen=True):
    """What the relay took of the host: its process and all below.

    Args:
        pid: of the process at the root.
        processes: how many there were at the end of the load.
        cpus: CPUs that it kept busy at full load.
        us_per_packet: CPU microseconds for each RTP packet that arrived, at full load.
        memory_before_bytes, memory_bytes: resident, before the first call and at most.
    """

    pid: int
    processes: int
    cpus: float
    us_per_packet: float
    memory_before_bytes: int
    memory_bytes: int


class Moment(msgspec.Struct, frozen=True):
    """One second of the load.

    Args:
        at_s: when it began, since the beginning.
        sent, received: RTP packets.
        p50_ms, p99_ms, max_ms: latency.
        lateness_p99_ms: of the generator.
        relay_cpus: CPUs that the relay kept busy; None if it was not measured.
    """

    at_s: float
    sent: int
    received: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    lateness_p99_ms: float
    relay_cpus: float | None


class FullLoad(msgspec.Struct, frozen=True):
    """The whole seconds in which all calls were up, but for the first: without the ramp.

    Args:
        seconds: how many.
        sent_per_s, received_per_s: RTP packets.
        latency: of both sides.
        lateness: of the generator.
    """

    seconds: int
    sent_per_s: float
    received_per_s: float
    latency: Times
    lateness: Times


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A load.

    Args:
        options: what was asked for.
        started: when, ISO 8601 in UTC.
        host: kernel, processor and so on.
        interrupted: it was ended before its time.
        elapsed_s: from the first call to the end of the load.
        caller, callee: what each side received.
        both: RTP of both sides together.
        latency: of both sides together.
        reports: RTCP; None if there was none.
        full_load: None if there was no such second.
        signalled, generator: see there.
        relay: None if it was not measured.
        timeline: second by second.
        latency_buckets: (longest ns, packets) of each filled bucket of `latency`.
        streams: each stream packet by packet, if `list_streams` asked for it.
        browsers: None if the callees are none.
    """

    options: LoadOptions
    started: str
    host: dict[str, str]
    interrupted: bool
    elapsed_s: float
    caller: Side
    callee: Side
    both: Account
    latency: Times
    reports: Reports | None
    full_load: FullLoad | None
    signalled: Signalled
    generator: Generator
    relay: Relay | None
    timeline: tuple[Moment, ...]
    latency_buckets: tuple[tuple[int, int], ...]
    streams: tuple[StreamRecord, ...] = ()
    browsers: Browsers | None = None

    @property
    def misrouted(self) -> int:
        """Packets that reached the wrong phone."""
        return self.caller.misrouted + self.callee.misrouted

    def to_json(self) -> bytes:
        """The report as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)
