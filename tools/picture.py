"""Draws docs/images/nh-stats.svg, the README's picture of `nh stats`, with the code that draws the real one.

Run it with `python -m tools.picture` whenever the look of `nh stats` changes. The numbers are those of a
relay with four shards and about 500 calls; they are made here, so that the picture is always the same.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import io
import math
import os
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import MONOKAI

from nh.cli.stats.rates import Meter
from nh.cli.stats.series import Series
from nh.cli.stats.shard_table import WIDE_COLUMNS
from nh.cli.stats.view import StatsView
from nh.stats.layout import ShardState
from nh.stats.reading import ShardReading, StatsReading, SupervisorReading, add_up

PICTURE: Final = Path(__file__).parent.parent / "docs" / "images" / "nh-stats.svg"

_PACKETS_A_CALL: Final = 100.0  # two directions, a packet every 20 ms
_START: Final = 1_767_000_000.0
_UPTIME_S: Final = 3 * 86_400 + 4 * 3600.0
_CALLS: Final = (131, 118, 140, 122)


def _shard(number: int, calls: int, clock: float) -> ShardReading:
    packets = calls * _PACKETS_A_CALL * (1 + 0.01 * number)
    return ShardReading(
        shard=number,
        state=ShardState.UP,
        restarts=1 if number == 2 else 0,
        heartbeat=clock,
        heartbeat_age_s=0.2,
        started=_START,
        pid=4000 + number,
        cpu=number,
        calls=calls,
        sessions=calls - number,
        sockets=calls * 4,
        calls_saved=calls,
        sockets_held=calls * 4,
        ports_total=5000,
        ports_free=5000 - calls * 4,
        memory_bytes=(38 + number) * 2**20,
        loop_lag_s=0.001 + 0.0007 * number,
        packets_in=round(packets * clock),
        bytes_in=round(packets * clock) * 172,
        cpu_s=packets * clock * 30e-6,
        drop_source_mismatch=round(12 * clock) if number == 1 else 0,
        drop_no_target=round(0.4 * clock * (number % 3)),
        allocate_ok=round(calls / 45 * clock),
        activate_ok=round(calls / 90 * clock),
        close_ok=round(calls / 90 * clock),
    )


def _reading(clock: float) -> StatsReading:
    shards = tuple(_shard(number, calls, clock) for number, calls in enumerate(_CALLS))
    supervisor = SupervisorReading(rpc_clients=12, started=_START, heartbeat=clock, heartbeat_age_s=0.3)
    return StatsReading(
        time=_START + _UPTIME_S,
        clock=clock,
        version="0.1.0",
        supervisor=supervisor,
        shards=shards,
        totals=add_up(shards),
    )


def _wave(now: float, ripple: float) -> Series:
    """The rise of a morning, ending at `now`."""
    rise = [0.6 + 0.4 * math.sin(step / 80 * math.pi - 1.3) for step in range(80)]
    shape = [level + ripple * math.sin(step * 1.7) for step, level in enumerate(rise)]
    return Series(value / shape[-1] * now for value in shape)


def main() -> None:
    """Write the picture."""
    argparse.ArgumentParser(prog="python -m tools.picture", description=__doc__).parse_args()
    os.environ["TZ"] = "UTC"
    time.tzset()
    meter = Meter()
    meter.measure(_reading(1000.0))
    reading = _reading(1001.0)
    measured = meter.measure(reading)
    assert measured.total is not None
    console = Console(record=True, width=WIDE_COLUMNS, file=io.StringIO(), force_terminal=True)
    packets, calls = _wave(measured.total["packets_in"], 0.05), _wave(reading.totals.calls, 0.01)
    console.print(StatsView(reading, measured, packets, calls))
    console.save_svg(str(PICTURE), title="nh stats", theme=MONOKAI, unique_id="nh-stats")


if __name__ == "__main__":
    main()
