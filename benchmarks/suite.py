"""The run: all peers up at once, and round after round each has its turn, level by level.

Idle peers cost memory, not CPU time. They alternate, so that a machine whose speed drifts favours none.
"""

import contextlib
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Self

import psutil

from benchmarks.machine import busy_s, describe_machine
from benchmarks.peers.interface import NotHere, Peer, Site
from benchmarks.processes import TreeMeter
from benchmarks.results import Level, PeerFigures, Results, Round, SetUpTime, Skipped
from benchmarks.steadiness import measure_steadiness
from benchmarks.streams import Phones, Stream
from nh.errors import NhError
from tools.harness import HarnessError
from tools.harness.program import running_on

IDLE_S: Final = 2.0
"""How long a peer may take after it is ready until its memory does not change any more."""

SET_UP_IN_A_ROW: Final = 250
"""Calls that one peer sets up before the others have their turn."""

STEADINESS_ROUNDS: Final = 4
"""The CPU of the relays is watched for so many times the length of a round before the first."""

DISTURBED: Final = 0.08
"""Share of the machine that other programs may take in a round; else it is played again."""

TRIES: Final = 3

REAL_PACKETS_PER_S: Final = 100.0
"""Of a call with 20 ms packets, both ways."""

TOUCH_PACKETS_PER_S: Final = 20_000.0

MIN_OF_A_STREAM: Final = 10
"""Packets that each stream has in a round. Relays do more for the first packet after a pause, such as that
between two rounds: that would be measured where most packets are the first of their streams."""


class Plan(NamedTuple):
    """What is to be measured.

    Args:
        peers: what makes them, by name; a call raises NotHere for those that cannot take part.
        levels: (calls, packets per second), in ascending order of calls.
        rounds: how many of each peer at each level.
        seconds: length of a round, at least; see MIN_OF_A_STREAM.
    """

    peers: Mapping[str, Callable[[], Peer]]
    levels: Sequence[tuple[int, float]]
    rounds: int
    seconds: float


class Contestant:
    """A peer that takes part.

    Args:
        name: as in the plan.
        peer: started.

    Attributes:
        name, peer: see above.
        streams: two for each of its calls.
        played_s: monotonic seconds at which its calls were last sent media; infinite: never.
        idle_memory_bytes: resident, without a call.
    """

    def __init__(self, name: str, peer: Peer) -> None:
        self.name = name
        self.peer = peer
        self.streams: list[Stream] = []
        self.played_s = math.inf
        self.idle_memory_bytes = self.memory_bytes()
        self._meter: TreeMeter | None = None

    @property
    def calls(self) -> int:
        """How many it has."""
        return len(self.streams) // 2

    @property
    def meter(self) -> TreeMeter:
        """Of its processes as they are now; some peers start more when they get more calls."""
        if self._meter is None or self._meter.pids != self.peer.pids():
            self._meter = TreeMeter(self.peer.pids())
        return self._meter

    def memory_bytes(self) -> int:
        """Resident memory now."""
        return TreeMeter(self.peer.pids()).memory_bytes()


class Suite:
    """A run; as a context manager, it ends what it started.

    Args:
        plan: what is to be measured.
        tell: called with lines of progress.

    Attributes:
        results: what has been measured so far.
    """

    def __init__(self, plan: Plan, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._tell = tell
        self._exit = contextlib.ExitStack()
        self._contestants: list[Contestant] = []
        self._next_round = 1
        cpus = sorted(os.sched_getaffinity(0))
        self._sender_cpu, self._relay_cpu = cpus[0], cpus[-1]
        self.results = Results(
            taken=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=describe_machine(),
            seconds=plan.seconds,
        )

    def __enter__(self) -> Self:
        self._exit.enter_context(running_on([self._sender_cpu]))
        self._phones = self._exit.enter_context(contextlib.closing(Phones()))
        return self

    def __exit__(self, *_: object) -> None:
        while self._contestants:
            self._contestants.pop().peer.stop()
        self._exit.close()

    def run(self) -> Results:
        """Measure; `results` grows meanwhile, so that what was measured before Ctrl-C is there."""
        self.results.steadiness = measure_steadiness(self._relay_cpu, STEADINESS_ROUNDS * self._plan.seconds)
        for index, (name, make) in enumerate(self._plan.peers.items()):
            self._start(name, index, make)
        for calls, packets_per_s in self._plan.levels:
            self._let_go(calls)
            level = Level(calls, packets_per_s, {each.name: PeerFigures() for each in self._contestants})
            self.results.levels.append(level)
            self._grow(level)
            self._measure(level)
        return self.results

    def _start(self, name: str, index: int, make: Callable[[], Peer]) -> None:
        directory = Path(
            self._exit.enter_context(tempfile.TemporaryDirectory(prefix=f"nh-benchmark-{name}-"))
        )
        site = Site(self._relay_cpu, self._sender_cpu, f"127.0.1.{index + 1}", directory)
        try:
            peer = make()
        except NotHere as exc:
            self._skip(name, 0, str(exc))
            return
        try:
            peer.start(site)
            time.sleep(IDLE_S)
            contestant = Contestant(name, peer)
        except (NotHere, HarnessError, psutil.Error) as exc:
            peer.stop()
            self._skip(name, 0, str(exc))
            return
        except BaseException:
            peer.stop()
            raise
        self._contestants.append(contestant)
        self.results.clients[name] = peer.client
        self.results.idle_memory_bytes[name] = contestant.idle_memory_bytes
        self._tell(f"{name}: up, {contestant.idle_memory_bytes / 1e6:.1f} MB")

    def _skip(self, name: str, calls: int, reason: str) -> None:
        self.results.skipped.append(Skipped(name, calls, reason))
        self._tell(f"{name}: skipped{f' from {calls} calls on' if calls else ''}: {reason}")

    def _let_go(self, calls: int) -> None:
        """End those that cannot have so many."""
        for each in [one for one in self._contestants if one.peer.max_calls < calls]:
            self._skip(each.name, calls, each.peer.why_not_more)
            self._drop(each)

    def _drop(self, contestant: Contestant) -> None:
        self._contestants.remove(contestant)
        contestant.peer.stop()

    def _grow(self, level: Level) -> None:
        """Bring each relay to the level's calls, in turns."""
        while behind := [each for each in self._contestants if each.calls < level.calls]:
            for each in behind:
                self._keep_alive()
                try:
                    self._set_up(each, level)
                except (NhError, HarnessError) as exc:
                    self._skip(each.name, level.calls, str(exc))
                    self._drop(each)
                    del level.peers[each.name]

    def _set_up(self, contestant: Contestant, level: Level) -> None:
        numbers = range(contestant.calls, min(level.calls, contestant.calls + SET_UP_IN_A_ROW))
        before_s = contestant.meter.cpu_s()
        done = contestant.peer.set_up(numbers, self._phones)
        relay_cpu_s = contestant.meter.cpu_s() - before_s
        if not contestant.streams:
            contestant.played_s = time.monotonic()
        contestant.streams += done.streams
        if contestant.peer.client:
            level.peers[contestant.name].set_ups.append(SetUpTime(len(numbers), done.duration_s, relay_cpu_s))
            self._tell(
                f"{contestant.name}: {contestant.calls} of {level.calls} calls,"
                f" {len(numbers) / done.duration_s:.0f} calls/s"
            )

    def _keep_alive(self) -> None:
        """One packet through each stream of the peers that end silent sessions."""
        for each in self._contestants:
            if time.monotonic() - each.played_s > each.peer.patience_s / 3:
                self._play(each, TOUCH_PACKETS_PER_S, len(each.streams) / TOUCH_PACKETS_PER_S)

    def _measure(self, level: Level) -> None:
        for number in range(self._plan.rounds + 1):
            turn = number % max(1, len(self._contestants))
            for each in self._contestants[turn:] + self._contestants[:turn]:
                done = self._play_undisturbed(each, level, tries=TRIES if number else 1)
                if number:  # the first round only warms up
                    level.peers[each.name].rounds.append(done)
                    self._tell(_text(f"{level.calls} calls, {number}/{self._plan.rounds} {each.name}", done))
        for each in self._contestants:
            level.peers[each.name].memory_bytes = each.memory_bytes() - each.idle_memory_bytes

    def _play_undisturbed(self, contestant: Contestant, level: Level, *, tries: int) -> Round:
        """The first round in which no other program took much, or the best of `tries`."""
        seconds = max(self._plan.seconds, MIN_OF_A_STREAM * len(contestant.streams) / level.packets_per_s)
        machine_s = seconds * (os.cpu_count() or 1)
        rounds = []
        for _ in range(tries):
            self._keep_alive()
            rounds.append(self._play(contestant, level.packets_per_s, seconds))
            if rounds[-1].others_s <= DISTURBED * machine_s:
                break
        return min(rounds, key=lambda done: done.others_s)

    def _play(self, contestant: Contestant, packets_per_s: float, seconds: float) -> Round:
        number, self._next_round = self._next_round, self._next_round + 1
        meter = contestant.meter
        relay_s, machine_s, own_s = meter.cpu_s(), busy_s(), time.process_time()
        played = self._phones.play(
            contestant.streams, number=number, packets_per_s=packets_per_s, duration_s=seconds
        )
        own_s, machine_s = time.process_time() - own_s, busy_s() - machine_s
        relay_s = meter.cpu_s() - relay_s
        contestant.played_s = time.monotonic()
        return Round(
            sent=played.sent,
            arrived=played.arrived,
            relay_cpu_s=relay_s,
            machine_cpu_s=machine_s - played.waited_s,
            others_s=max(0.0, machine_s - own_s - relay_s),
            p50_us=played.percentile_us(50),
            p99_us=played.percentile_us(99),
            late=played.late,
        )


def make_levels(
    calls: Sequence[int], real_calls: Sequence[int], rate: float, more: Sequence[tuple[int, float]] = ()
) -> list[tuple[int, float]]:
    """Levels for a plan, as (calls, packets per second).

    Args:
        calls: those that are measured at the same rate.
        real_calls: those that are measured at what they really send.
        rate: packets per second of each level of `calls`.
        more: further levels.
    """
    levels = {(number, rate) for number in calls} | {
        (number, number * REAL_PACKETS_PER_S) for number in real_calls
    }
    return sorted(levels | set(more))


def _text(what: str, done: Round) -> str:
    cost_us = done.relay_cpu_s * 1e6 / max(1, done.arrived)
    return (
        f"{what}: {cost_us:.2f} µs a packet, p50 {done.p50_us:.0f} µs, p99 {done.p99_us:.0f} µs,"
        f" {done.sent - done.arrived} lost, others took {done.others_s:.2f} s"
    )
