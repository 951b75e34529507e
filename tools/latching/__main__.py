"""`python -m tools.latching [RELAY]...`: the table of attacks and accidents, in Markdown."""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import contextlib
import resource
import socket
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from nh.errors import NhError
from tools.harness import HarnessError
from tools.latching.relays import PORTS, RELAYS, MakeControl, is_here
from tools.latching.scenarios import SCENARIOS, Outcome, Scenario
from tools.latching.talk import IPV6, IPV6_ADDRESSES, LATCHED_S, LIMIT_S, Talk

PORTS_OF_A_CALL = 4


@contextlib.contextmanager
def call_for(
    make_control: MakeControl, scenario: Scenario, *, latched_s: float = LATCHED_S, limit_s: float = LIMIT_S
) -> Iterator[Talk]:
    """A call of its own for a scenario; see Talk."""
    with (
        contextlib.closing(make_control(scenario.hosts)) as control,
        Talk(
            control,
            announced=scenario.announced,
            hosts=scenario.hosts,
            component=scenario.component,
            latched_s=latched_s,
            limit_s=limit_s,
        ) as talk,
    ):
        yield talk


def run_scenario(make_control: MakeControl, scenario: Scenario) -> Outcome:
    """One scenario on a call of its own."""
    with call_for(make_control, scenario) as talk:
        return scenario.run(talk)


def run_all(name: str, scenarios: Sequence[Scenario], *, ipv6: bool) -> dict[Scenario, str]:
    """The cells of one relay: all scenarios side by side, but those that need a relay with few ports."""
    cells = {}
    alone = [scenario for scenario in scenarios if scenario.few_ports]
    with RELAYS[name](ports=PORTS, ipv6=ipv6) as make_control, ThreadPoolExecutor(len(scenarios)) as pool:
        beside = {
            scenario: pool.submit(run_scenario, make_control, scenario)
            for scenario in scenarios
            if scenario not in alone
        }
        cells = {scenario: str(running.result()) for scenario, running in beside.items()}
    for scenario in alone:
        with RELAYS[name](ports=PORTS_OF_A_CALL, ipv6=ipv6) as make_control:
            cells[scenario] = str(run_scenario(make_control, scenario))
    return cells


def has_ipv6() -> bool:
    """Whether this host, or network namespace, has the addresses of calls over IPv6."""
    try:
        for address in set(IPV6) - {IPV6.private}:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
                probe.bind((address, 0))
    except OSError:
        return False
    return True


def _relay(name: str) -> str:
    if name not in RELAYS:
        raise argparse.ArgumentTypeError(f"no such relay: {name}; there are: {'; '.join(RELAYS)}")
    return name


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.latching", description=__doc__)
    parser.add_argument(
        "relay",
        nargs="*",
        type=_relay,
        metavar="RELAY",
        help=f"one of {'; '.join(RELAYS)} (default: each that is installed)",
    )
    names = parser.parse_args(arguments).relay
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ipv6 = has_ipv6()
    if not ipv6:
        commands = "; ".join(("ip link set lo up", *IPV6_ADDRESSES, "exec python -m tools.latching"))
        print(f"IPv6 is left out. With it: unshare --net sh -c '{commands}'", file=sys.stderr)
    scenarios = [scenario for scenario in SCENARIOS if ipv6 or scenario.hosts is not IPV6]
    columns: dict[str, dict[Scenario, str]] = {}
    for name in names or [name for name in RELAYS if is_here(name)]:
        try:
            columns[name] = run_all(name, scenarios, ipv6=ipv6)
        except (HarnessError, NhError) as exc:
            print(f"{name} is left out: {str(exc)[:300]}", file=sys.stderr)
    print(f"| | {' | '.join(columns)} |")
    print(f"|{' --- |' * (len(columns) + 1)}")
    for scenario in scenarios:
        print(f"| {scenario.title} | {' | '.join(cells[scenario] for cells in columns.values())} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
