"""Loading the program: what is there then, with which privileges, and that nothing stays."""

import contextlib
import mmap
import os
import platform
import resource
import struct
import subprocess
import sys

import msgspec
import pytest

from nh.errors import KernelPathUnavailable, KernelTableFull
from nh.fastpath import bpf, loader
from nh.fastpath.layout import (
    COUNTERS_BYTES,
    FlowCounters,
    pack_counters,
    pack_flow,
    pack_key,
    unpack_counters,
)
from nh.fastpath.loader import kernel_release, load
from tests.fastpath.flows import IPV4, IPV6

kernel = pytest.mark.kernel


@kernel
def test_all_is_gone_when_it_is_closed(no_descriptor_leaks: None) -> None:
    load(100).close()


@kernel
def test_there_is_room_for_as_many_flows_as_asked_for() -> None:
    program = load(1)
    bpf.update(program.flows_fd, pack_key(IPV4.local), pack_flow(IPV4.flow))
    with pytest.raises(KernelTableFull):
        bpf.update(program.flows_fd, pack_key(IPV6.local), pack_flow(IPV6.flow))
    program.close()


@kernel
def test_counters_are_mapped_and_seen_as_they_are_written() -> None:
    program = load(100)
    size = -(-100 * COUNTERS_BYTES // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(program.counters_fd, size, mmap.MAP_SHARED, mmap.PROT_READ)
    counters = FlowCounters(packets=1, payload_bytes=172)
    bpf.update(program.counters_fd, struct.pack("=I", 99), pack_counters(counters))
    assert unpack_counters(memory[:], 99) == counters
    memory.close()
    program.close()


@kernel
def test_a_table_of_no_flows_is_refused_and_leaves_nothing(no_descriptor_leaks: None) -> None:
    with pytest.raises(KernelPathUnavailable, match="creating the map nh_flows"):
        load(0)


@kernel
def test_a_program_that_the_kernel_refuses_leaves_nothing(
    no_descriptor_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = msgspec.structs.replace(loader.relay_program(), instructions=bytes(8), map_uses=())
    monkeypatch.setattr(loader, "relay_program", lambda: bad)
    with pytest.raises(KernelPathUnavailable, match="loading the program nh_relay"):
        load(1)


def test_an_installation_without_the_program_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "PROGRAM", "absent.bpf.json")
    with pytest.raises(KernelPathUnavailable, match=r"absent\.bpf\.json is not installed"):
        loader.relay_program()


@kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give up privileges")
def test_cap_bpf_and_cap_net_admin_are_enough() -> None:
    """Without CAP_PERFMON the verifier is stricter."""
    only = "-all,+bpf,+net_admin"
    command = ["setpriv", "--bounding-set", only, "--inh-caps", only, sys.executable, "-c"]
    done = subprocess.run(
        [*command, "from nh.fastpath.loader import load; load(10)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("release", "numbers"),
    [("6.18.44-fc-v669", (6, 18)), ("5.10.0-28-amd64", (5, 10)), ("4.19", (4, 19)), ("odd", (0, 0))],
)
def test_a_kernels_version_is_its_first_two_numbers(release: str, numbers: tuple[int, int]) -> None:
    assert kernel_release(release) == numbers


@pytest.mark.parametrize("release", ["5.11.0-16-generic", "6.12.0"])
def test_since_linux_5_11_the_limit_of_locked_memory_stays(
    monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    """Maps do not count as locked memory there, and the operator's limit is for all else."""
    monkeypatch.setattr(platform, "release", lambda: release)
    monkeypatch.setattr(resource, "setrlimit", lambda *_: pytest.fail("the limit was changed"))
    with contextlib.suppress(KernelPathUnavailable):
        load(1).close()


def test_before_linux_5_11_locked_memory_is_allowed_as_far_as_possible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process without privileges can raise the limit as far as the hard one."""
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    limits = []

    def set_limit(_: int, limit: tuple[int, int]) -> None:
        if limit[1] != hard:
            raise ValueError("not allowed to raise maximum limit")
        limits.append(limit)

    monkeypatch.setattr(platform, "release", lambda: "5.10.0-28-amd64")
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    with contextlib.suppress(KernelPathUnavailable):
        load(1).close()
    assert limits == [(hard, hard)]
