"""One run of a program on one packet (BPF_PROG_TEST_RUN), which nh itself has no use for."""

import ctypes
import struct
from typing import Final, NamedTuple

from nh.fastpath import bpf

CONTEXT_BYTES: Final = 192
"""struct __sk_buff."""

_PROG_TEST_RUN: Final = 10
_TEST_SKB_CHECKSUM_COMPLETE: Final = 1 << 2
_ATTRIBUTES: Final = struct.Struct("=Ii2I2Q4I2Q4I")
"""Program, verdict; sizes and addresses of the packet, before and after; repetitions, their mean time in
nanoseconds; the same of the context; flags, CPU, batch size, padding."""


class Run(NamedTuple):
    """What a program made of a packet: its verdict, the packet and struct __sk_buff after it, and the mean
    time in nanoseconds."""

    verdict: int
    packet: bytes
    context: bytes
    duration_ns: int


def run_on_packet(
    program_fd: int, packet: bytes, context: bytes = b"", *, repeat: int = 1, summed: bool = False
) -> Run:
    """Run a TC program on one packet that goes nowhere, as if it came in on loopback.

    Args:
        program_fd: of the program.
        packet: an Ethernet frame of 14 bytes or more.
        context: struct __sk_buff, zero where the kernel does not let it be chosen; b"" for all zero.
        repeat: how often; the packet is the same object each time.
        summed: the packet comes with a network card's checksum of its whole (CHECKSUM_COMPLETE), which must
            be right afterwards: EBADMSG if it is not. Linux 6.16, EINVAL before.
    """
    room = ctypes.create_string_buffer(len(packet) + 256)
    context_room = ctypes.create_string_buffer(CONTEXT_BYTES)
    values = _ATTRIBUTES.pack(
        *(program_fd, 0),
        *(len(packet), len(room), bpf._address(packet), ctypes.addressof(room)),
        *(repeat, 0),
        *(len(context), len(context_room), bpf._address(context) if context else 0),
        ctypes.addressof(context_room),
        *(_TEST_SKB_CHECKSUM_COMPLETE if summed else 0, 0, 0, 0),
    )
    attributes = ctypes.create_string_buffer(values, len(values))
    bpf._bpf(_PROG_TEST_RUN, attributes, "running the program on a packet")
    _, verdict, _, size, _, _, _, duration_ns, *_ = _ATTRIBUTES.unpack(attributes)
    return Run(verdict, room.raw[:size], context_room.raw, duration_ns)
