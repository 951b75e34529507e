"""What nh shall reach, and whether a run shows that it does."""

from collections.abc import Callable
from typing import Final, NamedTuple

from benchmarks.figures import (
    Spread,
    cpu_ms_of,
    cpu_us,
    memory_per_call,
    rates_of,
    ratios,
    spread,
)
from benchmarks.peers.names import FLOOR_C, FLOOR_PYTHON, NATHELPER, NH, NH_SHARDS, RTPENGINE
from benchmarks.results import Level, Results

CALLS: Final = 500
"""With so many, a packet's cost is compared with the peers', and its delay is judged."""

PACKETS_PER_S: Final = 20_000.0
"""At this rate, a packet's delay is judged, and the growth of its cost."""

BESIDE_PEERS_PER_S: Final = 30_000.0
"""Packets a second at which their cost is compared with the peers'."""


class Goal(NamedTuple):
    """A goal, and what was measured; `what` and the texts are for people."""

    what: str
    figure: str
    limit: str
    met: bool


def judge_goals(results: Results) -> list[Goal]:
    """Every goal of which the run has figures."""
    judges: list[Callable[[Results], Goal | None]] = [
        lambda all_: _cpu(all_, RTPENGINE, 0.65),
        lambda all_: _cpu(all_, FLOOR_C, 1.25),
        lambda all_: _cpu(all_, FLOOR_PYTHON, 1.2),
        lambda all_: _growth(all_, NH_SHARDS),
        _set_up,
        _memory,
        _latency,
        _commands,
        _one_way,
        _kernel_load,
        _kernel_delays,
    ]
    found = [goal for judge in judges if (goal := judge(results)) is not None]
    return found + _set_ups_over_ng(results)


def _cpu(results: Results, peer: str, most: float) -> Goal | None:
    level = _find_level(results, CALLS, BESIDE_PEERS_PER_S)
    if level is None or not {NH, peer} <= level.peers.keys():
        return None
    found = spread(ratios(cpu_us(level.peers[NH].rounds), cpu_us(level.peers[peer].rounds)))
    what = f"CPU per packet, nh / {peer}, at {CALLS} calls and {BESIDE_PEERS_PER_S:,.0f} packets/s"
    if found is None:
        return None
    return Goal(what, _text(found), f"at most {most}", found.median <= most)


def _growth(results: Results, name: str) -> Goal | None:
    """From 100 calls of `name` to 10,000, which want several shards."""
    first, last = (_find_level(results, calls, PACKETS_PER_S) for calls in (100, 10_000))
    if first is None or last is None:
        return None
    if name not in first.peers or NH_SHARDS not in last.peers:
        return None
    before, after = (spread(cpu_us(at.peers[who].rounds)) for at, who in ((first, name), (last, NH_SHARDS)))
    if before is None or after is None:
        return None
    growth = after.median / before.median
    what = f"CPU per packet, 10,000 calls ({NH_SHARDS}) / 100 calls ({name})"
    return Goal(what, f"{growth:.2f}", "at most 1.15", growth <= 1.15)


def _set_up(results: Results) -> Goal | None:
    both = [level.peers for level in results.levels if {NH, NATHELPER} <= level.peers.keys()]
    if not both or results.clients[NH] != results.clients[NATHELPER]:
        return None
    found = spread(
        ratio
        for peers in both
        for ratio in ratios(rates_of(peers[NH].set_ups), rates_of(peers[NATHELPER].set_ups))
    )
    if found is None:
        return None
    return Goal(
        f"Calls per second through the Perl client, nh / {NATHELPER}",
        _text(found),
        "at least 1",
        found.median >= 1,
    )


def _memory(results: Results) -> Goal | None:
    levels = [level for level in results.levels if NH in level.peers and level.peers[NH].memory_bytes]
    if not levels:
        return None
    level = levels[-1]
    figure = memory_per_call(level, NH) / 1000
    return Goal(
        f"Resident memory per call, at {level.calls:,} calls", f"{figure:.1f} kB", "at most 7 kB", figure <= 7
    )


def _set_ups_over_ng(results: Results) -> list[Goal]:
    """Rates beside rtpengine, which are to be equal where several clients ask; and the CPU of a call."""
    goals: list[Goal] = []
    for found in results.set_ups:
        ours, theirs = found.peers.get(NH, []), found.peers.get(RTPENGINE, [])
        where = f"{found.clients} client{'s' if found.clients > 1 else ''}, {found.shards} shards"
        if ratio := spread(ratios(rates_of(ours), rates_of(theirs))):
            least = 0.7 if found.clients == 1 else 1.0
            what = f"Set-up and tear-down over ng, nh / {RTPENGINE}, {where}"
            goals.append(Goal(what, _text(ratio), f"at least {least:g}", ratio.median >= least))
        cost = spread(cpu_ms_of(ours))
        if cost and found.clients == 1:
            what = "CPU of a call set up and ended over ng, all processes"
            goals.append(Goal(what, f"{_text(cost)} ms", "at most 0.9 ms", cost.median <= 0.9))
    return goals


def _commands(results: Results) -> Goal | None:
    found = results.commands
    if found is None:
        return None
    return Goal(
        f"A command's p99 in a shard with {found.calls:,} calls at {found.relayed_per_s:,.0f} packets/s"
        + (f" (an echo's beside it: {found.echo_p99_ms:.1f} ms)" if found.echo_p99_ms else ""),
        f"{found.p99_ms:.1f} ms",
        "under 5 ms",
        found.p99_ms < 5,
    )


def _latency(results: Results) -> Goal | None:
    level = _find_level(results, CALLS, PACKETS_PER_S)
    found = (
        spread(each.p99_us / 1000 for each in level.peers[NH].rounds) if level and NH in level.peers else None
    )
    if level is None or found is None:
        return None
    what = f"p99 of a packet in user space, at {CALLS} calls and {level.packets_per_s:,.0f} packets/s"
    return Goal(what, f"{_text(found)} ms", "at most 2 ms", found.median <= 2)


def _one_way(results: Results) -> Goal | None:
    measured = results.one_way
    found = spread(ratios(measured.one_way_us, measured.both_ways_us)) if measured else None
    if measured is None or found is None:
        return None
    what = f"CPU per packet to ends that never send, to one of conversations, {measured.calls} calls each"
    return Goal(what, _text(found), "at most 1.1", found.median <= 1.1)


def _kernel_load(results: Results) -> Goal | None:
    found = results.kernel_calls
    if found is None:
        return None
    what = (
        f"CPU of nh's own processes, {found.calls:,} calls of which the kernel relays {found.in_kernel:.0%}"
    )
    return Goal(what, f"{found.relay_load:.1%} of a CPU", "under 2 %", found.relay_load < 0.02)


def _kernel_delays(results: Results) -> Goal | None:
    found = results.kernel_calls
    if found is None:
        return None
    what = f"Delays of a shard's loop above 5 ms meanwhile, of {found.looks:,}"
    return Goal(what, f"{found.late}", "none", not found.late)


def _find_level(results: Results, calls: int, packets_per_s: float) -> Level | None:
    """The one of so many calls at a rate."""
    return next(
        (each for each in results.levels if (each.calls, each.packets_per_s) == (calls, packets_per_s)), None
    )


def _text(found: Spread) -> str:
    return f"{found.median:.2f} ({found.least:.2f} to {found.most:.2f})"
