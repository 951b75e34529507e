"""What the report of a load says of the generator, of failures, and of the time that counts."""

import asyncio
import errno
import json
import os
import random
import resource
import signal
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from nh.errors import ConfigError
from tools.rtpload.command_times import CommandTimes
from tools.rtpload.coordinator import session
from tools.rtpload.coordinator.descriptors import provide_descriptors
from tools.rtpload.coordinator.load import run_load
from tools.rtpload.coordinator.session import search
from tools.rtpload.coordinator.workers import WorkerHandle
from tools.rtpload.errors import LoadFailed, PhonesUnavailable
from tools.rtpload.messages import MAX_MESSAGE_BYTES, Finished, SideTally
from tools.rtpload.options import MAX_PROCESSES, ControlKind, LoadOptions
from tools.rtpload.packet import RtpWriter
from tools.rtpload.report.capacity import Limit, Step, judge
from tools.rtpload.report.files import check_file, write_file
from tools.rtpload.report.progress import RunCounters
from tools.rtpload.report.summary import Course, summarize
from tools.rtpload.report.values import Report
from tools.rtpload.streams.histogram import Histogram
from tools.rtpload.streams.stream import Account, Stream
from tools.rtpload.worker.senders import RtpSender

SLOW_START_S = 1.0
LONG_S = 60.0


def report_of(counters: RunCounters, send_failures: dict[str, int] | None = None) -> Report:
    """The report of a load with one worker, which received nothing."""
    account = Finished(
        caller=SideTally(Account(), Account()),
        callee=SideTally(Account(), Account()),
        report_latency={},
        send_failures=send_failures or {},
        cpu_s=0.0,
        kernel_clock=True,
    )
    return summarize(LoadOptions(address=""), Course(), counters, CommandTimes(), [account])


# --- what counts ------------------------------------------------------------------------------------------


def test_the_start_of_the_workers_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import time\ntime.sleep({SLOW_START_S})\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    began = time.monotonic()
    report = run_load(LoadOptions(address="", control=ControlKind.DIRECT, calls=1, ramp=0, time_s=0.1))
    assert report.signalled.calls_set_up == 1
    assert time.monotonic() - began - report.elapsed_s >= SLOW_START_S


def test_what_the_kernel_refuses_to_send_is_not_sent() -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    failures: Counter[str] = Counter()
    lateness = Histogram()
    stream = Stream(0, Histogram())
    sock: Any = SimpleNamespace(sendto=refuse)
    writer = RtpWriter(
        1,
        0,
        ssrc=1,
        first_sequence=0,
        first_timestamp=0,
        payload_type=0,
        payload_bytes=160,
        timestamp_step=160,
    )
    sender = RtpSender(
        sock,
        writer,
        stream,
        order=0,
        interval_ns=20_000_000,
        jitter_ns=0,
        rng=random.Random(1),
        lateness=lateness,
        failures=failures,
    )
    due_ns = sender.first_due(0)
    assert sender.send(due_ns, due_ns) == due_ns + 20_000_000
    assert (stream.sent, lateness.total) == (0, 0)
    assert failures == {"Network is unreachable": 1}


def test_the_reason_of_refused_sends_is_told() -> None:
    generator = report_of(
        RunCounters(), {"Network is unreachable": 3, "No buffer space available": 1}
    ).generator
    assert generator.send_failures == 4
    assert generator.warnings == (
        "the kernel refused to send 3 packets: Network is unreachable",
        "the kernel refused to send 1 packets: No buffer space available",
    )


# --- what limits a load -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        ("phones", Limit.GENERATOR),
        ("set-up", Limit.SETUP),
        ("handshake", Limit.SETUP),
        ("re-invite", Limit.COMMANDS),
        ("tear-down", Limit.COMMANDS),
    ],
)
def test_a_failure_limits_a_load_by_what_failed(what: str, limit: Limit) -> None:
    counters = RunCounters()
    counters.call_is_up()
    counters.failed(what, PhonesUnavailable("no more"))
    assert judge(report_of(counters)).limit is limit


def test_a_search_that_cannot_go_on_has_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(options: LoadOptions, *_: object, **__: object) -> object:
        if options.calls > 3:
            raise LoadFailed("the worker is gone")
        return SimpleNamespace(interrupted=False), False

    monkeypatch.setattr(session, "_run", run)
    monkeypatch.setattr(session, "judge", lambda _: Step(3, Limit.NONE, 0.0, 1.0, 0.1, None))
    file, console = tmp_path / "capacity.json", Console(record=True, width=120)
    with pytest.raises(LoadFailed, match="the worker is gone"):
        search(LoadOptions(address="", calls=3), console, file, highest=10, max_steps=5)
    assert json.loads(file.read_bytes())["calls"] == 3
    assert "3 calls with loss below" in console.export_text()


def test_ctrl_c_between_two_loads_ends_the_pause() -> None:
    class EndsAtOnce:
        async def run(self) -> None:
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)  # in the pause

        def stop(self) -> None:
            pass

    load: Any = EndsAtOnce()
    began = time.monotonic()
    _, interrupted = asyncio.run(session._run_interruptible(load, Console(quiet=True), LONG_S))
    assert interrupted
    assert time.monotonic() - began < LONG_S, "it does not wait the pause out"


def test_ctrl_c_between_two_loads_ends_a_search_which_has_what_it_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[int] = []

    def run(options: LoadOptions, *_: object, **__: object) -> object:
        tried.append(options.calls)
        return SimpleNamespace(interrupted=False), True

    monkeypatch.setattr(session, "_run", run)
    monkeypatch.setattr(session, "judge", lambda _: Step(3, Limit.NONE, 0.0, 1.0, 0.1, None))
    console = Console(record=True, width=120)
    status = search(LoadOptions(address="", calls=3), console, None, highest=10, max_steps=5)
    assert (status, tried) == (session.INTERRUPTED, [3])
    assert "3 calls with loss below" in console.export_text()


def test_a_worker_whose_message_is_too_long_is_told_so() -> None:
    async def listen() -> None:
        reader, process = asyncio.StreamReader(), SimpleNamespace(pid=7)
        reader.feed_data((MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"))
        unused: Any = None
        handle = WorkerHandle(process, reader, unused, unused, unused)  # type: ignore[arg-type]
        await handle.listen()
        await handle.ready()

    with pytest.raises(LoadFailed, match=r"worker process 7 has sent a message of \d+ bytes"):
        asyncio.run(listen())


# --- files and limits -------------------------------------------------------------------------------------


def test_a_report_that_cannot_be_written_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"the report cannot be written to .*: Is a directory"):
        write_file(tmp_path, b"")


def test_a_report_whose_place_cannot_be_looked_at_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    too_long = tmp_path / ("x" * 300)
    for path in (too_long, too_long / "report.json"):
        with pytest.raises(ConfigError, match="File name too long; name another file"):
            check_file("--json", path)

    def of_another_user(path: Path, **_: bool) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", of_another_user)
        with pytest.raises(ConfigError, match=r"--json .*: Permission denied; name another file"):
            check_file("--json", tmp_path / "report.json")


def test_where_a_report_can_be_written_and_where_not(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    check_file("--json", file)
    file.touch()
    check_file("--json", file)
    for path, told in (
        (tmp_path, "it is a directory"),
        (tmp_path / "none" / "report.json", "there is no directory"),
        (file / "report.json", "there is no directory"),
    ):
        with pytest.raises(ConfigError, match=told):
            check_file("--json", path)


def test_a_limit_on_descriptors_that_no_number_of_processes_meets_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    with pytest.raises(LoadFailed, match=r"the hard limit is 100 \(ulimit -Hn\): raise the limit"):
        provide_descriptors(LoadOptions(address="", calls=100_000))
    assert LoadOptions(address="", calls=100_000).worker_count(10) == MAX_PROCESSES


def test_a_file_on_a_read_only_file_system_is_refused_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    monkeypatch.setattr("os.statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    with pytest.raises(ConfigError, match="its file system is mounted read-only; name another file"):
        check_file("--json", tmp_path / "report.json")
