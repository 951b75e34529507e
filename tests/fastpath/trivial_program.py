"""A program for the kernel that takes no packet, put there with bpf(2): what tests of attaching need."""

import ctypes
import functools
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

_BPF = {"x86_64": 321, "aarch64": 280}
MACHINES = tuple(_BPF)
_PROG_LOAD, _PROG_QUERY, _LINK_CREATE = 5, 16, 28
_SCHED_CLS, _TCX_INGRESS = 3, 46
_ATTRIBUTES_BYTES = 64


def load_trivial_program() -> int:
    """The descriptor of the program: r0 = -1 (TC_ACT_UNSPEC); exit.

    Raises OSError: the kernel refuses any program.
    """
    instructions = ctypes.create_string_buffer(
        struct.pack("=BBhi", 0xB7, 0, 0, -1) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    )
    license_text = ctypes.create_string_buffer(b"Dual MIT/GPL")
    request = struct.pack(
        "=IIQQ", _SCHED_CLS, 2, ctypes.addressof(instructions), ctypes.addressof(license_text)
    )
    return _bpf(_PROG_LOAD, request)


@contextmanager
def trivial_program() -> Iterator[int]:
    """See load_trivial_program()."""
    descriptor = load_trivial_program()
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def create_link(program_fd: int, ifindex: int) -> int:
    """A TCX link on ingress."""
    return _bpf(_LINK_CREATE, struct.pack("=IIII", program_fd, ifindex, _TCX_INGRESS, 0))


def tcx_programs(ifindex: int) -> int:
    """How many programs are on the interface's ingress by TCX."""
    request = ctypes.create_string_buffer(
        struct.pack("=IIIIQI", ifindex, _TCX_INGRESS, 0, 0, 0, 0), _ATTRIBUTES_BYTES
    )
    _call(_PROG_QUERY, request)
    return int(struct.unpack_from("=IIIIQI", request)[5])


@functools.cache
def kernel_has_tcx() -> bool:
    return tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 6)


def _bpf(command: int, request: bytes) -> int:
    return _call(command, ctypes.create_string_buffer(request, _ATTRIBUTES_BYTES))


def _call(command: int, request: ctypes.Array[ctypes.c_char]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(_BPF[os.uname().machine], command, request, len(request))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)
