"""A simulation of relays that share one server of Valkey's protocol, by the event.

The server is one thread behind one link; both take what arrives first. Each relay has a thread that writes
every 0.1 s what has changed, in parts, and waits for each reply. It renews its lease when nothing changes,
and reads all its calls every five minutes. A standby reads what changes. Clocks are simulated, so a run is
the same on any machine.
"""

import functools
import heapq
import itertools
import math
import random
from collections.abc import Generator, Iterator
from typing import Final

import msgspec

from benchmarks.store_costs import Costs
from nh.shard.recovery.refresh import REFRESH_S, SNAPSHOTS_A_ROUND
from nh.supervisor.store.lease import RENEW_S
from nh.supervisor.store.valkey.engine import RECONCILE_S
from nh.supervisor.store.writer import ROWS

COMMIT_S: Final = 0.1
"""How often a relay writes."""

CALL_S: Final = 180.0
"""Mean length of a call: each second, one of so many is new."""

CHANGES: Final = 3
"""Writes of a call beside its refreshes, measured: offer, answer, and where its phones send from."""

PAGE: Final = 1000
"""Calls in one reply while all are read."""

Process = Generator[float, None, None]
"""A relay or a standby: it yields until when it waits."""


class Scenario(msgspec.Struct, frozen=True):
    """Relays with equally many calls.

    Attributes:
        hosts: relays.
        calls: of all relays together.
        standbys: relays that follow each of them, 0 or 1.
        shards: of each relay.
        seconds: of simulated time.
        round_trip_s: to the server and back.
        link_bytes: a second, in each direction; 1 Gbit/s by default.
        fault: "": none; "host": one relay is gone and another reads its calls; "data": the server loses all
            data. It happens after half of the time.
    """

    hosts: int
    calls: int
    standbys: int = 1
    shards: int = 8
    seconds: float = 60.0
    round_trip_s: float = 0.0005
    link_bytes: float = 125e6
    fault: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What a run shows.

    Attributes:
        written: calls stored or removed in a second.
        busy: share of the time in which the server's thread is busy.
        received_bytes, sent_bytes: by the server in a second.
        reply_s: the time of a write's reply that 99 of 100 do not exceed.
        lag_s: the greatest age of a change that was not written yet.
        lease_gap_s: the longest time of a relay without a write or renewal.
        repaired_s: the time from the fault until the other relay has read all calls, or all calls are written
            again; inf: longer than was simulated.
    """

    written: float
    busy: float
    received_bytes: float
    sent_bytes: float
    reply_s: float
    lag_s: float
    lease_gap_s: float
    repaired_s: float


def refreshes_a_second(calls: float) -> float:
    """Refreshes of one shard's calls that are snapshots."""
    every = 1
    while calls / every > SNAPSHOTS_A_ROUND:
        every *= 2
    return calls / every / REFRESH_S


def changes(rng: random.Random, mean: float) -> int:
    """How many events of a rate fall into an interval, with this mean (Poisson; normal if there are many)."""
    if mean > 50:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    number, product, limit = 0, rng.random(), math.exp(-mean)
    while product > limit:
        number += 1
        product *= rng.random()
    return number


class Rates(msgspec.Struct, frozen=True):
    """What changes at one relay in a second: calls stored, and calls removed."""

    stored: float
    removed: float


def rates(scenario: Scenario) -> Rates:
    """The changes of each relay."""
    calls = scenario.calls / scenario.hosts
    begun = calls / CALL_S
    refreshed = scenario.shards * refreshes_a_second(calls / scenario.shards)
    return Rates(begun * CHANGES + refreshed, begun)


class Server:
    """The server's thread and the link to it.

    Args:
        scenario: has the link.

    Attributes:
        busy_s: time that its thread has worked.
        received, sent: bytes.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._free_at = 0.0
        self._link_free_at = 0.0
        self.busy_s = 0.0
        self.received = 0.0
        self.sent = 0.0

    def ask(self, now: float, service_us: float, received: float, sent: float = 0.0) -> float:
        """A request that is sent now; returns when its reply is there."""
        link_bytes = self._scenario.link_bytes
        self._link_free_at = max(now, self._link_free_at) + received / link_bytes
        begun = max(self._link_free_at, self._free_at)
        self._free_at = begun + service_us / 1e6
        self.busy_s += service_us / 1e6
        self.received += received
        self.sent += sent
        return self._free_at + sent / link_bytes + self._scenario.round_trip_s


class Simulation:
    """One run.

    Args:
        scenario: what is simulated.
        costs: of each step.
    """

    def __init__(self, scenario: Scenario, costs: Costs) -> None:
        self._scenario = scenario
        self._costs = costs
        self._server = Server(scenario)
        self._rng = random.Random(1)
        self._rates = rates(scenario)
        self._calls = scenario.calls // scenario.hosts
        self._fault_at = scenario.seconds / 2
        self._replies: list[float] = []
        self._written = 0
        self._lag_s = self._gap_s = self._repaired_s = 0.0
        self._unrepaired = {"": 0, "host": 1, "data": scenario.hosts}[scenario.fault]
        self._now = 0.0
        self._numbers = itertools.count()
        self._events: list[tuple[float, int, Process]] = []

    def run(self) -> Outcome:
        """Simulate."""
        scenario, server = self._scenario, self._server
        for _ in range(scenario.hosts):
            self._start(self._rng.random() * COMMIT_S, self._relay())
        if scenario.fault == "host":
            self._start(self._fault_at, self._read_all(repairs=True))
        while self._events and self._events[0][0] < scenario.seconds:
            now, number, process = heapq.heappop(self._events)
            self._now = now
            until = next(process, None)
            if until is not None:
                heapq.heappush(self._events, (until, number, process))
        seconds, replies = scenario.seconds, sorted(self._replies)
        return Outcome(
            written=self._written / seconds,
            busy=server.busy_s / seconds + self._costs.idle_us / 1e6,
            received_bytes=server.received / seconds,
            sent_bytes=server.sent / seconds,
            reply_s=replies[int(0.99 * len(replies))] if replies else 0.0,
            lag_s=self._lag_s,
            lease_gap_s=self._gap_s,
            repaired_s=math.inf if self._unrepaired else self._repaired_s,
        )

    def _start(self, at: float, process: Process) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), process))

    def _relay(self) -> Process:
        """The thread of a relay that writes."""
        rng, rates = self._rng, self._rates
        gathered = renewed = self._now
        reconciles = self._now + rng.random() * RECONCILE_S
        repaired = self._scenario.fault != "data"
        while True:
            now = self._now
            stored = changes(rng, rates.stored * (now - gathered))
            removed = changes(rng, rates.removed * (now - gathered))
            repairing = not repaired and now >= self._fault_at
            if repairing:
                stored, repaired = self._calls, True
            since, gathered = gathered, now
            if stored or removed:
                for reply_at in self._write(stored, removed):
                    self._gap_s, renewed = max(self._gap_s, reply_at - renewed), reply_at
                    yield reply_at
                self._lag_s = max(self._lag_s, self._now - since)
                if repairing:
                    self._repaired()
            elif now >= renewed + RENEW_S:
                reply_at = self._server.ask(now, self._costs.write_us, 200)
                self._gap_s, renewed = max(self._gap_s, reply_at - renewed), reply_at
                yield reply_at
            if now >= reconciles:
                reconciles += RECONCILE_S
                yield from self._read_all()
            yield max(now + COMMIT_S, self._now)

    def _write(self, stored: int, removed: int) -> Iterator[float]:
        """Write changes in parts; yields when each reply is there. The standby reads what changed then."""
        costs = self._costs
        self._written += stored + removed
        while stored or removed:
            rows = min(stored, ROWS)
            gone = min(removed, ROWS - rows)
            stored, removed = stored - rows, removed - gone
            own_s = (costs.own_us + costs.own_call_us * rows) / 1e6
            service_us = costs.write_us + costs.write_call_us * (rows + gone)
            reply_at = self._server.ask(self._now + own_s, service_us, 200 + costs.record_bytes * rows)
            self._replies.append(reply_at - self._now - own_s)
            for _ in range(self._scenario.standbys):
                self._start(reply_at, self._follow(rows + gone))
            yield reply_at

    def _follow(self, calls: int) -> Process:
        """A standby reads what has changed."""
        costs = self._costs
        service_us = costs.follow_us + costs.read_call_us * calls
        yield self._server.ask(self._now, service_us, 200 + 64 * calls, costs.record_bytes * calls)

    def _read_all(self, *, repairs: bool = False) -> Process:
        """All calls of one relay are read, page by page."""
        costs, left = self._costs, self._calls
        while left:
            page = min(left, PAGE)
            left -= page
            service_us = costs.read_us + costs.read_call_us * page
            reply_at = self._server.ask(self._now, service_us, 200, costs.record_bytes * page)
            yield reply_at + costs.own_read_call_us * page / 1e6
        if repairs:
            self._repaired()

    def _repaired(self) -> None:
        """One relay has what it needs."""
        self._unrepaired -= 1
        self._repaired_s = self._now - self._fault_at


@functools.cache
def simulate(scenario: Scenario, costs: Costs) -> Outcome:
    """Run a scenario."""
    return Simulation(scenario, costs).run()
