"""The program in the kernel, met one packet at a time: flow table, packet in, verdict, packet out."""

import enum
import struct
from typing import NamedTuple

from nh.calls.media import Endpoint
from nh.fastpath import bpf
from nh.fastpath.layout import (
    COUNTERS_BYTES,
    FlowCounters,
    FlowEntry,
    pack_counters,
    pack_flow,
    pack_key,
    pack_marker_key,
    too_big_messages,
    unpack_counters,
)
from nh.fastpath.loader import load
from tests.fastpath.frames import LOOPBACK_MAC, Datagram, datagram_in, frame_of
from tests.fastpath.packet_run import CONTEXT_BYTES, run_on_packet
from tools.harness.namespaces import Namespace

LOOPBACK = 1

_MARK_AT = 8
_PRIORITY_AT = 32
_IFINDEX_AT = 40
_GSO_SIZE_AT = 176


class Verdict(enum.IntEnum):
    """What becomes of a packet."""

    LEFT_TO_SOCKETS = -1
    DELIVERED = 0
    SENT_ON = 7


class Outcome(NamedTuple):
    """A verdict and the frame as the program left it."""

    verdict: Verdict
    frame: bytes

    @property
    def datagram(self) -> Datagram:
        return datagram_in(self.frame)


class Queued(NamedTuple):
    """What a packet is queued by."""

    priority: int = 0
    mark: int = 0


class KernelRelay:
    """The loaded program; packets come in on `phones`, an interface of a namespace, or on loopback."""

    def __init__(self, namespace: Namespace, phones: int, max_flows: int = 16) -> None:
        self._namespace = namespace
        self._program = load(max_flows)
        self.phones = phones
        self.close = self._program.close

    def add(self, local: Endpoint, flow: FlowEntry) -> None:
        bpf.update(self._program.flows_fd, pack_key(local), pack_flow(flow))

    def mark(self, out: Endpoint, target: Endpoint, local: Endpoint) -> None:
        """A marker: packets to `target` that leave by `out` came to `local`."""
        flow = FlowEntry(source=target, out=local, target=target, ifindex=0, counter_index=0, mtu_bytes=0)
        bpf.update(self._program.flows_fd, pack_marker_key(out, target), pack_flow(flow))

    def receive(
        self,
        packet: Datagram | bytes,
        *,
        ifindex: int | None = None,
        gso_size: int = 0,
        summed: bool = False,
    ) -> Outcome:
        """What becomes of a packet that comes in on an interface (None: `phones`).

        With `summed`, the card has made a checksum of the whole packet, and the kernel looks after it.
        """
        return self._run(packet, ifindex, gso_size, summed, Queued())[0]

    def receive_queued(self, packet: Datagram, queued: Queued) -> tuple[Outcome, Queued]:
        """What becomes of a packet that the way in left with such a priority and mark."""
        return self._run(packet, None, 0, False, queued)

    def _run(
        self, packet: Datagram | bytes, ifindex: int | None, gso_size: int, summed: bool, queued: Queued
    ) -> tuple[Outcome, Queued]:
        frame = packet if isinstance(packet, bytes) else frame_of(packet)
        if ifindex == LOOPBACK:
            frame = LOOPBACK_MAC + frame[6:]
        context = bytearray(CONTEXT_BYTES)
        struct.pack_into("=I", context, _IFINDEX_AT, self.phones if ifindex is None else ifindex)
        struct.pack_into("=I", context, _GSO_SIZE_AT, gso_size)
        struct.pack_into("=I", context, _PRIORITY_AT, queued.priority)
        struct.pack_into("=I", context, _MARK_AT, queued.mark)
        program = self._program.program_fd
        with self._namespace.entered():
            run = run_on_packet(program, frame, bytes(context), summed=summed)
        after = [struct.unpack_from("=I", run.context, at)[0] for at in (_PRIORITY_AT, _MARK_AT)]
        return Outcome(Verdict(run.verdict), run.packet), Queued(*after)

    def counters(self, index: int) -> FlowCounters:
        value = bpf.lookup(self._program.counters_fd, struct.pack("=I", index), COUNTERS_BYTES)
        assert value is not None
        return unpack_counters(value)

    def stop_at(self, at_ns: int) -> None:
        """Forward nothing from then on, by CLOCK_BOOTTIME; 0: forward always."""
        self._program.stop_at(at_ns)

    @property
    def too_big_messages(self) -> int:
        value = bpf.lookup(self._program.counters_fd, bytes(4), COUNTERS_BYTES)
        assert value is not None
        return too_big_messages(value)

    def set_counters(self, index: int, counters: FlowCounters) -> None:
        bpf.update(self._program.counters_fd, struct.pack("=I", index), pack_counters(counters))
