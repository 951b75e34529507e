"""The program at the ingress of real interfaces, for tests with real packets."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from nh.address import socket_family
from nh.calls.media import Endpoint
from nh.fastpath import bpf
from nh.fastpath.layout import COUNTERS_BYTES, FlowCounters, FlowEntry, pack_flow, pack_key, unpack_counters
from nh.fastpath.loader import LoadedProgram, load
from tests.fastpath.trivial_program import kernel_has_tcx
from tools.harness.namespaces import Namespace
from tools.harness.waiting import TIMEOUT_S


class Attached:
    """A program that meets packets."""

    def __init__(self, program: LoadedProgram) -> None:
        self._program = program

    def put(self, local: Endpoint, flow: FlowEntry) -> None:
        bpf.update(self._program.flows_fd, pack_key(local), pack_flow(flow))

    def counters(self, index: int) -> FlowCounters:
        value = bpf.lookup(self._program.counters_fd, struct.pack("=I", index), COUNTERS_BYTES)
        assert value is not None
        return unpack_counters(value)


@contextmanager
def attached(namespace: Namespace, *interfaces: str) -> Iterator[Attached]:
    """The program with empty tables on interfaces of a namespace; skips where the kernel has no TCX."""
    if not kernel_has_tcx():
        pytest.skip("needs Linux 6.6 for TCX")
    with ExitStack() as undo:
        program = load(16)
        undo.callback(program.close)
        for interface in interfaces:
            ifindex = index_of(namespace, interface)
            with namespace.entered():
                link = bpf.attach_tcx(program.program_fd, ifindex)
            undo.callback(os.close, link)
        yield Attached(program)


def index_of(namespace: Namespace, interface: str) -> int:
    with namespace.entered():
        return socket.if_nametoindex(interface)


def udp_socket(namespace: Namespace, address: str) -> socket.socket:
    """A UDP socket in the namespace, on a port that is free."""
    family = socket_family(address)
    with namespace.entered():
        bound = socket.socket(family, socket.SOCK_DGRAM)
    bound.settimeout(TIMEOUT_S)
    bound.bind((address, 0))
    return bound


def endpoint(of: socket.socket) -> Endpoint:
    """Where a socket is bound."""
    return Endpoint(*of.getsockname()[:2])
