"""The picture that `nh stats` shows, made of a reading and rates for rich to print.

Pure: reads no clock, no shared memory and no terminal; rich's options give the width. Everything fits 80
columns; from WIDE_COLUMNS on, each row shows drops by reason, and a narrower terminal has fewer columns.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from nh.cli.stats import quantities
from nh.cli.stats.keys import Choice
from nh.cli.stats.rates import Measured, Rates, hangs
from nh.cli.stats.series import Series
from nh.cli.stats.shard_table import WIDE_COLUMNS, shard_table
from nh.printable import counted
from nh.stats.layout import DROPS, ShardState, SupervisorStats
from nh.stats.reading import StatsReading

_DROPS_HEADING: Final = "drop/s  "

_HOW: Final = {1: "upgraded", 2: "taken over"}
"""By SupervisorStats.taken_over."""


@dataclass(frozen=True, slots=True)
class StatsView:
    """The whole picture.

    Attributes:
        reading, measured: the values and the rates to show.
        packets, calls: the series of these rates and numbers; None: a single picture without graphs.
        warning: a line above everything else; "": none.
        stopped: whether nh has ended in order since the reading.
        choice: what was chosen by keys; None: a picture without keys.
    """

    reading: StatsReading
    measured: Measured
    packets: Series | None = None
    calls: Series | None = None
    warning: str = ""
    stopped: bool = False
    choice: Choice | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield _header(self.reading, options.max_width, stopped=self.stopped)
        if self.warning:
            yield Text(self.warning, style="bold red")
        if self.packets is not None and self.calls is not None:
            yield _graph("packets/s", self.packets, quantities.rate, options.max_width, "cyan")
            yield _graph("calls", self.calls, quantities.count, options.max_width, "green")
        yield Text()
        if self.reading.supervisor.standby and not self.stopped:
            yield _standby(self.reading.supervisor)
            return
        rows = list(zip(self.reading.shards, self.measured.shards, strict=True))
        yield shard_table(
            self.reading,
            self.measured.total,
            self.choice.rows(rows) if self.choice is not None else rows,
            options.max_width,
            stopped=self.stopped,
        )
        yield Text()
        yield _paths(self.reading, self.measured.total)
        if not self.stopped:
            yield _backup(self.reading)
            yield from _store(self.reading.supervisor)
        if options.max_width < WIDE_COLUMNS and self.measured.total is not None:
            yield _drop_reasons(self.measured.total, options.max_width)
        if self.choice is not None:
            yield Text(self.choice.legend, style="dim", no_wrap=True)


def _header(reading: StatsReading, width: int, *, stopped: bool) -> Text:
    """One line of at most `width` columns; what matters least is left out first."""
    up = sum(shard.state is ShardState.UP and not hangs(shard) for shard in reading.shards)
    shards, clients = len(reading.shards), reading.supervisor.rpc_clients
    refusing = [_drain(reading)] if reading.supervisor.draining and not stopped else []
    if not stopped:
        refusing += [f"at {name}{_where(number, shards)}" for name, number in reading.limits.items()]
    count = counted(shards, "shard") if stopped else f"{up} of {counted(shards, 'shard')} up"
    if reading.supervisor.standby and not stopped:
        count = ""  # it has none yet
    short, long = _up(reading, stopped=stopped)
    clock = datetime.fromtimestamp(reading.time).strftime("%H:%M:%S")
    rpc = f"{quantities.count(clients)} RPC client{'' if clients == 1 else 's'}"
    choices = (
        [long, count, rpc, clock],
        [long, count, clock],
        [short, count, clock],
        [short, count],
        [count],
    )
    title = f"nh {reading.version}"
    parts = next(
        (each for each in choices if len(" · ".join([title, *refusing, *each])) <= width), choices[-1]
    )
    text = Text().append(title, style="bold")
    for part in filter(None, [*refusing, *parts]):
        bad = part == count and up < shards and not stopped
        style = "bold yellow" if part in refusing else "bold red" if bad else ""
        text.append(" · ", style="dim").append(part, style=style)
    return text


def _where(number: int, shards: int) -> str:
    """How many of the shards a limit is reached in; "" for all of them."""
    return "" if number >= shards else f" in {number} of {shards}"


def _up(reading: StatsReading, *, stopped: bool) -> tuple[str, str]:
    """How long nh has been running, and the same with when it got its calls from the nh before."""
    supervisor = reading.supervisor
    if stopped:
        return "stopped", "stopped"
    if not supervisor.started:
        return "starting", "starting"
    if supervisor.standby:
        standby = f"standby for {quantities.duration(max(0.0, reading.time - supervisor.standby_since))}"
        return standby, standby
    code = quantities.duration(max(0.0, reading.time - supervisor.started))
    since = supervisor.running_since
    if not 0 < since < supervisor.started:
        return f"up {code}", f"up {code}"
    up = f"up {quantities.duration(max(0.0, reading.time - since))}"
    how = _HOW.get(supervisor.taken_over)
    return up, f"{up} ({how} {code} ago)" if how else up


def _drain(reading: StatsReading) -> str:
    at = reading.supervisor.drain_deadline
    return f"draining, {quantities.duration(max(0.0, at - reading.clock))} at most" if at else "draining"


def _graph(label: str, series: Series, show: Callable[[float], str], width: int, style: str) -> Text:
    room = width - 28
    now = series.values[-1] if series.values else 0
    text = Text(f"{label:<10}{show(now):>6} ", no_wrap=True)
    text.append(series.graph(room), style=style)
    return text.append(f" max {show(series.highest(room))}", style="dim")


def _standby(supervisor: SupervisorStats) -> Table:
    """Whose calls a standby has warm, a row for each group."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold", pad_edge=False)
    table.add_column("calls of", no_wrap=True)
    table.add_column("warm", justify="right", no_wrap=True)
    table.add_column("lag", justify="right", no_wrap=True)
    table.add_column("relay")
    for group in supervisor.followed:
        late = "" if group.ready else "yellow"
        cells = [
            Text(group.group),
            Text(quantities.count(group.calls)),
            Text(quantities.lag(group.lag_s), style=late),
            Text(group.holder or "none", style="" if group.holder else "dim"),
        ]
        table.add_row(*cells)
        if group.fault:
            table.add_row("", "", "", Text(group.fault, style="bold red"))
    return table


def _paths(reading: StatsReading, rates: Rates | None) -> Text:
    """How much the kernel relays by itself."""
    text = Text().append("paths   ", style="bold")
    interfaces = reading.supervisor.kernel_interfaces
    if not interfaces:
        return text.append("all in user space", style="dim")
    flows = quantities.count(reading.totals.kernel_flows)
    where = f"in the kernel ({flows} flows, {counted(interfaces, 'interface')})"
    if rates is None:
        return text.append(where)
    in_kernel = rates["kernel_packets"]
    text.append(f"{quantities.rate(in_kernel)}/s {where}", style="green" if in_kernel else "")
    return text.append(f" · {quantities.rate(rates['packets_in'] - in_kernel)}/s in user space")


def _backup(reading: StatsReading) -> Text:
    """What outlives a shard: the calls and media sockets that the supervisor has, too."""
    totals = reading.totals
    text = Text().append("backup  ", style="bold")
    text.append(f"{quantities.count(totals.calls_saved)} calls, ")
    text.append(f"{quantities.count(totals.sockets_held)} sockets")
    # both gauges are of moments half a second apart; only one that was refused is missing for longer
    missing = min(totals.sockets_not_held, totals.sockets - totals.sockets_held)
    if missing > 0:
        text.append(f" · {quantities.count(missing)} sockets not held, see nh doctor", style="bold yellow")
    return text


def _store(supervisor: SupervisorStats) -> Iterator[Text]:
    """What keeps the store from taking calls; nothing if it takes them."""
    if supervisor.store_fault:
        text = Text().append("store   ", style="bold")
        waiting = counted(supervisor.store_pending, "call")
        yield text.append(f"cannot be written, {waiting} waiting: {supervisor.store_fault}", style="bold red")


def _drop_reasons(rates: Rates, width: int) -> Text:
    """Drops by reason in one line: as many of the largest as `width` allows, and the sum of the others."""
    largest = sorted((reason for reason in DROPS if rates[reason.name]), key=lambda each: -rates[each.name])
    line = ""
    for named in range(len(largest), 0, -1):
        parts = [f"{quantities.rate(rates[each.name])} {each.label}" for each in largest[:named]]
        if others := largest[named:]:
            parts.append(f"{quantities.rate(sum(rates[each.name] for each in others))} other")
        line = " · ".join(parts)
        if len(line) + len(_DROPS_HEADING) <= width:
            break
    return Text().append(_DROPS_HEADING, style="bold").append(line or "none", style="yellow" if line else "")
