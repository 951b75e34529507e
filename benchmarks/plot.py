"""A chart of a run's results: what a packet costs, and how long it takes, as the number of calls grows."""

from pathlib import Path

from benchmarks.figures import cpu_us, spread
from benchmarks.results import Results


def plot(results: Results, path: Path) -> None:
    """Draw it into a file; its ending says in which format. Raises ImportError without matplotlib."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - it is optional

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    cost, latency = figure.subplots(1, 2)
    rate = results.levels[-1].packets_per_s
    levels = [level for level in results.levels if level.packets_per_s == rate]
    for index, name in enumerate(results.clients):
        # the same on both sides; matplotlib has ten colours in turn
        colour, marker = f"C{index}", "os"[index // 10 % 2]
        here = [level for level in levels if name in level.peers and level.peers[name].rounds]
        calls = [level.calls for level in here]
        costs = [found for level in here if (found := spread(cpu_us(level.peers[name].rounds)))]
        if any(found.median for found in costs):
            low = [found.median - found.least for found in costs]
            high = [found.most - found.median for found in costs]
            cost.errorbar(
                calls,
                [found.median for found in costs],
                [low, high],
                marker=marker,
                capsize=3,
                color=colour,
                label=name,
            )
        p99 = [spread(each.p99_us for each in level.peers[name].rounds) for level in here]
        latency.plot(calls, [found.median for found in p99 if found], marker=marker, color=colour, label=name)
    cost.set(title="CPU of the relay per packet, µs", ylim=(0, None))
    latency.set(title="latency, p99, µs", yscale="log")
    for axes in (cost, latency):
        axes.set(xlabel=f"calls, at {rate:,.0f} packets/s together", xscale="log")
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path)
