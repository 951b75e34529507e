"""What one packet costs nh in user space, beside the smallest possible Python relays, in one run.

    python -m benchmarks.userspace_floor [--streams 500] [--rate 20000] [--rounds 7] [--json FILE]

The same as `python -m benchmarks` with these peers, with the coalescing that is asked for. One of the
smallest relays serves each packet at once, the other one waits for more packets as long as nh does.
`python -m benchmarks.one_goal packet` says whether the goals are met.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import cpu_us, loss_percent, ratios, spread
from benchmarks.peers.floor import PythonFloor
from benchmarks.peers.interface import Peer
from benchmarks.peers.names import FLOOR_PYTHON, FLOOR_PYTHON_COALESCED, NH
from benchmarks.peers.nh import Nh
from benchmarks.results import Results
from benchmarks.suite import Plan, Suite
from nh.calls.settings import RelaySettings
from nh.errors import ConfigError
from tools.arguments import number, whole_number
from tools.rtpload.report.files import check_file


def report(results: Results) -> None:
    """Print medians with their spread."""
    peers = results.levels[-1].peers
    for name, figures in peers.items():
        cost = spread(cpu_us(figures.rounds))
        if cost:
            lost = f"{loss_percent(figures.rounds):.3g} % lost"
            print(f"{name:>22}: median {cost.median:.2f} µs ({cost.least:.2f} to {cost.most:.2f}), {lost}")
    for floor in (FLOOR_PYTHON, FLOOR_PYTHON_COALESCED):
        if not {NH, floor} <= peers.keys():
            continue
        ratio = spread(ratios(cpu_us(peers[NH].rounds), cpu_us(peers[floor].rounds)))
        if ratio:
            text = f"median {ratio.median:.3f} ({ratio.least:.3f} to {ratio.most:.3f})"
            print(f"{NH} / {floor}: {text}")


def main() -> None:
    """Measure, print, and write the readings if a file is given."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.userspace_floor",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--streams", type=whole_number(2), default=500, help="directions; two make a call")
    parser.add_argument(
        "--rate",
        type=number(1, 10_000_000),
        default=20_000,
        help="packets a second, all streams together",
    )
    parser.add_argument("--seconds", type=number(0.1, 3600), default=2.0, help="length of a round")
    parser.add_argument("--rounds", type=whole_number(1), default=7)
    parser.add_argument(
        "--coalesce-s",
        type=number(0, 0.02),
        default=RelaySettings().coalesce_s,
        help="nh's setting, and the wait of the floor; 0: at once",
    )
    parser.add_argument("--json", type=Path, help="write the readings to this file")
    options = parser.parse_args()
    if options.json:
        try:
            check_file("--json", options.json)
        except ConfigError as exc:
            parser.error(str(exc))
    peers: dict[str, Callable[[], Peer]] = {
        FLOOR_PYTHON: PythonFloor,
        FLOOR_PYTHON_COALESCED: lambda: PythonFloor(options.coalesce_s),
        NH: lambda: Nh(flags=("--coalesce-s", str(options.coalesce_s))),
    }
    plan = Plan(peers, [(options.streams // 2, options.rate)], options.rounds, options.seconds)
    with Suite(plan, lambda line: print(line, file=sys.stderr, flush=True)) as suite:
        results = suite.run()
    report(results)
    if options.json:
        results.write(options.json)


if __name__ == "__main__":
    main()
