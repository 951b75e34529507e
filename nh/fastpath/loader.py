"""Loads the relay's program with its two maps.

The program and the maps live as long as any process has a descriptor of them, or a link holds the program;
nothing stays in the kernel after that. Knows nothing of interfaces, shards or calls.
"""

import contextlib
import errno
import hashlib
import mmap
import os
import platform
import re
import resource
from pathlib import Path
from typing import Final, NamedTuple

from nh.errors import KernelPathUnavailable
from nh.fastpath import bpf
from nh.fastpath.layout import COUNTERS_BYTES, FLOW, KEY, STOP_AT
from nh.fastpath.program import BpfProgram, decode_program

PROGRAM: Final = "relay.bpf.json"
"""The compiled program, beside this module; see nh.fastpath.program."""

_MEMORY_IS_CHARGED_TO_CGROUPS: Final = (5, 11)


class LoadedProgram(NamedTuple):
    """Descriptors of the program and its maps; closed on exec unless handed on, and by close().

    Attributes:
        program_fd: for attaching it.
        flows_fd: hash map of layout.KEY to layout.FLOW.
        counters_fd: array map of layout.COUNTERS_BYTES each; its memory can be mapped.
    """

    program_fd: int
    flows_fd: int
    counters_fd: int

    def stop_at(self, at_ns: int) -> None:
        """Have the program forward nothing from then on.

        Args:
            at_ns: nanoseconds of CLOCK_BOOTTIME; 0: it forwards for as long as it is attached.
        """
        with (
            mmap.mmap(self.counters_fd, COUNTERS_BYTES) as memory,
            memoryview(memory) as view,
            view.cast("Q") as words,
        ):
            words[STOP_AT // 8] = at_ns

    def close(self) -> None:
        """Close all three; call once."""
        for fd in (self.program_fd, self.flows_fd, self.counters_fd):
            os.close(fd)


def load(max_flows: int, maps: tuple[int, int] | None = None) -> LoadedProgram:
    """Create the maps and load the program.

    Args:
        max_flows: room in each map, 1 or more; a flow is one direction of one pair of sockets. The kernel
            sets about 450 bytes aside for each.
        maps: descriptors of the existing maps flows and counters, made with the same max_flows; they stay
            the caller's. None: create them.

    Raises:
        KernelPathUnavailable: the kernel refuses; with the verifier's log if that is what refused.
    """
    program = relay_program()
    if kernel_release(platform.release()) < _MEMORY_IS_CHARGED_TO_CGROUPS:
        _allow_locked_memory()
    with contextlib.ExitStack() as undo:
        flows_fd, counters_fd = (
            _create_maps(max_flows) if maps is None else (os.dup(maps[0]), os.dup(maps[1]))
        )
        undo.callback(os.close, flows_fd)
        undo.callback(os.close, counters_fd)
        instructions = program.linked({"flows": flows_fd, "counters": counters_fd})
        program_fd = bpf.load_program(program.name, instructions, program.license)
        undo.pop_all()
    return LoadedProgram(program_fd, flows_fd, counters_fd)


def program_digest() -> str:
    """SHA-256 of the program in hexadecimal digits: it differs from version to version."""
    return hashlib.sha256(_program_file().read_bytes()).hexdigest()


def _create_maps(max_flows: int) -> tuple[int, int]:
    flows_fd = bpf.create_map(
        bpf.MapKind.HASH, "nh_flows", key_bytes=KEY.size, value_bytes=FLOW.size, max_entries=max_flows
    )
    try:
        counters_fd = bpf.create_map(
            bpf.MapKind.ARRAY,
            "nh_counters",
            key_bytes=4,
            value_bytes=COUNTERS_BYTES,
            max_entries=max_flows,
            flags=bpf.MMAPABLE,
        )
    except BaseException:
        os.close(flows_fd)
        raise
    return flows_fd, counters_fd


def relay_program() -> BpfProgram:
    """The program as it was compiled.

    Raises:
        KernelPathUnavailable: the file with the program is missing (a broken installation).
    """
    try:
        return decode_program(_program_file().read_bytes())
    except FileNotFoundError as missing:
        raise KernelPathUnavailable(f"{missing.filename} is not installed", errno=errno.ENOENT) from None


def _program_file() -> Path:
    return Path(__file__).with_name(PROGRAM)


def kernel_release(release: str) -> tuple[int, int]:
    """Major and minor version of uname(2)'s release; (0, 0) if it does not say."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


def _allow_locked_memory() -> None:
    """Before Linux 5.11 a map counts as locked memory, of which processes may have very little."""
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    for limit in (resource.RLIM_INFINITY, hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
            return
