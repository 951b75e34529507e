"""What the memory of a call with media is, by process: what resident memory grows by, divided by the calls.

    python -m benchmarks.memory [--calls 500 2000] [--ng | --perl]

One shard in user space. Every stream of each call has latched and has been measured, and the counters of each
call have been saved, before memory is read.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import time
from typing import Final

import psutil

from benchmarks.peers.ng_relays import ng_control
from benchmarks.peers.nh import TIMEOUT_S, Nh, nh_alone
from benchmarks.peers.signalling import set_up_by_control, set_up_by_perl
from benchmarks.streams import Stream
from benchmarks.suite import IDLE_S
from nh.client import NativeClient
from nh.shard.recovery.refresh import REFRESH_S
from tools.arguments import whole_number
from tools.harness.ports import free_port
from tools.rtpload.command_times import CommandTimes
from tools.rtpload.controls.interface import Control
from tools.rtpload.controls.native import NativeControl

ADDRESS: Final = "127.0.1.103"
PACKETS_PER_S: Final = 10_000.0
SET_UP_IN_A_ROW: Final = 250
PACKETS: Final = 3
"""Of each stream in one round."""

ROUNDS: Final = 3


def measure(levels: list[int], *, ng: bool, perl: bool = False) -> None:
    """Print for each number of calls what a call takes in each process."""
    port = free_port()
    nh = Nh(flags=("--ng", f"{ADDRESS}:{port}", "--address", ADDRESS) if ng else ())
    with (
        nh_alone(nh, ADDRESS) as (site, phones),
        NativeClient(nh.rpc, TIMEOUT_S) as client,
    ):
        control: Control = (
            ng_control(f"{ADDRESS}:{port}") if ng else NativeControl(client, ADDRESS, CommandTimes())
        )
        time.sleep(IDLE_S)
        idle = resident(nh.pids())
        streams: list[Stream] = []
        for level in levels:
            for first in range(len(streams) // 2, level, SET_UP_IN_A_ROW):
                numbers = range(first, min(level, first + SET_UP_IN_A_ROW))
                streams += (
                    set_up_by_perl(nh.rpc, ADDRESS, site.client_cpu, numbers, phones)
                    if perl
                    else set_up_by_control(control, numbers, phones)
                ).streams
            for number in range(ROUNDS):
                duration_s = len(streams) * PACKETS / PACKETS_PER_S
                phones.play(streams, number=number, packets_per_s=PACKETS_PER_S, duration_s=duration_s)
                time.sleep(REFRESH_S / 2)
            _print(level, idle, resident(nh.pids()))


def resident(pids: list[int]) -> dict[str, int]:
    """Resident bytes by process: the supervisor, and what is below it."""
    found: dict[str, int] = {}
    for root in map(psutil.Process, pids):
        found["supervisor"] = root.memory_info().rss
        for number, child in enumerate(root.children(recursive=True)):
            found[f"child {number}"] = child.memory_info().rss
    return found


def _print(calls: int, idle: dict[str, int], now: dict[str, int]) -> None:
    grown = {name: (size - idle.get(name, 0)) / calls for name, size in now.items()}
    parts = ", ".join(f"{name} {size / 1000:.2f}" for name, size in grown.items() if abs(size) > 1)
    print(f"{calls:>6} calls: {sum(grown.values()) / 1000:.2f} kB a call ({parts})", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--calls", type=whole_number(1), nargs="+", default=[500, 2000], help="numbers, ascending"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--ng", action="store_true", help="by offer and answer; else by Net::SIP's commands")
    how.add_argument("--perl", action="store_true", help="by Perl's client of Net::SIP, as all benchmarks do")
    options = parser.parse_args()
    measure(options.calls, ng=options.ng, perl=options.perl)


if __name__ == "__main__":
    main()
