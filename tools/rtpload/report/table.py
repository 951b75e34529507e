"""The report for people: rich tables and the sentences below them. Pure."""

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tools.rtpload.report.capacity import MAX_LOSS, MAX_P99_MS, Capacity, Limit
from tools.rtpload.report.values import Report, Side, Times
from tools.rtpload.streams.stream import Account

_PERCENTILES = ("p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms")


def show_report(report: Report) -> RenderableType:
    """All of a report."""
    parts: list[RenderableType] = [_media(report), _times(report), _sentences(report)]
    if report.generator.warnings:
        text = "\n".join(report.generator.warnings)
        title = "THE GENERATOR WAS OVERLOADED: these times say nothing about the relay"
        parts.append(Panel(Text(text), title=title, style="bold red"))
    return Group(*parts)


def show_capacity(capacity: Capacity) -> RenderableType:
    """What a search found, and its steps."""
    table = Table(title="Search for the capacity")
    for column in ("calls", "loss", "p99 ms", "lateness p99 ms", "relay CPUs", "limited by"):
        table.add_column(column, justify="left" if column == "limited by" else "right")
    for step in capacity.steps:
        table.add_row(
            str(step.calls),
            f"{step.loss:.4%}",
            _ms(step.p99_ms),
            _ms(step.lateness_p99_ms),
            "-" if step.relay_cpus is None else f"{step.relay_cpus:.2f}",
            "" if step.limit is Limit.NONE else step.limit,
            style="" if step.limit is Limit.NONE else "yellow",
        )
    return Group(table, Text(_conclusion(capacity), style="bold"))


def _conclusion(capacity: Capacity) -> str:
    goal = f"loss below {MAX_LOSS:.2%} and latency p99 below {MAX_P99_MS:g} ms"
    if not capacity.calls:
        why = f": limited by {capacity.limit}" if capacity.limit is not Limit.NONE else ""
        return f"No number of calls that was tried had {goal}{why}."
    if capacity.limit is Limit.NONE:
        return f"{capacity.calls} calls with {goal}; the search ended before there was a limit."
    if capacity.limit is Limit.GENERATOR:
        return f"At least {capacity.calls} calls with {goal}. Beyond that the generator itself is the limit."
    return f"{capacity.calls} calls with {goal}. Limited by {capacity.limit}."


def _media(report: Report) -> Table:
    table = Table(title="What was received")
    table.add_column("")
    columns = {"to caller": _received(report.caller), "to callee": _received(report.callee)}
    if report.reports is not None:
        columns["RTCP, both"] = _account(report.reports.account)
    for column in columns:
        table.add_column(column, justify="right")
    for name in _received(report.caller):
        table.add_row(name, *(figures.get(name, "") for figures in columns.values()))
    return table


def _account(account: Account) -> dict[str, str]:
    return {
        "sent": str(account.sent),
        "received": str(account.received),
        "lost": str(account.lost),
        "loss": f"{account.loss:.4%}",
        "lost in re-INVITEs": str(account.lost_moving),
        "dropped by the generator": str(account.dropped_here),
        "duplicates": str(account.duplicates),
        "reordered": str(account.reordered),
        "damaged": str(account.damaged),
    }


def _received(side: Side) -> dict[str, str]:
    return {
        **_account(side.media),
        "of other streams": str(side.misrouted),
        "foreign": str(side.foreign),
    }


def _times(report: Report) -> Table:
    table = Table(title="How long it took")
    table.add_column("")
    table.add_column("count", justify="right")
    for column in _PERCENTILES:
        table.add_column(column, justify="right")
    table.add_row("latency, to caller", *_figures(report.caller.latency))
    table.add_row("latency, to callee", *_figures(report.callee.latency))
    if report.full_load is not None:
        table.add_row("latency, full load", *_figures(report.full_load.latency))
    table.add_row("jitter, to caller", *_figures(report.caller.jitter))
    table.add_row("jitter, to callee", *_figures(report.callee.jitter))
    table.add_section()
    for name, times in report.signalled.commands.items():
        table.add_row(name, *_figures(times))
    table.add_section()
    style = "bold red" if report.generator.warnings else ""
    table.add_row("generator's lateness", *_figures(report.generator.lateness), style=style)
    return table


def _figures(times: Times) -> list[str]:
    if not times.count:
        return ["0", *("-" for _ in _PERCENTILES)]
    figures = (times.p50_ms, times.p90_ms, times.p99_ms, times.p999_ms, times.max_ms)
    return [str(times.count), *map(_ms, figures)]


def _ms(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _sentences(report: Report) -> Text:
    signalled, generator = report.signalled, report.generator
    text = Text()
    text.append(
        f"{signalled.calls_set_up} calls set up, {signalled.rate_per_s:.1f} a second while ramping up;"
        f" {signalled.calls_ended} ended, {signalled.calls_incomplete} of them with packets missing.\n"
    )
    if report.full_load is not None:
        full = report.full_load
        text.append(
            f"Full load, {full.seconds} s: {full.sent_per_s:.0f} packets/s sent,"
            f" {full.received_per_s:.0f} received.\n"
        )
    busiest = max(generator.cpu_s, default=0.0) / max(report.elapsed_s, 1e-9)
    text.append(f"Generator: {generator.workers} worker(s), the busiest took {busiest:.0%} of a CPU.\n")
    if relay := report.relay:
        text.append(
            f"Relay (process {relay.pid}, {relay.processes} processes): {relay.cpus:.2f} CPUs,"
            f" {relay.us_per_packet:.1f} µs a packet, {relay.memory_bytes / 2**20:.1f} MiB"
            f" ({relay.memory_before_bytes / 2**20:.1f} MiB before the first call).\n"
        )
    if browsers := report.browsers:
        text.append(
            f"Browsers: {browsers.checks} checks of ICE, {browsers.answered} answered; the longest wait"
            f" for an answer was {browsers.longest_s:.1f} s.\n"
        )
    if not generator.kernel_clock:
        text.append(
            "The kernel did not time arrivals: latency has the generator's own delay in it.\n", "yellow"
        )
    for failure in signalled.failures:
        text.append(f"{failure.count} x {failure.what} failed: {failure.reason}\n", "red")
    if report.misrouted:
        text.append(f"{report.misrouted} packets reached the wrong phone.\n", "bold red")
    if report.interrupted:
        text.append("Interrupted before its time.\n", "yellow")
    if report.both.sent and report.both.received == report.both.sent:
        text.append("Every packet arrived.\n", "green")
    return text
