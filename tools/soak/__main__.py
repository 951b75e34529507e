"""Calls come and go with media both ways while faults strike a relay of its own, for a given time.

Exit status 0: every promise was kept; 1: there are findings; 2: it could not be run. Ctrl-C ends it early,
with a verdict on what there was.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import secrets
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from nh.errors import ConfigError
from tools.arguments import number, port_range, whole_number
from tools.rtpload.report.files import check_file, write_file
from tools.soak.soak import UNEXPECTED, Plan, Soak
from tools.soak.subjects import Kind
from tools.survive.faults import FaultKind
from tools.survive.host_faults import HostFault

FAULTS = tuple(kind for kind in FaultKind if kind is not FaultKind.NONE)
HOST_FAULTS = tuple(kind for kind in HostFault if kind not in (HostFault.NOTHING, HostFault.CUT_SERVER))
"""A host that does not reach the server answers until it notices, and those calls end with its lease: they
would be findings."""


def main() -> int:
    """The program; its exit status."""
    arguments = _parser().parse_args()
    if arguments.json is not None:
        try:
            check_file("--json", arguments.json)
        except ConfigError as exc:
            _parser().error(str(exc))
    console = Console(stderr=True)
    plan = Plan(
        minutes=arguments.minutes,
        seed=arguments.seed if arguments.seed is not None else secrets.randbits(32),
        kernel=arguments.kernel,
        shards=arguments.shards,
        calls=arguments.calls,
        call_s=arguments.call_s,
        pause_s=arguments.pause_s,
        kinds=_kinds(arguments.hosts, arguments.fault),
        hosts=arguments.hosts,
        ports=arguments.ports,
        patience_s=arguments.patience_s,
    )
    console.print(f"seed {plan.seed}")
    with tempfile.TemporaryDirectory(prefix="nh-soak-") as name:
        try:
            with console.status("starting") as status:
                soak = Soak(plan, Path(name), status.update)
                signal.signal(signal.SIGINT, lambda *_: soak.stop())
                report = soak.run()
        except UNEXPECTED as exc:
            print(f"soak: {exc}", file=sys.stderr)
            return 2
    print(report)
    if arguments.json is not None:
        write_file(arguments.json, report.to_json())
    return 1 if report.findings else 0


def _kinds(hosts: bool, names: Sequence[str] | None) -> tuple[Kind, ...]:
    """The faults of these names, or all. Exits with status 2 for another name."""
    kinds: type[Kind] = HostFault if hosts else FaultKind
    for name in names or ():
        if name not in list(kinds):
            _parser().error(f"--fault: {name!r} is none of {', '.join(kinds)}")
    return tuple(map(kinds, names or ())) or (HOST_FAULTS if hosts else FAULTS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.soak", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=number(0.1, 10_000), default=10.0, help="how long (default: 10)")
    parser.add_argument("--seed", type=int, help="of all chance, to repeat a soak (default: any; it is told)")
    parser.add_argument("--kernel", action="store_true", help="media through the kernel, on loopback")
    parser.add_argument("--shards", type=whole_number(1), default=2, help="shard processes (default: 2)")
    parser.add_argument("--calls", type=whole_number(1), default=100, help="calls at once (default: 100)")
    parser.add_argument(
        "--call-s", type=number(0.1, 3600), default=20.0, help="mean length of a call (default: 20)"
    )
    parser.add_argument(
        "--pause-s", type=number(0, 3600), default=8.0, help="mean time between faults (default: 8)"
    )
    parser.add_argument(
        "--hosts", action="store_true", help="two hosts in network namespaces, and faults of hosts"
    )
    names = f"{', '.join(FaultKind)};\nwith --hosts: {', '.join(HOST_FAULTS)}"
    parser.add_argument(
        "--fault", action="append", metavar="FAULT", help=f"only this one; repeatable:\n{names}"
    )
    parser.add_argument(
        "--ports",
        type=port_range,
        metavar="MIN-MAX",
        help="media ports of the relay (default: some that are free)",
    )
    parser.add_argument(
        "--patience-s",
        type=number(0, 3600),
        default=0.0,
        help="how much longer gaps and starts may be, on a host that has other things to do (default: 0)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
