"""What a shard reports to its supervisor for others: calls whose media have timed out, and RTCP for Homer.

These messages are part of the link (nh.ipc.link_messages), and have no answer.
"""

import msgspec

from nh.calls.timeouts import TimeoutTarget


class MediaTimedOut(msgspec.Struct, frozen=True, tag="media_timed_out"):
    """A call has ended because no media came any more.

    Args:
        call_id: the call.
        ends: the two tags of each dialog that timed out.
        reason: nh.calls.events.EndReason: expired, or hold.
        age_s: seconds since its first command.
        packets: received in its last sessions.
        target: whom its client wants told.
    """

    call_id: bytes
    ends: tuple[tuple[bytes, bytes], ...]
    reason: str
    age_s: float
    packets: int
    target: TimeoutTarget = TimeoutTarget()


class RtcpPacket(msgspec.Struct, array_like=True, frozen=True):
    """A packet of RTCP that passed.

    Attributes:
        call_id: the call.
        source: address and port that it came from.
        local: address and port of the relay where it came.
        at_us: wall-clock microseconds.
        data: the packet.
    """

    call_id: bytes
    source: tuple[str, int]
    local: tuple[str, int]
    at_us: int
    data: bytes


class RtcpSeen(msgspec.Struct, frozen=True, tag="rtcp_seen"):
    """Packets of RTCP that passed, for Homer.

    Attributes:
        packets: each a RtcpPacket in msgpack, which the supervisor does not read.
        lost: how many more did not get into a message.
    """

    packets: tuple[bytes, ...]
    lost: int = 0
