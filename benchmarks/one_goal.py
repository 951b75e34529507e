"""Measures one goal by itself, and says whether it is reached.

    python -m benchmarks.one_goal packet|latency|commands|one-way|kernel-calls|set-up

The same measurement as in `python -m benchmarks`, without the peers that the goal does not need.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from benchmarks.command_latency import measure_commands
from benchmarks.goals import BESIDE_PEERS_PER_S, CALLS, PACKETS_PER_S, judge_goals
from benchmarks.kernel_calls import measure_kernel_calls
from benchmarks.machine import describe_machine
from benchmarks.one_way import measure_one_way
from benchmarks.peers.names import FLOOR_C, FLOOR_PYTHON, NH, RTPENGINE
from benchmarks.peers.registry import peers_by_name
from benchmarks.results import Results
from benchmarks.set_up import measure_set_ups
from benchmarks.suite import Plan, Suite

ROUNDS: Final = 10
SECONDS: Final = 2.0


class Measurement(NamedTuple):
    """What is measured without a level of calls and packets.

    Attributes:
        field: of Results, where it goes.
        what: in words.
        run: measures it.
    """

    field: str
    what: str
    run: Callable[[], object]

    def add_to(self, results: Results) -> None:
        """Measure it."""
        setattr(results, self.field, self.run())


MEASUREMENTS: Final = {
    "commands": Measurement("commands", "time a shard's commands while it is flooded", measure_commands),
    "set-up": Measurement(
        "set_ups", "measure set-up and tear-down over ng beside rtpengine", measure_set_ups
    ),
    "one-way": Measurement("one_way", "measure packets to ends that never send", measure_one_way),
    "kernel-calls": Measurement(
        "kernel_calls",
        "measure nh's own processes with 10,000 calls in the kernel",
        measure_kernel_calls,
    ),
}
"""By name."""


class Packets(NamedTuple):
    """What is measured with a level of calls and packets.

    Attributes:
        peers: whose packets.
        packets_per_s: of all calls together.
    """

    peers: list[str]
    packets_per_s: float

    def run(self) -> Results:
        """Measure it; lines of progress go to standard error."""
        makers = peers_by_name(CALLS)
        plan = Plan(
            {name: makers[name] for name in self.peers}, [(CALLS, self.packets_per_s)], ROUNDS, SECONDS
        )
        with Suite(plan, lambda line: print(line, file=sys.stderr, flush=True)) as suite:
            return suite.run()


PACKETS: Final = {
    "packet": Packets([NH, RTPENGINE, FLOOR_C, FLOOR_PYTHON], BESIDE_PEERS_PER_S),
    "latency": Packets([NH], PACKETS_PER_S),
}
"""By name."""


def measure(name: str) -> Results:
    """The results with what the goal `name` needs."""
    if name in PACKETS:
        return PACKETS[name].run()
    results = Results(
        taken=datetime.now(UTC).isoformat(timespec="seconds"), machine=describe_machine(), seconds=SECONDS
    )
    MEASUREMENTS[name].add_to(results)
    return results


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print each goal with what was measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.one_goal",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("goal", choices=[*PACKETS, *MEASUREMENTS])
    for goal in judge_goals(measure(parser.parse_args(arguments).goal)):
        print(f"{goal.what}: {goal.figure}, goal {goal.limit}: {'met' if goal.met else 'missed'}")


if __name__ == "__main__":
    main()
