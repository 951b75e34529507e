"""What people are told about the path in the kernel on hosts of all kinds."""

import dataclasses
import errno
import os
import subprocess
import sys

import pytest

from nh.errors import KernelPathUnavailable
from nh.fastpath.probe import Availability, HostFacts, Support, judge, probe

ALL_CAPABILITIES = 0x1FFFFFFFFFF
NET_ADMIN, SYS_ADMIN, BPF = 1 << 12, 1 << 21, 1 << 39


def status(effective: int, seccomp: int = 0) -> str:
    return f"Name:\tnh\nCapPrm:\t{effective:016x}\nCapEff:\t{effective:016x}\nSeccomp:\t{seccomp}\n"


HOST = HostFacts(
    "Linux",
    "x86_64",
    "6.1.0-18-amd64",
    status(ALL_CAPABILITIES),
    "         0          0 4294967295\n",
    "[none] integrity confidentiality\n",
)


ASK = "from nh.fastpath.probe import probe; print(probe().why)"
IN_TIME_NAMESPACE = "nh is in a time namespace, whose clock is not that of BPF programs"


def offsets(seconds: int, nanoseconds: int = 0) -> str:
    """/proc/PID/timens_offsets of a process whose monotonic clock is moved."""
    return f"monotonic  {seconds:10} {nanoseconds:9}\nboottime            0         0\n"


def goes_well() -> None:
    pass


def refused(code: int, log: str = "") -> Support:
    return refused_on(HOST, code, log)


def refused_on(host: HostFacts, code: int, log: str = "") -> Support:
    def attempt() -> None:
        raise KernelPathUnavailable(f"loading the program nh_relay: {os.strerror(code)}{log}", errno=code)

    return judge(host, attempt)


def test_a_host_that_loads_the_program_can() -> None:
    assert judge(HOST, goes_well) == Support(Availability.AVAILABLE)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        (dataclasses.replace(HOST, system="Darwin"), "it needs Linux, this is Darwin"),
        (dataclasses.replace(HOST, machine="s390x"), "it is made for x86_64 and aarch64, this is s390x"),
        (dataclasses.replace(HOST, release="5.4.0-100"), "it needs Linux 5.10 or later, this is 5.4.0-100"),
        (dataclasses.replace(HOST, clock_offsets=offsets(-86_400)), IN_TIME_NAMESPACE),
        (dataclasses.replace(HOST, clock_offsets=offsets(0, 500)), IN_TIME_NAMESPACE),
    ],
)
def test_hosts_that_cannot_are_not_tried(host: HostFacts, why: str) -> None:
    assert judge(host, lambda: pytest.fail("tried")) == Support(Availability.UNAVAILABLE, why)


def test_a_time_namespace_that_moves_no_clock_of_bpf_programs_does_no_harm() -> None:
    moved = offsets(0) + "boottime        86400         0\n"
    host = dataclasses.replace(HOST, clock_offsets=moved)
    assert judge(host, goes_well) == Support(Availability.AVAILABLE)


@pytest.mark.kernel
def test_nh_in_a_time_namespace_keeps_to_user_space() -> None:
    inside = ["unshare", "--time", "--fork", "--monotonic", "86400", sys.executable, "-c", ASK]
    said = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=60)
    if "unshare" in said.stderr:
        pytest.skip(f"needs time namespaces: {said.stderr}")
    assert said.stdout.strip() == IN_TIME_NAMESPACE


def test_a_kernel_that_hides_its_version_is_tried() -> None:
    host = dataclasses.replace(HOST, release="custom")
    assert judge(host, goes_well) == Support(Availability.AVAILABLE)


@pytest.mark.parametrize(
    ("effective", "lacks"),
    [(0, "CAP_BPF and CAP_NET_ADMIN"), (NET_ADMIN, "CAP_BPF"), (BPF, "CAP_NET_ADMIN")],
)
def test_missing_capabilities_are_named(effective: int, lacks: str) -> None:
    host = dataclasses.replace(HOST, status=status(effective))
    why = f"nh may not load BPF programs: it lacks {lacks}"
    assert refused_on(host, errno.EPERM) == Support(Availability.UNAVAILABLE, why)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (dataclasses.replace(HOST, uid_map="0 1000 1\n"), "user namespace"),
        (dataclasses.replace(HOST, status=status(BPF | NET_ADMIN, 2)), "seccomp"),
        (dataclasses.replace(HOST, lockdown="none [integrity] confidentiality\n"), "lockdown"),
        (dataclasses.replace(HOST, release="5.10.0-28"), "RLIMIT_MEMLOCK"),
        (dataclasses.replace(HOST, status=status(SYS_ADMIN)), "security module"),
        (HostFacts("Linux", "aarch64", "6.6", "", "", ""), "security module"),
    ],
)
def test_other_obstacles_are_named_as_far_as_they_show(host: HostFacts, words: str) -> None:
    availability, why = refused_on(host, errno.EPERM)
    assert availability is Availability.UNAVAILABLE
    assert words in why


def test_a_missing_system_call_is_told_from_a_hidden_one() -> None:
    hidden = refused_on(dataclasses.replace(HOST, status=status(ALL_CAPABILITIES, 2)), errno.ENOSYS)
    assert refused(errno.ENOSYS).why == "this kernel was built without bpf(2)"
    assert hidden.why == "a seccomp filter hides bpf(2) from nh"


@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN])
def test_a_shortage_is_no_answer(code: int) -> None:
    assert refused(code).availability is Availability.UNKNOWN


def test_the_verifiers_last_word_is_the_reason() -> None:
    log = "\n0: R1=ctx()\n7: (85) call bpf_new_helper#999\ninvalid func 999\nprocessed 7 insns (limit 1)\n"
    availability, why = refused(errno.EINVAL, log)
    assert availability is Availability.UNAVAILABLE
    assert why == "loading the program nh_relay: Invalid argument … invalid func 999"


@pytest.mark.kernel
def test_a_host_that_loads_any_program_loads_the_relays() -> None:
    """The marker skips where the kernel loads none."""
    assert probe() == Support(Availability.AVAILABLE)


def test_this_host_is_told_in_one_line(no_descriptor_leaks: None) -> None:
    availability, why = probe()
    assert (availability is Availability.AVAILABLE) == (why == "")
    assert "\n" not in why
