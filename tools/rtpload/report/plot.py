"""The report as a picture: how latency is distributed, and how the load went second by second.

Needs matplotlib, which nothing else does: it is imported when a picture is asked for.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from nh.errors import ConfigError
from tools.rtpload.report.files import check_file
from tools.rtpload.report.values import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES: Final = (".png", ".svg")


def check_plot(path: Path) -> None:
    """Raises ConfigError if no picture can be drawn there: before a load, rather than behind it."""
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"--plot {path}: its name ends with neither {' nor '.join(SUFFIXES)}")
    check_file("--plot", path)
    try:
        import matplotlib  # noqa: F401, PLC0415  see the module's docstring
    except ImportError:
        raise ConfigError(
            "--plot needs matplotlib: pip install matplotlib, or pip install --group plot in nh's directory"
        ) from None


def plot_report(report: Report, path: Path) -> None:
    """Draw a report into `path`, a .png or .svg. Raises ConfigError as check_plot does."""
    check_plot(path)
    from matplotlib.figure import Figure  # noqa: PLC0415  see the module's docstring

    figure = Figure(figsize=(11, 8), layout="constrained")
    figure.suptitle(
        f"{report.options.calls} calls over {report.options.control}, {report.options.codec},"
        f" {report.options.packet_ms:g} ms: {report.both.loss:.4%} lost"
    )
    distribution, latency, packets = figure.subplots(3, 1)
    _plot_distribution(distribution, report)
    _plot_latency(latency, report)
    _plot_packets(packets, report)
    figure.savefig(path)


def _plot_distribution(axes: "Axes", report: Report) -> None:
    """As HdrHistogram draws it: latency over the share of packets that are slower, which shows the tail."""
    total = sum(count for _, count in report.latency_buckets)
    slower, shares, latencies_ms = total, [], []
    for highest_ns, count in report.latency_buckets:
        shares.append(slower / total)
        latencies_ms.append(highest_ns / 1e6)
        slower -= count
    axes.plot(shares, latencies_ms, drawstyle="steps-post")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.invert_xaxis()
    axes.set_xlabel("share of the packets that took at least as long")
    axes.set_ylabel("latency, ms")
    axes.grid(visible=True, which="both", alpha=0.3)


def _plot_latency(axes: "Axes", report: Report) -> None:
    times_s = [moment.at_s for moment in report.timeline]
    axes.plot(times_s, [moment.p50_ms for moment in report.timeline], label="latency p50")
    axes.plot(times_s, [moment.p99_ms for moment in report.timeline], label="latency p99")
    axes.plot(times_s, [moment.max_ms for moment in report.timeline], label="latency max", alpha=0.4)
    lateness = [moment.lateness_p99_ms for moment in report.timeline]
    axes.plot(times_s, lateness, "--", color="gray", label="generator's lateness p99")
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("ms")
    axes.legend(loc="upper left", ncols=4, fontsize="small")
    axes.grid(visible=True, alpha=0.3)


def _plot_packets(axes: "Axes", report: Report) -> None:
    times_s = [moment.at_s for moment in report.timeline]
    axes.plot(times_s, [moment.sent for moment in report.timeline], label="sent")
    axes.plot(times_s, [moment.received for moment in report.timeline], "--", label="received")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds")
    axes.set_ylabel("packets/s")
    axes.legend(loc="lower right")
    axes.grid(visible=True, alpha=0.3)
    busy = [(moment.at_s, moment.relay_cpus) for moment in report.timeline if moment.relay_cpus is not None]
    if busy:
        cpus = axes.twinx()
        cpus.plot(*zip(*busy, strict=True), color="tab:red", alpha=0.6)
        cpus.set_ylim(bottom=0)
        cpus.set_ylabel("relay's CPUs", color="tab:red")
