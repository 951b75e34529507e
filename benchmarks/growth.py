"""What a packet costs with 10,000 calls, beside one with 100, in as many shards.

    python -m benchmarks.growth [--calls 10000] [--rounds 6] [--tree DIRECTORY]

Both relays are nh and are up at once; rounds alternate between them, and the packets a second are the same.
The ratio is that of the two rounds of a pair. With `--tree` another checkout of nh takes part, too, so that a
change can be measured while other programs use the machine.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import contextlib
import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.peers.interface import Site
from benchmarks.peers.nh import Nh, shards_needed
from benchmarks.processes import TreeMeter, own_cpu_s
from benchmarks.streams import Phones, Stream
from tools.arguments import whole_number
from tools.harness.program import running_on

FEW: Final = 100
MANY: Final = 10_000
PACKETS_PER_S: Final = 20_000.0
SECONDS: Final = 10.0
"""Of a round: each stream of 10,000 calls has ten packets, so that few are the first after a pause."""

GOAL: Final = 1.15


class Measured(NamedTuple):
    """A relay with its calls.

    Attributes:
        name: for people.
        nh: the relay.
        streams: of its calls.
        meter: of its processes.
    """

    name: str
    nh: Nh
    streams: list[Stream]
    meter: TreeMeter


def measure(measured: Measured, phones: Phones, number: int) -> tuple[float, float]:
    """One round: CPU of a packet in µs, and the supervisor's part of it."""
    (supervisor,) = measured.nh.pids()
    before = measured.meter.cpu_s(), own_cpu_s(supervisor)
    played = phones.play(measured.streams, number=number, packets_per_s=PACKETS_PER_S, duration_s=SECONDS)
    after = measured.meter.cpu_s(), own_cpu_s(supervisor)
    arrived = max(1, played.arrived)
    return (after[0] - before[0]) * 1e6 / arrived, (after[1] - before[1]) * 1e6 / arrived


@contextlib.contextmanager
def relays(trees: list[str], calls: int, phones: Phones) -> Iterator[list[Measured]]:
    """Two relays for each tree: with few calls and with many."""
    cpus = sorted(os.sched_getaffinity(0))
    with contextlib.ExitStack() as undo:
        undo.enter_context(running_on([cpus[0]]))
        found = []
        for index, (tree, count) in enumerate((tree, count) for tree in trees for count in (FEW, calls)):
            nh = Nh(shards=shards_needed(calls), tree=tree)
            undo.callback(nh.stop)
            directory = undo.enter_context(tempfile.TemporaryDirectory(prefix="nh-benchmark-growth-"))
            nh.start(Site(cpus[-1], cpus[0], f"127.0.1.{110 + index}", Path(directory)))
            streams = nh.set_up(range(count), phones).streams
            found.append(Measured(f"{tree or 'nh'}, {count} calls", nh, streams, TreeMeter(nh.pids())))
            latch_s = 3 * len(streams) / PACKETS_PER_S
            phones.play(streams, number=1 + index, packets_per_s=PACKETS_PER_S, duration_s=latch_s)
        yield found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--calls", type=whole_number(1), default=MANY)
    parser.add_argument("--rounds", type=whole_number(1), default=6)
    parser.add_argument("--tree", help="a directory with another checkout of nh, measured in turn")
    options = parser.parse_args()
    trees = [""] + ([options.tree] if options.tree else [])
    with contextlib.closing(Phones()) as phones, relays(trees, options.calls, phones) as found:
        costs: list[list[float]] = [[] for _ in found]
        number = len(found)
        for turn in range(options.rounds + 1):
            for index, each in enumerate(found):
                number += 1
                whole_us, supervisor_us = measure(each, phones, number)
                print(f"{each.name}: {whole_us:.2f} µs, supervisor {supervisor_us:.2f}", flush=True)
                if turn:  # the first round warms up
                    costs[index].append(whole_us)
    for index, tree in enumerate(trees):
        few, many = costs[2 * index], costs[2 * index + 1]
        pairs = sorted(after / before for before, after in zip(few, many, strict=True))
        print(
            f"{tree or 'nh'}: {statistics.median(few):.2f} µs with {FEW} calls,"
            f" {statistics.median(many):.2f} µs with {options.calls}; growth"
            f" {statistics.median(pairs):.2f} ({pairs[0]:.2f} to {pairs[-1]:.2f}), goal at most {GOAL}"
        )


if __name__ == "__main__":
    main()
