"""Runs loads for the command line: with a display, and with Ctrl-C as people expect it.

The first Ctrl-C (or SIGTERM) ends the calls, and the report is still printed. The second ends everything
at once: the relay keeps the calls until they fall silent.
"""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from nh.errors import NhError
from tools.rtpload.coordinator.display import Display
from tools.rtpload.coordinator.load import Load
from tools.rtpload.errors import LoadFailed
from tools.rtpload.options import LoadOptions
from tools.rtpload.report.capacity import Capacity, Step, find_capacity, judge
from tools.rtpload.report.files import write_file
from tools.rtpload.report.plot import plot_report
from tools.rtpload.report.table import show_capacity, show_report
from tools.rtpload.report.values import Report

INTERRUPTED: Final = 128 + signal.SIGINT
"""Exit status of what Ctrl-C ended, as shells have it."""

PAUSE_S: Final = 1.0
"""Between two steps of a search: the relay lets go of the ports of the last."""


def run_once(options: LoadOptions, console: Console, json: Path | None, plot: Path | None) -> int:
    """One load, its report on the console and in the files; the exit status."""
    report, _ = _run(options, console)
    console.print(show_report(report))
    if json is not None:
        write_file(json, report.to_json())
    if plot is not None and report.both.sent:
        plot_report(report, plot)
    if report.interrupted:
        return INTERRUPTED
    return 0 if report.signalled.calls_set_up else 1


def search(options: LoadOptions, console: Console, json: Path | None, *, highest: int, max_steps: int) -> int:
    """The search for the capacity; the exit status, 0 if a number of calls passed.

    Args:
        options: of each step, but for the number of calls: that is the first one's.
        console: where the result goes.
        json: where it goes as JSON, if anywhere.
        highest, max_steps: see find_capacity.

    Raises:
        NhError, LoadFailed: as a load, behind the result of those before it.
    """
    interrupted = False
    failure: NhError | LoadFailed | None = None

    def try_calls(calls: int) -> Step | None:
        nonlocal interrupted, failure
        if interrupted:
            return None
        try:
            load = msgspec.structs.replace(options, calls=calls)
            report, interrupted = _run(load, console, pause_s=PAUSE_S)
        except (NhError, LoadFailed) as exc:
            failure = exc
            return None
        if report.interrupted:
            return None
        step = judge(report)
        console.print(f"{calls} calls: {'passed' if step.limit == 'nothing' else f'limited by {step.limit}'}")
        return step

    capacity: Capacity = find_capacity(try_calls, first=options.calls, highest=highest, max_steps=max_steps)
    if capacity.steps or failure is None:
        console.print(show_capacity(capacity))
        if json is not None:
            write_file(json, msgspec.json.format(msgspec.json.encode(capacity), indent=2))
    if failure is not None:
        raise failure
    if interrupted:
        return INTERRUPTED
    return 0 if capacity.calls else 1


def _run(options: LoadOptions, console: Console, pause_s: float = 0.0) -> tuple[Report, bool]:
    with Display(console, options.calls) as display:
        return asyncio.run(_run_interruptible(Load(options, display.show), console, pause_s))


async def _run_interruptible(load: Load, console: Console, pause_s: float) -> tuple[Report, bool]:
    """The report, and whether Ctrl-C came, be it in the load or in the pause behind it."""
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()

    def interrupt() -> None:
        if interrupted.is_set():
            os._exit(INTERRUPTED)  # at once; the workers end when their link closes
        interrupted.set()
        console.print("Ending the calls; once more, and it ends at once.")
        load.stop()

    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, interrupt)
    report = await load.run()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(interrupted.wait(), pause_s)
    return report, interrupted.is_set()
