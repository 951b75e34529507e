"""The table of shards in `nh stats`: a row for all of them and one for each.

A terminal that is too narrow for every column has those that matter most, whole, and none that is cut.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Final

from rich.table import Table
from rich.text import Text

from nh.cli.stats import quantities
from nh.cli.stats.keys import Row
from nh.cli.stats.rates import Rates, commands, drops, hangs
from nh.stats.layout import DROPS, ShardState
from nh.stats.reading import ShardReading, StatsReading, Totals

_ROW_COLUMNS: Final = 73
"""Width of a row without its drops."""

WIDE_COLUMNS: Final = _ROW_COLUMNS + sum(1 + len(reason.label) for reason in DROPS)
"""Width from which on each row has a column for each reason for a drop."""

_LEFT_OUT: Final = (
    "cpu",
    "sess",
    "socks",
    "mem",
    "Mb/s",
    "rst",
    "cmd/s",
    "lag",
    "cpu%",
    "free",
    "drop",
    "calls",
)
"""What a narrow terminal does without, in this order."""

_LAG_S: Final = 0.05
"""A loop lag above this is audible: phones buffer about as much."""

_STATES: Final = {
    ShardState.STARTING: ("init", "yellow"),
    ShardState.UP: ("up", "green"),
    ShardState.DOWN: ("down", "bold red"),
}

_UNKNOWN: Final = Text("-", style="dim")

_Cells = dict[str, Text]
"""A row: its cells by heading, in the order of the columns."""


def shard_table(
    reading: StatsReading, total_rates: Rates | None, rows: Sequence[Row], width: int, *, stopped: bool
) -> Table:
    """The table for a terminal of `width` columns.

    Args:
        reading: its totals are the first row.
        total_rates: rates of all shards together; None: not known yet.
        rows: the shards to show, each with its rates.
        width: columns of the terminal.
        stopped: whether nh has ended in order.
    """
    wide = width >= WIDE_COLUMNS
    totals = reading.totals
    all_cells = {"#": Text("all"), "": Text(), "cpu": Text()} | _cells(
        totals, total_rates, totals.restarts, wide
    )
    cells = [all_cells, *(_shard_cells(shard, rates, wide, stopped) for shard, rates in rows)]
    shown = _fitting(cells, width)
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="bold", pad_edge=False)
    for heading in shown:
        table.add_column(heading, justify="left" if heading == "" else "right", no_wrap=True)
    for row in cells:
        table.add_row(*(row[heading] for heading in shown), style="bold" if row is all_cells else "")
    return table


def _fitting(rows: Sequence[_Cells], width: int) -> list[str]:
    """The headings of the columns that fit `width`."""
    widths = {heading: max(len(heading), *(len(row[heading]) for row in rows)) for heading in rows[0]}
    leave_out = iter(_LEFT_OUT)
    while sum(widths.values()) + len(widths) - 1 > width and (heading := next(leave_out, "")):
        widths.pop(heading, None)
    return list(widths)


def _shard_cells(shard: ShardReading, rates: Rates | None, wide: bool, stopped: bool) -> _Cells:
    return {
        "#": Text(str(shard.shard)),
        "": Text("stop", style="dim") if stopped else _state(shard),
        "cpu": Text(str(shard.cpu)) if shard.cpu >= 0 else _UNKNOWN,
    } | _cells(shard, rates, shard.restarts, wide)


def _cells(stats: ShardReading | Totals, rates: Rates | None, restarts: int, wide: bool) -> _Cells:
    """The cells that a shard's row and the total's have in common."""
    scarce = stats.ports_free * 20 < stats.ports_total
    return {
        "cpu%": _UNKNOWN if rates is None else Text(f"{rates['cpu_s'] * 100:.0f}"),
        "mem": Text(quantities.memory(stats.memory_bytes)),
        "calls": Text(quantities.count(stats.calls)),
        "sess": Text(quantities.count(stats.sessions)),
        "socks": Text(quantities.count(stats.sockets)),
        "free": Text(quantities.count(stats.ports_free), style="bold red" if scarce else ""),
        **dict(_rate_cells(rates, wide)),
        "lag": Text(quantities.lag(stats.loop_lag_s), style="yellow" if stats.loop_lag_s > _LAG_S else ""),
        "rst": Text(quantities.count(restarts), style="yellow" if restarts else ""),
    }


def _rate_cells(rates: Rates | None, wide: bool) -> Iterator[tuple[str, Text]]:
    def cell(value: Callable[[Rates], float], style: str = "") -> Text:
        if rates is None:
            return _UNKNOWN
        per_s = value(rates)
        return Text(quantities.rate(per_s), style=style if per_s else "")

    yield "pkt/s", cell(itemgetter("packets_in"))
    yield "Mb/s", cell(lambda each: each["bytes_in"] * 8 / 1e6)
    if wide:
        for reason in DROPS:
            yield reason.label, cell(itemgetter(reason.name), "yellow")
    else:
        yield "drop", cell(drops, "yellow")
    yield "cmd/s", cell(commands)


def _state(shard: ShardReading) -> Text:
    if hangs(shard):
        return Text("hung", style="bold red")
    word, style = _STATES[shard.state]
    return Text(word, style=style)
