"""Measures nh beside its peers, in one run.

    python -m benchmarks [--calls 100,500] [--rounds 5] [--peers nh,rtpengine] [--json FILE] [--plot FILE]
    python -m benchmarks --quick         does everything work?
    python -m benchmarks --markdown      writes the latest results into docs/explanation/performance.md

benchmarks/README.md says what is measured and how.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import signal
import sys
from pathlib import Path
from typing import Final

from benchmarks.goals import BESIDE_PEERS_PER_S, CALLS
from benchmarks.markdown import put_between_markers, write_markdown
from benchmarks.one_goal import MEASUREMENTS
from benchmarks.peers.registry import NAMES, peers_by_name
from benchmarks.plot import plot
from benchmarks.results import LATEST, Results, read_results
from benchmarks.suite import Plan, Suite, make_levels
from nh.errors import ConfigError
from tools.arguments import number, whole_number
from tools.rtpload.report.files import check_file
from tools.rtpload.report.plot import check_plot

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "explanation" / "performance.md"


_CALLS: Final = whole_number(1, 100_000)
_RATE: Final = number(1, 10_000_000)


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; returns the exit status."""
    options = _parse(arguments)
    try:
        _check_files(options)
    except ConfigError as exc:
        print(f"benchmarks: {exc}", file=sys.stderr)
        return 2
    if options.markdown:
        results = read_results(options.json or LATEST)
        put_between_markers(DOCUMENT, write_markdown(results))
        _plot(results, options.plot)
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was started, as Ctrl-C does
    results, status = _measure(options)
    if not results.levels:
        return status
    print("\n" + write_markdown(results))
    if options.json:
        results.write(options.json)
    _plot(results, options.plot)
    return status


def _check_files(options: argparse.Namespace) -> None:
    """Raises ConfigError before hours of measuring, if their results could not be written."""
    if options.json and not options.markdown:
        check_file("--json", options.json)
    if options.plot:
        check_plot(options.plot)
    if options.markdown and not (source := options.json or LATEST).is_file():
        raise ConfigError(f"--markdown: there are no results at {source}; measure with --json {source} first")


def _plot(results: Results, path: Path | None) -> None:
    if path is not None:
        plot(results, path)


def _measure(options: argparse.Namespace) -> tuple[Results, int]:
    if options.quick:
        options.calls, options.real_calls, options.rounds, options.seconds = [10], [], 1, 0.5
        options.level = []
    levels = make_levels(options.calls, options.real_calls, options.rate, options.level)
    makers = peers_by_name(max(calls for calls, _ in levels))
    plan = Plan({name: makers[name] for name in options.peers}, levels, options.rounds, options.seconds)
    with Suite(plan, lambda line: print(line, file=sys.stderr, flush=True)) as suite:
        try:
            suite.run()
        except KeyboardInterrupt:
            suite.results.levels[-1:] = []  # it is not complete
            return suite.results, 130
    for name in options.also:
        MEASUREMENTS[name].add_to(suite.results)
    return suite.results, 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _add_levels(parser)
    parser.add_argument(
        "--rounds", type=whole_number(1), default=5, help="of each peer at each number of calls (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=number(0.1, 3600), default=2.0, help="length of a round, at least (%(default)s)"
    )
    parser.add_argument("--peers", type=_names, default=list(NAMES), help=f"of {', '.join(NAMES)} (all)")
    for name, each in MEASUREMENTS.items():
        parser.add_argument(
            f"--{name}",
            dest="also",
            action="append_const",
            const=name,
            default=[],
            help=f"also {each.what}",
        )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help=f"write the results to this file, such as {LATEST}"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw a chart: .png or .svg; needs matplotlib"
    )
    parser.add_argument("--quick", action="store_true", help="10 calls, one round: does everything work?")
    parser.add_argument(
        "--markdown", action="store_true", help=f"make the tables of {DOCUMENT.name} from --json"
    )
    options = parser.parse_args(arguments)
    if not (options.calls or options.real_calls or options.level):
        parser.error("--calls, --real-calls and --level are all empty: there is nothing to measure")
    return options


def _add_levels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--calls",
        type=_numbers,
        default=[100, 500, 2000, 10_000],
        help="numbers of calls (100,500,2000,10000)",
    )
    parser.add_argument(
        "--real-calls",
        type=_numbers,
        default=[100, 200],
        help="more, at 50 packets/s in each direction of each (100,200)",
    )
    parser.add_argument(
        "--rate",
        type=_RATE,
        default=20_000.0,
        help="packets/s of all calls of --calls together (%(default)s)",
    )
    parser.add_argument(
        "--level",
        type=_levels,
        default=[(CALLS, BESIDE_PEERS_PER_S)],
        help=f"more, at rates of their own ({CALLS}@{BESIDE_PEERS_PER_S:.0f}, judged beside peers)",
    )


def _numbers(text: str) -> list[int]:
    return [_CALLS(word) for word in text.split(",") if word]


def _levels(text: str) -> list[tuple[int, float]]:
    pairs = [word.partition("@") for word in text.split(",") if word]
    if not all(at for _, at, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of CALLS@PACKETS_PER_S, such as 500@30000")
    return [(_CALLS(calls), _RATE(packets_per_s)) for calls, _, packets_per_s in pairs]


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in NAMES]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(NAMES)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
