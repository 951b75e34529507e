"""What calls cost nh's own processes while the kernel relays their packets.

The shards poll the counters of the flows, expire calls and save what a successor needs. A pause of a shard,
such as a collection of garbage, shows in the delay of its loop.

All sources latch within seconds here, and each such call is saved at once and in the next round of
checkpoints; the supervisor packs the snapshots of quiet calls seconds later. So the measurement begins when
that is over.
"""

import math
import time
from typing import Final, NamedTuple

from benchmarks.peers.interface import descriptor_limit
from benchmarks.peers.nh import SOCKETS_PER_CALL, UNEVEN, Nh, nh_alone
from benchmarks.processes import TreeMeter
from benchmarks.results import KernelCalls
from nh.client import NativeClient
from nh.commands import GetStats
from nh.shard.recovery.refresh import REFRESH_S

CALLS: Final = 10_000
PACKETS_PER_S: Final = 20_000.0
WARM_UP: Final = 3
"""Packets of each stream before the measurement, at least: they latch."""

SETTLE_S: Final = 3 * REFRESH_S + 5.0
"""Time after that until all calls are saved with their flows, and their snapshots are packed: the next round
begins within REFRESH_S, and takes 17 s with 3,300 calls in a shard."""

LATE_S: Final = 0.005
TIMEOUT_S: Final = 10.0


class _Totals(NamedTuple):
    kernel_packets: int
    looks: int
    late: int


def measure_kernel_calls(calls: int = CALLS, *, seconds: float = 20.0) -> KernelCalls:
    """Run nh in the kernel, with as many shards as descriptors require; the calls talk for `seconds`."""
    shards = math.ceil(calls * SOCKETS_PER_CALL * UNEVEN / descriptor_limit())
    nh = Nh(shards=shards, kernel=True)
    with (
        nh_alone(nh, "127.0.1.102") as (_, phones),
        NativeClient(nh.rpc, TIMEOUT_S) as client,
    ):
        streams = nh.set_up(range(calls), phones).streams
        warm_up_s = WARM_UP * len(streams) / PACKETS_PER_S + SETTLE_S
        phones.play(streams, number=1, packets_per_s=PACKETS_PER_S, duration_s=warm_up_s)
        meter, before = TreeMeter(nh.pids()), _totals(client)
        cpu_s, begun_s = meter.cpu_s(), time.monotonic()
        played = phones.play(streams, number=2, packets_per_s=PACKETS_PER_S, duration_s=seconds)
        load = (meter.cpu_s() - cpu_s) / (time.monotonic() - begun_s)
        after = _totals(client)
    return KernelCalls(
        calls=calls,
        shards=shards,
        packets_per_s=PACKETS_PER_S,
        in_kernel=(after.kernel_packets - before.kernel_packets) / played.sent,
        relay_load=load,
        looks=after.looks - before.looks,
        late=after.late - before.late,
    )


def _totals(client: NativeClient) -> _Totals:
    """What the shards have counted, and how often their loops were looked at and found late."""
    totals = client.request(GetStats()).values["totals"]
    assert isinstance(totals, dict)
    delays = totals["histograms"]["loop_late_s"]
    late = sum(delays["counts"][delays["bounds"].index(LATE_S) + 1 :])
    return _Totals(int(totals["kernel_packets"]), sum(delays["counts"]), late)
