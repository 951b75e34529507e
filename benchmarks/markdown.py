"""Tables for docs/explanation/performance.md from a run's results, and how they get there."""

from pathlib import Path
from typing import Final

from benchmarks.figures import METRICS, Metric, Spread, base_of, loss_percent, ratios, spread
from benchmarks.goals import judge_goals
from benchmarks.results import Level, Results
from benchmarks.set_up import table_of
from benchmarks.steadiness import Steadiness

BEGIN: Final = "<!-- benchmarks: begin -->"
END: Final = "<!-- benchmarks: end -->"


class NoMarkers(Exception):
    """The document has no place for the tables."""


def write_markdown(results: Results) -> str:
    """All tables, as they stand between the markers."""
    parts = [_about(results), _goals(results)]
    parts += [_table(results, metric) for metric in METRICS]
    parts.append(_losses(results))
    if results.set_ups:
        parts.append(_set_ups(results))
    if results.skipped:
        lines = [f"- {each.peer}{_from(each.calls)}: {each.reason}." for each in results.skipped]
        parts.append("Not measured:\n\n" + "\n".join(lines))
    return "\n\n".join(part for part in parts if part)


def put_between_markers(document: Path, text: str) -> None:
    """Replace what is between the markers. Raises NoMarkers if there are none."""
    before, begin, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise NoMarkers(f"{document}: has no {BEGIN} … {END} to put the tables between")
    document.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def _about(results: Results) -> str:
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items() if version)
    rounds = max((len(peer.rounds) for at in results.levels for peer in at.peers.values()), default=0)
    about = (
        f"{results.taken}: {machine.cpus} CPUs, {machine.cpu}, {machine.memory_bytes / 2**30:.0f} GiB;"
        f" {versions}.\n{rounds} rounds of {results.seconds:g} s, or of ten packets of each stream, for"
        " each peer at each level.\nThe row of nh is absolute, the others' are multiples of it in the same"
        " round.\n"
        "Median (least to most)."
    )
    return f"{about}\n{_steadiness(results.steadiness)}" if results.steadiness else about


def _steadiness(steadiness: Steadiness) -> str:
    longest = f", for {_number(steadiness.longest_ms)} ms at most" if steadiness.longest_ms else ""
    return (
        "Before the first round, the host slowed the CPU of the relays to less than half its speed in"
        f" {_number(steadiness.slow_percent)} %\nof {steadiness.measured_s:.0f} s{longest}."
    )


def _table(results: Results, metric: Metric) -> str:
    rows = {
        name: [_cell(level, name, metric) for level in results.levels]
        for name in results.clients
        if any(name in level.peers for level in results.levels)
    }
    rows = {name: cells for name, cells in rows.items() if any(cells)}
    better = "more is better" if metric.more_is_better else "less is better"
    return f"### {metric.title}\n\n" + _grid([f"{better}", *_columns(results)], rows) if rows else ""


def _cell(level: Level, name: str, metric: Metric) -> str:
    if name not in level.peers:
        return ""
    base = base_of(level)
    readings = metric.readings(level, name)
    if base is None or name == base:
        found = spread(readings)
        return f"**{_number(found.median)} {metric.unit}** {_range(found)}".rstrip() if found else ""
    found = spread(ratios(readings, metric.readings(level, base)))
    return f"x {_number(found.median)} {_range(found)}".rstrip() if found else ""


def _losses(results: Results) -> str:
    rows = {
        name: [
            f"{loss_percent(level.peers[name].rounds):.3g} %" if name in level.peers else ""
            for level in results.levels
        ]
        for name in results.clients
    }
    return "### Loss\n\n" + _grid(["all rounds", *_columns(results)], rows)


def _set_ups(results: Results) -> str:
    (_, *columns), *rows = table_of(results.set_ups)
    grid = _grid(["median (least to most)", *columns], {what: cells for what, *cells in rows})
    return "### Set-up and tear-down over ng\n\n" + grid


def _goals(results: Results) -> str:
    rows = {
        goal.what: [goal.figure, goal.limit, "met" if goal.met else "**missed**"]
        for goal in judge_goals(results)
    }
    return "### Goals\n\n" + _grid(["", "measured", "goal", ""], rows) if rows else ""


def _columns(results: Results) -> list[str]:
    return [f"{level.calls:,} calls, {level.packets_per_s:,.0f}/s" for level in results.levels]


def _grid(head: list[str], rows: dict[str, list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([name, *cells] for name, cells in rows.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _range(found: Spread) -> str:
    return "" if found.least == found.most else f"({_number(found.least)} to {_number(found.most)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _from(calls: int) -> str:
    return f" from {calls:,} calls on" if calls else ""
