"""nh.time_slice: slices are short, and the rest of what the scheduler knows of a process stays."""

import platform
import subprocess
import sys

import pytest

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
