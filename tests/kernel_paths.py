"""The path in the kernel for relays that live in the test's own process: the program on loopback."""

import itertools
import os
from collections.abc import Iterator

from nh.fastpath import bpf
from nh.fastpath.flows import FlowTable
from nh.fastpath.loader import LoadedProgram, load
from nh.fastpath.netlink.routes import Routes
from nh.shard.media.kernel.path import KernelPath

LOOPBACK = 1
SLOTS = 257
RELAYS = 16
"""Relays that may be there at once: the seventeenth begins with what the first one left."""

_numbers = itertools.count()


def program_on_loopback() -> Iterator[LoadedProgram]:
    """The program for RELAYS relays with SLOTS flows each."""
    program = load(SLOTS * RELAYS)
    link = bpf.attach_tcx(program.program_fd, LOOPBACK)
    try:
        yield program
    finally:
        os.close(link)
        program.close()


def new_kernel_path(program: LoadedProgram, *, flows: int = SLOTS - 1) -> KernelPath:
    """A relay's share of the program, with room for so many flows; the relay closes it."""
    number = next(_numbers) % RELAYS
    table = FlowTable(
        program.flows_fd, program.counters_fd, shard=number, first_index=number * SLOTS, indexes=flows + 1
    )
    return KernelPath(table, Routes())
