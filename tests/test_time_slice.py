"""nh.time_slice: slices are short, and the rest of what the scheduler knows of a process stays.

A busy process yields the CPU where that costs it little.
"""

import platform
import subprocess
import sys

import pytest

from nh.time_slice import APART, SHORT_S, CpuYielder

READ_BACK = """
import ctypes, os, struct
os.nice(3)
from nh.time_slice import _SCHED_SETATTR, _libc, ask_for_short_slices
taken = ask_for_short_slices()
found = ctypes.create_string_buffer(56)
number = {"x86_64": 315, "aarch64": 275}[os.uname().machine]
assert _libc.syscall(number, 0, found, 56, 0) == 0
_, policy, _, nice, _, runtime_ns, *_ = struct.unpack_from("=IIQiIQQQ", found.raw)
print(taken, policy, nice - os.getpriority(os.PRIO_PROCESS, 0), runtime_ns)
"""


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "aarch64"), reason="the system call has another number"
)
def test_slices_are_short_and_policy_and_niceness_stay() -> None:
    ran = subprocess.run([sys.executable, "-c", READ_BACK], capture_output=True, text=True, check=True)
    taken, policy, nice, runtime_ns = ran.stdout.split()
    assert (taken, policy, nice) == ("True", "0", "0")
    assert runtime_ns in ("250000", "0"), "kernels before 6.12 have no slices of a task"


class Cpu:
    """A CPU that a process loses for some time with each yield."""

    def __init__(self) -> None:
        self.now = 100.0
        self.away_s = 0.0
        self.yields = 0

    def clock(self) -> float:
        return self.now

    def yield_cpu(self) -> None:
        self.yields += 1
        self.now += self.away_s


def test_a_busy_process_yields_as_often_as_it_may_while_others_need_the_cpu_briefly() -> None:
    cpu = Cpu()
    yielder = CpuYielder(cpu.clock, cpu.yield_cpu)
    cpu.away_s = SHORT_S / 2
    for _ in range(10):
        yielder()
    assert cpu.yields == 10


def test_a_program_that_is_busy_too_takes_little_of_the_time_of_a_busy_process() -> None:
    cpu = Cpu()
    yielder = CpuYielder(cpu.clock, cpu.yield_cpu)
    cpu.away_s, begun = 4 * SHORT_S, cpu.now
    for _ in range(100_000):
        yielder()
        cpu.now += SHORT_S / 2  # a batch of packets
    assert cpu.yields > 10, "what needs the CPU briefly has it again one day"
    assert cpu.yields * cpu.away_s <= (cpu.now - begun) / APART + cpu.away_s


def test_a_yield_gives_the_cpu_to_the_one_that_waits_for_it() -> None:
    CpuYielder()()
