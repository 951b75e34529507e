"""A warm standby takes many calls over from a host that dies: when they have media again, and what it costs.

    python -m benchmarks.promotion [--calls 5000] [--shards 2] [--kernel] [--lease 3] [--keepalived]

Two relays in network namespaces, with a Redis or Valkey server; needs root. Most calls are silent after a
packet from each end, by which the relay knows their sources. Media flow in the others, and their gaps tell
when the calls are heard again. The address goes to the standby once that is ready, or when keepalived has it
so, with the configuration of docs/how-to/failover.md. All times count from the death of the host.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import contextlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from benchmarks.call_ports import ports_for
from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Activate, Allocate, TransactionKey
from tools.arguments import whole_number
from tools.harness.hosts import LEASE_S, PHONES, VIRTUAL, Host, Hosts, some_hosts
from tools.harness.keepalived import Keepalived
from tools.harness.rtp_phone import Phone
from tools.harness.waiting import eventually
from tools.rtpload.streams.record import StreamRecord
from tools.survive.background_load import background_load
from tools.survive.host_scenario import host_load, host_path
from tools.survive.scenario import MEDIA_AFTERWARDS_S, RELAY_NICE, wait_until_latched

TALKING: Final = 20
"""Calls with media."""

PATIENCE_S: Final = 120.0
SILENT_S: Final = 3600
LOOK_S: Final = 0.005


def begin_silent_calls(host: Host, count: int) -> None:
    """Set calls up, each of whose ends sends one packet: all of them are one phone."""
    phone = Phone(PHONES)
    phone.socket.settimeout(PATIENCE_S)
    media = (Media(PHONES, phone.port, 2, "RTP/AVP", "audio"),)
    with contextlib.closing(phone.socket), NativeClient(host.deployment.address) as client:
        for number in range(count):
            key = TransactionKey(b"silent-%d" % number, 1, b"from", b"to")
            ports = [client.request(Allocate(key, side, VIRTUAL, media)).media[0].port for side in Side]
            client.request(Activate(key))
            for port in ports:
                phone.target = (VIRTUAL, port)
                phone.send()
                phone.socket.recv(2048)


def cpu_s(host: Host) -> dict[str, float]:
    """CPU time of the processes of a relay so far, seconds, by what they are."""
    spent: dict[str, float] = {}
    for process in host.deployment.processes():
        try:
            times, words = process.cpu_times(), process.cmdline()
        except psutil.Error:
            continue
        kind = next((word for word in words if word.startswith("nh.")), "supervisor")
        spent[kind] = spent.get(kind, 0.0) + times.user + times.system
    return spent


def heard_again_s(records: list[StreamRecord], since_ns: int) -> list[float]:
    """When the streams of RTP were heard again, seconds since then, in order."""
    gaps = [record.longest for record in records if record.media and record.longest is not None]
    return sorted((gap.began_ns + gap.length_ns - since_ns) / 1e9 for gap in gaps)


class Moments(NamedTuple):
    """When the standby had what, seconds after the death of the host; 0.0: never."""

    promoted_s: float
    address_s: float
    ready_s: float


def let_die(network: Hosts, keepalived: list[Keepalived]) -> Moments:
    """Let the host with the calls die, and wait until the other one serves them."""
    one, two = network.hosts
    began = time.monotonic()
    for each in keepalived[:1]:
        each.kill_all()
    one.kill()
    at: dict[str, float] = {}
    while len(at) < len(Moments._fields):
        lines = "\n".join(two.deployment.relay.program.lines)
        found = {
            "promoted_s": "promoted: this relay has the calls" in lines,
            "ready_s": "ready: " in lines,
            "address_s": two.has_address(),
        }
        if found["ready_s"] and not keepalived and not found["address_s"]:
            network.move_address(two)
        for name, is_there in found.items():
            if is_there:
                at.setdefault(name, time.monotonic() - began)
        if time.monotonic() > began + PATIENCE_S:
            raise SystemExit(f"the standby has only: {at}")
        time.sleep(LOOK_S)
    return Moments(**at)


def measure(network: Hosts, calls: int, keepalived: list[Keepalived]) -> None:
    """Let the host with the calls die, and print what came of it."""
    one, two = network.hosts
    if not keepalived:
        network.move_address(one)
    one.start()
    eventually(one.has_address, "the first host has the address", PATIENCE_S)
    with network.phones.entered():
        begin_silent_calls(one, calls - TALKING)
        two.start_standby()
        with background_load(host_load(TALKING)) as load:
            wait_until_latched(one.deployment, load, calls)
            eventually(
                lambda: (
                    two.deployment.stats().supervisor.standby_calls == calls
                    and not one.deployment.stats().supervisor.store_pending
                ),
                "warm",
                PATIENCE_S,
                poll_s=0.2,
            )
            before, died_ns = cpu_s(two), time.monotonic_ns()
            moments = let_die(network, keepalived)
            time.sleep(MEDIA_AFTERWARDS_S)
            report = load.stop()
        after = cpu_s(two)
    heard = heard_again_s(list(report.streams), died_ns)
    restored = two.deployment.stats().totals.calls_restored
    print(f"{calls} calls, {restored} restored")
    print(
        "after the death of the host:",
        ", ".join(f"{name} {at:.2f}" for name, at in moments._asdict().items()),
    )
    print(f"heard again after {statistics.median(heard):.2f} s (median), {heard[-1]:.2f} s (worst", end=" ")
    print(f"of {len(heard)} streams); {heard[-1] - moments.promoted_s:.2f} s after the promotion")
    for kind, spent in after.items():
        print(f"CPU of {kind}: {spent - before.get(kind, 0.0):.2f} s")


def main() -> None:
    """Read the command line, and measure once."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.promotion", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--calls", type=whole_number(1), default=5000, help="calls of the host that dies (%(default)s)"
    )
    parser.add_argument("--shards", type=whole_number(1), default=2, help="of each relay (%(default)s)")
    parser.add_argument(
        "--lease", type=whole_number(1), default=LEASE_S, help="of the calls, seconds (%(default)s)"
    )
    parser.add_argument("--keepalived", action="store_true", help="keepalived moves the address")
    parser.add_argument("--kernel", action="store_true", help="media go through the kernel, not user space")
    options = parser.parse_args()
    ports = ports_for(options.calls)
    settings = {"silent_s": SILENT_S, "unused_s": SILENT_S, **host_path(kernel=options.kernel)}
    if options.keepalived:
        settings["http"] = "127.0.0.1:8080"
    with (
        some_hosts(
            shards=options.shards, ports=ports, nice=RELAY_NICE, lease_s=options.lease, **settings
        ) as network,
        contextlib.ExitStack() as stack,
    ):
        hosts = network.hosts if options.keepalived else ()
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        keepalived = [stack.enter_context(Keepalived(host, directory)) for host in hosts]
        measure(network, options.calls, keepalived)


if __name__ == "__main__":
    main()
