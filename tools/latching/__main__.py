"""`python -m tools.latching [RELAY]...`: the table of attacks and accidents, in Markdown."""

import contextlib
import resource
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tools.harness import HarnessError
from tools.latching.relays import RELAYS, MakeControl, is_here
from tools.latching.scenarios import SCENARIOS, Outcome, Scenario
from tools.latching.talk import IPV4, LATCHED_S, Hosts, Talk


def run_scenario(
    make_control: MakeControl, scenario: Scenario, *, hosts: Hosts = IPV4, latched_s: float = LATCHED_S
) -> Outcome:
    """One scenario on a call of its own; see Talk."""
    with (
        contextlib.closing(make_control()) as control,
        Talk(control, announced=scenario.announced, hosts=hosts, latched_s=latched_s) as talk,
    ):
        return scenario.run(talk)


def run_all(name: str) -> list[str]:
    """The cells of one relay: all scenarios side by side."""
    with RELAYS[name]() as make_control, ThreadPoolExecutor(len(SCENARIOS)) as pool:
        running = [pool.submit(run_scenario, make_control, scenario) for scenario in SCENARIOS]
        return [str(each.result()) for each in running]


def main(names: Sequence[str]) -> int:
    """Print the table. Returns the exit status: 0, or 2 for an unknown relay."""
    for name in names:
        if name not in RELAYS:
            print(f"no such relay: {name}; there are: {', '.join(RELAYS)}", file=sys.stderr)
            return 2
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    columns: dict[str, list[str]] = {}
    for name in names or [name for name in RELAYS if is_here(name)]:
        try:
            columns[name] = run_all(name)
        except HarnessError as exc:
            print(f"{name} is left out: {str(exc)[:300]}", file=sys.stderr)
    print(f"| | {' | '.join(columns)} |")
    print(f"|{' --- |' * (len(columns) + 1)}")
    for index, scenario in enumerate(SCENARIOS):
        print(f"| {scenario.title} | {' | '.join(cells[index] for cells in columns.values())} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
