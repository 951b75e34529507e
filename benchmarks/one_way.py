"""What a packet costs that goes to an end which never sends, beside one of a conversation.

nh does not know where such an end is but from its SDP, and connects its socket there by and by. Rounds
alternate between calls of both kinds in one shard.
"""

from typing import Final

from benchmarks.peers.nh import Nh, nh_alone
from benchmarks.processes import TreeMeter
from benchmarks.results import OneWay
from benchmarks.streams import Phones, Stream

CALLS: Final = 500
PACKETS_PER_S: Final = 20_000.0


def measure_one_way(calls: int = CALLS, *, rounds: int = 5, seconds: float = 2.0) -> OneWay:
    """Run nh with one shard, and as many calls of each kind."""
    nh = Nh()
    with nh_alone(nh, "127.0.1.101") as (_, phones):
        streams = nh.set_up(range(calls), phones).streams
        # the first stream of each call is the caller's; both ends of a call have clocks of their own, and if
        # they sent at once, one direction would find what the other has just brought into the caches
        both = streams[::2] + streams[1::2]
        one = nh.set_up(range(calls, 2 * calls), phones).streams[::2]
        meter = TreeMeter(nh.pids())
        found = OneWay(calls=calls, packets_per_s=PACKETS_PER_S)
        for number in range(rounds + 1):
            for kind, streams, readings in ((0, both, found.both_ways_us), (1, one, found.one_way_us)):
                cost_us = _play(phones, meter, streams, 2 * number + kind + 1, seconds)
                if number:  # the first round latches
                    readings.append(cost_us)
    return found


def _play(phones: Phones, meter: TreeMeter, streams: list[Stream], number: int, seconds: float) -> float:
    cpu_s = meter.cpu_s()
    played = phones.play(streams, number=number, packets_per_s=PACKETS_PER_S, duration_s=seconds)
    return (meter.cpu_s() - cpu_s) * 1e6 / max(1, played.arrived)
