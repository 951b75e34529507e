"""nh.supervisor.host.cpu_use: which processes wait for a CPU, and which hang."""

import os
import signal

import psutil

from nh.supervisor.host.cpu_use import CpuUse, cpu_use
from tools.harness.program import Program
from tools.harness.waiting import eventually


def test_a_process_that_runs_is_runnable_until_it_is_stopped_or_ends() -> None:
    with Program(["sh", "-c", "while :; do :; done"]) as spinning:
        eventually(lambda: cpu_use(spinning.pid).used_s > 0.02, "it has run")
        assert cpu_use(spinning.pid).runnable
        psutil.Process(spinning.pid).suspend()
        eventually(lambda: not cpu_use(spinning.pid).runnable, "it is stopped")
        os.kill(spinning.pid, signal.SIGKILL)
        spinning.wait()
        assert cpu_use(spinning.pid) == CpuUse(False, 0.0)


def test_only_a_runnable_process_that_has_hardly_run_is_starved() -> None:
    before = CpuUse(True, 10.0)
    assert CpuUse(True, 10.0).is_starved(before, 2.0)
    assert CpuUse(True, 10.4).is_starved(before, 2.0)
    assert not CpuUse(True, 10.5).is_starved(before, 2.0)
    assert not CpuUse(False, 10.0).is_starved(before, 2.0)
