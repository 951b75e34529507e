"""Figures from the readings of rounds: what a packet cost, and how that compares. Pure arithmetic."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from benchmarks.peers.names import DIRECT, NH, NH_SHARDS
from benchmarks.results import Level, PeerFigures, Round, SetUpRound, SetUpTime


class Spread(NamedTuple):
    """Several readings of one thing."""

    median: float
    least: float
    most: float


def spread(values: Iterable[float]) -> Spread | None:
    """Of at least one value; None of none."""
    listed = list(values)
    return Spread(statistics.median(listed), min(listed), max(listed)) if listed else None


def cpu_us(rounds: Sequence[Round]) -> list[float]:
    """CPU microseconds of the relay's processes for each packet that it passed on."""
    return [each.relay_cpu_s * 1e6 / max(1, each.arrived) for each in rounds]


def machine_us(level: Level, peer: str) -> list[float]:
    """The same of the whole machine, without what the direct path took in the same round."""
    direct = level.peers.get(DIRECT, PeerFigures()).rounds
    return [
        theirs.machine_cpu_s * 1e6 / max(1, theirs.arrived)
        - without.machine_cpu_s * 1e6 / max(1, without.arrived)
        for theirs, without in zip(level.peers[peer].rounds, direct, strict=False)
    ]


def loss_percent(rounds: Sequence[Round]) -> float:
    """Packets of all rounds that did not arrive."""
    sent = sum(each.sent for each in rounds)
    return 100 * (sent - sum(each.arrived for each in rounds)) / max(1, sent)


def rates_of(set_ups: Iterable[SetUpTime | SetUpRound]) -> list[float]:
    """Calls per second, of each set-up of some calls."""
    return [each.calls / each.duration_s for each in set_ups if each.duration_s]


def cpu_ms_of(rounds: Iterable[SetUpRound]) -> list[float]:
    """CPU milliseconds of one call, all processes, of each round."""
    return [1000 * sum(each.cpu_s.values()) / each.calls for each in rounds]


def memory_per_call(level: Level, peer: str) -> float:
    """Resident bytes a call."""
    return level.peers[peer].memory_bytes / level.calls


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    """Round by round, so that what slowed down a round slowed down both; rounds of only one are left out."""
    return [a / b for a, b in zip(theirs, ours, strict=False) if b > 0]


def base_of(level: Level) -> str | None:
    """Whom the others are compared with: nh with one shard, or with several where one cannot do it."""
    return next((name for name in (NH, NH_SHARDS) if name in level.peers), None)


class Metric(NamedTuple):
    """Something that a level has of each peer.

    Args:
        title: heading of its table.
        unit: of the readings.
        readings: of a peer at a level; [] if it has none.
        more_is_better: what a ratio above 1 means.
    """

    title: str
    unit: str
    readings: Callable[[Level, str], list[float]]
    more_is_better: bool = False


METRICS: Final = (
    Metric(
        "CPU per relayed packet: the relay's processes", "µs", lambda at, who: cpu_us(at.peers[who].rounds)
    ),
    Metric("CPU per relayed packet: the whole machine, minus the direct path", "µs", machine_us),
    Metric("Latency, p50", "µs", lambda at, who: [each.p50_us for each in at.peers[who].rounds]),
    Metric("Latency, p99", "µs", lambda at, who: [each.p99_us for each in at.peers[who].rounds]),
    Metric("Set-up", "calls/s", lambda at, who: rates_of(at.peers[who].set_ups), more_is_better=True),
    Metric("Resident memory per call", "kB", lambda at, who: [memory_per_call(at, who) / 1000]),
)
