"""A warm standby takes many calls over from a host that dies: when they have media again, and what it costs.

    python -m benchmarks.promotion [--calls 5000] [--shards 2] [--kernel]

Two relays in network namespaces, with a Redis or Valkey server; needs root. Most calls are silent after a
packet from each end, by which the relay knows their sources. Media flow in the others, and their gaps tell
when the calls are heard again. The address goes to the standby once that is ready, as keepalived does it.
"""

import argparse
import contextlib
import re
import statistics
import time
from typing import Final

import psutil

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Activate, Allocate, TransactionKey
from tools.harness.hosts import PHONES, VIRTUAL, Host, Hosts, some_hosts
from tools.harness.rtp_phone import Phone
from tools.harness.waiting import eventually
from tools.rtpload.streams.record import StreamRecord
from tools.survive.background_load import background_load
from tools.survive.host_scenario import host_load, host_path
from tools.survive.scenario import MEDIA_AFTERWARDS_S, RELAY_NICE, wait_until_latched

TALKING: Final = 20
"""Calls with media."""

PORTS_PER_CALL: Final = 4
SPARE: Final = 1.5
"""Shards have ports for so many times their share: call-ids are not dealt out evenly."""

FIRST_PORT: Final = 20_000
PATIENCE_S: Final = 120.0
SILENT_S: Final = 3600


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


def measure(network: Hosts, calls: int) -> None:
    """Let the host with the calls die, and print what came of it."""
    one, two = network.hosts
    network.move_address(one)
    one.start()
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
            before = cpu_s(two)
            one.kill()
            program = two.deployment.relay.program
            took = re.search(r"\((\d+) ms\)", program.wait_for_line("promoted: this relay has the calls"))
            promoted_ns = time.monotonic_ns()
            program.wait_for_line("ready: ")
            ready_s = (time.monotonic_ns() - promoted_ns) / 1e9
            network.move_address(two)
            time.sleep(MEDIA_AFTERWARDS_S)
            report = load.stop()
        after = cpu_s(two)
    heard = heard_again_s(list(report.streams), promoted_ns)
    restored = two.deployment.stats().totals.calls_restored
    assert took is not None
    print(f"{calls} calls, {restored} restored; the lease was had within {took[1]} ms")
    print(f"ready {ready_s:.2f} s after that; heard again after {statistics.median(heard):.2f} s (median),")
    print(f"{heard[-1]:.2f} s (worst of {len(heard)} streams)")
    for kind, spent in after.items():
        print(f"CPU of {kind}: {spent - before.get(kind, 0.0):.2f} s")


def main() -> None:
    """Read the command line, and measure once."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=5000, help="calls of the host that dies (%(default)s)")
    parser.add_argument("--shards", type=int, default=2, help="of each relay (%(default)s)")
    parser.add_argument("--kernel", action="store_true", help="media go through the kernel, not user space")
    options = parser.parse_args()
    room = round(options.calls * PORTS_PER_CALL * SPARE)
    ports = range(FIRST_PORT, min(65_536, FIRST_PORT + room))
    settings = {"silent_s": SILENT_S, "unused_s": SILENT_S, **host_path(kernel=options.kernel)}
    with some_hosts(shards=options.shards, ports=ports, nice=RELAY_NICE, **settings) as network:
        measure(network, options.calls)


if __name__ == "__main__":
    main()
