"""1,000 browsers begin ICE and DTLS at the same instant: what plain calls beside them notice.

    python -m benchmarks.browser_burst [--browsers 1000] [--calls 100] [--shards 2]

In a network namespace of its own; needs root. Plain calls are measured alone first.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import contextlib
from typing import Final

from benchmarks.call_ports import ports_for
from tools.arguments import whole_number
from tools.harness.deployment import Deployment
from tools.harness.namespaces import namespaces
from tools.harness.relay import place_for_relay
from tools.survive.burst import Burst, play_burst
from tools.survive.scenario import RELAY_NICE

NG: Final = "127.0.0.1:2223"
SUITE: Final = "AEAD_AES_128_GCM"


def show(burst: Burst) -> None:
    """Print what came of it."""
    times = burst.browsers.signalled.commands["handshake"]
    failed = sum(each.count for each in burst.browsers.signalled.failures)
    print(f"{times.count} browsers have keys, {failed} calls failed")
    print(f"time to the keys: {times.p50_ms:.0f} ms (median), {times.p99_ms:.0f} ms (p99),")
    print(f"{times.max_ms:.0f} ms (the last one)")
    lost = sum(stream.lost for stream in burst.plain.streams)
    print(f"plain calls: {lost} packets lost of {burst.plain.both.sent};")
    print(f"longest gap alone {burst.longest_gap_ms(burst.quiet):.0f} ms,")
    print(f"beside the handshakes {burst.longest_gap_ms(burst.handshakes):.0f} ms (0: below 40 ms)")
    print("second by second: latency p50, p99 and maximum, lateness of the generator p99, ms")
    for moment in burst.plain.timeline:
        figures = (moment.p50_ms, moment.p99_ms, moment.max_ms, moment.lateness_p99_ms)
        print(f"  {moment.at_s:4.0f} s: " + " ".join(f"{each:7.2f}" for each in figures))


def main() -> None:
    """Read the command line, and measure once."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.browser_burst", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--browsers", type=whole_number(1), default=1000, help="that come (%(default)s)")
    parser.add_argument(
        "--calls", type=whole_number(1), default=100, help="plain ones beside them (%(default)s)"
    )
    parser.add_argument("--shards", type=whole_number(1), default=2, help="of the relay (%(default)s)")
    options = parser.parse_args()
    ports = ports_for(options.browsers + options.calls)
    settings = {"ng": NG, "address": "127.0.0.1", "kernel": "off"}
    with (
        namespaces(1) as [namespace],
        place_for_relay(ports) as place,
        namespace.entered(),
        contextlib.closing(Deployment(place, settings, shards=options.shards, nice=RELAY_NICE)) as deployment,
    ):
        deployment.start()
        show(play_burst(deployment, NG, SUITE, browsers=options.browsers, calls=options.calls))


if __name__ == "__main__":
    main()
