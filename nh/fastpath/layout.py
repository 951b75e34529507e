"""How flows and counters lie in the kernel's maps: relay.bpf.c's structures, as bytes and as values.

A test holds the two against each other, member by member. Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d;
addresses and ports are in network byte order, all else is native. Pure functions: knows nothing of maps or
descriptors.
"""

import mmap
import socket
import struct
from typing import Final, NamedTuple

from nh.calls.media import Endpoint
from nh.calls.rtp.stream_state import StreamFields
from nh.ip_address import ip_version, is_ipv6

STREAMS: Final = 4
"""RTP streams (by SSRC) that the counters of a flow have room for."""

_MAPPED: Final = b"\0" * 10 + b"\xff\xff"

KEY: Final = struct.Struct("!16sHH")
"""struct flow_key: address, port, port of a marker's target."""

FLOW: Final = struct.Struct("=16s16s16s2s2s2sHIIIIBBBB")
"""struct flow, in the order of its members."""

_OWNER: Final = struct.Struct("=HIII")
"""The members shard to mtu_bytes of struct flow."""

_OWNER_AT: Final = struct.calcsize("=16s16s16s2s2s2s")

COUNT_STREAMS: Final = 1
LEAVE_RTCP: Final = 2
"""Bits of the member `rtp` of struct flow."""

STREAM: Final = struct.Struct("=QQQIIIIIIIHBB")
"""struct stream, in the order of its members, which is that of nh.calls.rtp.stream_state.StreamFields."""

_STREAM_TAIL: Final = struct.Struct("=HBB")
"""The last members of struct stream: highest, payload_type, used."""

_COUNTERS_HEAD: Final = struct.Struct("=QQQI4x")

_TOO_BIG: Final = struct.Struct("=I")

FORMAT: Final = " ".join(each.format for each in (KEY, FLOW, STREAM, _COUNTERS_HEAD, _TOO_BIG))
"""What the maps look like; a process with another one must leave them alone. If a member gets another
meaning, a word has to be added."""

TOO_BIG_AT: Final = 28
"""Where the counters at index 0 say how many ICMP messages "packet too big" came, in 32 bits."""

STOP_AT: Final = 16
"""Where the counters at index 0 say from when on the program forwards nothing: nanoseconds of CLOCK_BOOTTIME,
in 64 bits; 0: never."""

TOTALS_BYTES: Final = 24
"""Where the counters of struct flow_counters end, and what is kept of streams begins."""

COUNTERS_BYTES: Final = _COUNTERS_HEAD.size + STREAMS * STREAM.size
"""Size of struct flow_counters, and the distance between two of them in the map's memory."""


class FlowEntry(NamedTuple):
    """What the kernel does with packets from `source` to the address and port of the flow's key.

    All addresses are of one family.

    Args:
        source: the latched source; other packets are left to the socket.
        out: the relay's address and port that they are sent on from.
        target: where they are sent.
        ifindex: the interface that they leave by, then they must not come from loopback; or 0 for a target on
            this host, then they must.
        counter_index: index of the flow in the counters map, 0 to the map's size - 1.
        mtu_bytes: longest IP packet that is taken.
        tos: the IP header's TOS or traffic class, 0 to 255 (DSCP << 2).
        rtp: keep statistics of RTP streams.
        leave_rtcp: leave RTCP to the socket, and packets that are too short to tell; for RTP only.
        payload_type: the RTP payload type that jitter is measured of, 0 to 127.
        clock_hz: the RTP clock of payload_type; 0: measure no jitter.
        shard: number of the shard that owns the flow, for its owner only.
    """

    source: Endpoint
    out: Endpoint
    target: Endpoint
    ifindex: int
    counter_index: int
    mtu_bytes: int
    tos: int = 0
    rtp: bool = False
    leave_rtcp: bool = False
    payload_type: int = 0
    clock_hz: int = 0
    shard: int = 0


NO_STREAM: Final = StreamFields()
"""An empty place."""


class FlowCounters(NamedTuple):
    """What a flow has carried; all integers.

    Attributes:
        packets, payload_bytes: counters, 64 bits; bytes of UDP payload.
        last_seen_ns: CLOCK_MONOTONIC of the latest packet, 0 if there was none.
        next_stream: the place that the next new stream takes, 0 to STREAMS - 1.
        streams: STREAMS of them.
    """

    packets: int = 0
    payload_bytes: int = 0
    last_seen_ns: int = 0
    next_stream: int = 0
    streams: tuple[StreamFields, ...] = (NO_STREAM,) * STREAMS


def pack_address(address: str) -> bytes:
    """16 bytes of a canonical IP address. Raises OSError if it is none."""
    if is_ipv6(address):
        return socket.inet_pton(socket.AF_INET6, address)
    return _MAPPED + socket.inet_pton(socket.AF_INET, address)


def pack_key(local: Endpoint) -> bytes:
    """The key of the flow whose packets come to this address and port of the relay."""
    return KEY.pack(pack_address(local.address), local.port, 0)


def pack_marker_key(out: Endpoint, target: Endpoint) -> bytes:
    """The key of the marker for packets to `target` that leave by the relay's port `out`."""
    return KEY.pack(pack_address(target.address), out.port, target.port)


def pack_flow(flow: FlowEntry) -> bytes:
    """struct flow. Raises struct.error if a number is out of its range, ValueError if a family is."""
    version = ip_version(flow.source.address)
    if not version == ip_version(flow.out.address) == ip_version(flow.target.address):
        raise ValueError(f"{flow.source} via {flow.out} to {flow.target}: more than one address family")
    return FLOW.pack(
        pack_address(flow.source.address),
        pack_address(flow.out.address),
        pack_address(flow.target.address),
        flow.source.port.to_bytes(2, "big"),
        flow.out.port.to_bytes(2, "big"),
        flow.target.port.to_bytes(2, "big"),
        flow.shard,
        flow.ifindex,
        flow.counter_index,
        flow.mtu_bytes,
        flow.clock_hz,
        version,
        flow.tos,
        COUNT_STREAMS * flow.rtp | LEAVE_RTCP * (flow.rtp and flow.leave_rtcp),
        flow.payload_type,
    )


def unpack_flow(data: bytes) -> FlowEntry:
    """The flow that pack_flow() made `data` of."""
    source, out, target, source_port, out_port, target_port, *numbers = FLOW.unpack(data)
    shard, ifindex, counter_index, mtu_bytes, clock_hz, _family, tos, rtp, payload_type = numbers
    return FlowEntry(
        source=Endpoint(_unpack_address(source), int.from_bytes(source_port, "big")),
        out=Endpoint(_unpack_address(out), int.from_bytes(out_port, "big")),
        target=Endpoint(_unpack_address(target), int.from_bytes(target_port, "big")),
        ifindex=ifindex,
        counter_index=counter_index,
        mtu_bytes=mtu_bytes,
        tos=tos,
        rtp=bool(rtp & COUNT_STREAMS),
        leave_rtcp=bool(rtp & LEAVE_RTCP),
        payload_type=payload_type,
        clock_hz=clock_hz,
        shard=shard,
    )


def _unpack_address(data: bytes) -> str:
    if data.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, data[len(_MAPPED) :])
    return socket.inet_ntop(socket.AF_INET6, data)


class Owner(NamedTuple):
    """What a shard has to know of a packed flow to tell whose it is.

    Args:
        shard: number of the shard that owns it.
        ifindex, counter_index, mtu_bytes: as in FlowEntry; a marker has an mtu_bytes of 0.
    """

    shard: int
    ifindex: int
    counter_index: int
    mtu_bytes: int


def owner_of(flow: bytes) -> Owner:
    """Whose a packed flow is; a tenth of what unpack_flow() takes, for tens of thousands in a row."""
    return Owner(*_OWNER.unpack_from(flow, _OWNER_AT))


def latest_payload_type(memory: bytes | memoryview | mmap.mmap, index: int) -> int | None:
    """The payload type of the latest packet of the stream that began last; None if there is no stream."""
    start = index * COUNTERS_BYTES
    next_stream: int = _COUNTERS_HEAD.unpack_from(memory, start)[3]
    place = (next_stream - 1) % STREAMS
    _, payload_type, used = _STREAM_TAIL.unpack_from(
        memory, start + _COUNTERS_HEAD.size + (place + 1) * STREAM.size - _STREAM_TAIL.size
    )
    return payload_type if used else None


def too_big_messages(memory: bytes | memoryview | mmap.mmap) -> int:
    """See TOO_BIG_AT."""
    number: int = _TOO_BIG.unpack_from(memory, TOO_BIG_AT)[0]
    return number


def pack_counters(counters: FlowCounters) -> bytes:
    """struct flow_counters. Raises struct.error if a number is out of its range."""
    head = _COUNTERS_HEAD.pack(
        counters.packets, counters.payload_bytes, counters.last_seen_ns, counters.next_stream
    )
    return head + b"".join([STREAM.pack(*stream) for stream in counters.streams])


def unpack_counters(memory: bytes | memoryview, index: int = 0) -> FlowCounters:
    """The counters at index `index` of `memory`: the map's memory, or one value of it."""
    start = index * COUNTERS_BYTES
    packets, payload_bytes, last_seen_ns, next_stream = _COUNTERS_HEAD.unpack_from(memory, start)
    streams = STREAM.iter_unpack(memory[start + _COUNTERS_HEAD.size : start + COUNTERS_BYTES])
    return FlowCounters(
        packets,
        payload_bytes,
        last_seen_ns,
        next_stream,
        tuple(StreamFields._make(values) for values in streams),
    )
