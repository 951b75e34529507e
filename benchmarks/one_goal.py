"""Measures one goal by itself, and says whether it is reached.

    python -m benchmarks.one_goal latency|commands|one-way|kernel-calls|set-up

The same measurement as in `python -m benchmarks`, without the peers that the goal does not need.
"""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from benchmarks.command_latency import measure_commands
from benchmarks.goals import CALLS, judge_goals
from benchmarks.kernel_calls import measure_kernel_calls
from benchmarks.machine import describe_machine
from benchmarks.one_way import measure_one_way
from benchmarks.peers.names import NH
from benchmarks.peers.registry import peers_by_name
from benchmarks.results import Results
from benchmarks.set_up import measure_set_ups
from benchmarks.suite import Plan, Suite

ROUNDS: Final = 10
SECONDS: Final = 2.0
PACKETS_PER_S: Final = 20_000.0


def measure(name: str) -> Results:
    """The results with what the goal `name` needs."""
    if name == "latency":
        plan = Plan({NH: peers_by_name(CALLS)[NH]}, [(CALLS, PACKETS_PER_S)], ROUNDS, SECONDS)
        with Suite(plan, lambda line: print(line, file=sys.stderr, flush=True)) as suite:
            return suite.run()
    results = Results(
        taken=datetime.now(UTC).isoformat(timespec="seconds"), machine=describe_machine(), seconds=SECONDS
    )
    _MEASUREMENTS[name](results)
    return results


def _commands(results: Results) -> None:
    results.commands = measure_commands()


def _one_way(results: Results) -> None:
    results.one_way = measure_one_way()


def _kernel_calls(results: Results) -> None:
    results.kernel_calls = measure_kernel_calls()


def _set_up(results: Results) -> None:
    results.set_ups = measure_set_ups()


_MEASUREMENTS: Final[dict[str, Callable[[Results], None]]] = {
    "commands": _commands,
    "one-way": _one_way,
    "kernel-calls": _kernel_calls,
    "set-up": _set_up,
}


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print each goal with what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("goal", choices=["latency", *_MEASUREMENTS])
    for goal in judge_goals(measure(parser.parse_args(arguments).goal)):
        print(f"{goal.what}: {goal.figure}, goal {goal.limit}: {'met' if goal.met else 'missed'}")


if __name__ == "__main__":
    main()
