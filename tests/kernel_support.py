"""Whether tests of the path in the kernel can run here, without asking nh.

Such a test is skipped only where a reason is proved: the machine, its kernel, or the kernel's refusal of a
program of two instructions. Where that one loads, the tests run, and fail if nh's own program does not load.
With TEST_KERNEL=require a reason to skip is an error: for machines that are there to run these tests.
"""

import functools
import os
import platform
import sys

import pytest

from tests.fastpath.trivial_program import MACHINES, load_trivial_program

SWITCH = "TEST_KERNEL"
"""Not NH_…: the relays that tests start would warn that it is no setting."""

OLDEST = (5, 10)


def required() -> bool:
    """Whether these tests have to run."""
    return os.environ.get(SWITCH) == "require"


def skip_or_fail(reason: str) -> None:
    """Skip the calling test for a proved reason, or fail it where it has to run."""
    if required():
        pytest.fail(f"{SWITCH}=require, but it {reason}")
    pytest.skip(reason)


@functools.cache
def proved_obstacle() -> str:
    """Why this host cannot load any program of this kind; "" if it can, or if that is not proved."""
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        return f"needs Linux on {' or '.join(MACHINES)}"
    release = tuple(int(part) for part in platform.release().split(".")[:2] if part.isdigit())
    if (0, 0) < release < OLDEST:
        return f"needs Linux 5.10, this is {platform.release()}"
    try:
        os.close(load_trivial_program())
    except OSError as refusal:
        return f"needs CAP_BPF and CAP_NET_ADMIN: the kernel refuses any program: {refusal.strerror}"
    return ""
