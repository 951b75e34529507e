"""What the statistics of RTP streams cost a packet in user space: nanoseconds, the least of seven rounds.

    python -m benchmarks.meter_cost

Beyond an empty call with the same arguments: the packet that was expected, which nearly all are, and the
rarer ones that take the long way.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import struct
import time
from collections.abc import Callable, Sequence
from typing import Final

from nh.calls.rtp.meter import RtpMeter

PACKETS: Final = 50_000
ROUNDS: Final = 7
PCMU, DTMF, MARKER = 0, 101, 0x80

Measure = Callable[[bytes, int, float], object]


def packets(second_byte: int = PCMU, step: int = 1) -> list[bytes]:
    """RTP of one stream, whose sequence numbers go up by `step`; the least of it: the header."""
    return [
        struct.pack("!BBHII", 0x80, second_byte, n & 0xFFFF, (3_000_000_000 + n * 160) % 2**32, 0xDEADBEEF)
        for n in range(0, PACKETS * step, step)
    ]


def least_ns(make: Callable[[], Measure], stream: Sequence[bytes]) -> float:
    """Nanoseconds a packet."""
    return min(_round(make(), stream) for _ in range(ROUNDS)) / len(stream) * 1e9


def _round(measure: Measure, stream: Sequence[bytes]) -> float:
    now = 100_000.0
    started = time.perf_counter()
    for packet in stream:
        measure(packet, 172, now)
        now += 0.02
    return time.perf_counter() - started


def _nothing(buffer: bytes, size: int, now: float) -> None:
    pass


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.meter_cost",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    ).parse_args()
    empty = least_ns(lambda: _nothing, packets())
    print(f"an empty call: {empty:.0f} ns; beyond it:")
    for name, stream in {
        "the expected packet": packets(),
        "behind a gap": packets(step=2),
        "with a marker": packets(PCMU | MARKER),
        "without a clock": packets(DTMF),
    }.items():
        print(f"{name:>20}: {least_ns(lambda: RtpMeter({PCMU: 8000}).measure, stream) - empty:4.0f} ns")


if __name__ == "__main__":
    main()
