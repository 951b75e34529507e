"""The state of an RTP stream outside of RtpStream: in snapshots, and in the kernel program. Plain values."""

from typing import Annotated, Final, NamedTuple

import msgspec

from nh.calls.rtp.quality import MAX_ROUND_TRIP_S

NO_BAD_NEXT: Final = 0x10000
"""Value of `bad_next` while no jump waits for confirmation; it is no sequence number."""

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Sequence = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
_Word = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class StreamState(msgspec.Struct, array_like=True, frozen=True):
    """The exact state of an RtpStream, for snapshots; see StreamFields for the names."""

    ssrc: _Word
    highest: _Sequence
    payload_type: Annotated[int, msgspec.Meta(ge=0, le=127)]
    packets: _Count
    lost: _Count
    reordered: _Count
    duplicates: _Count
    seen: _Count
    bad_next: Annotated[int, msgspec.Meta(ge=0, le=NO_BAD_NEXT)]
    jitter_s: Annotated[float, msgspec.Meta(ge=0, le=2**32)]
    arrival: Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)] | None
    timestamp: _Word
    quality: Annotated[bytes, msgspec.Meta(max_length=256)] = b""
    round_trip_s: Annotated[float, msgspec.Meta(ge=0, le=MAX_ROUND_TRIP_S)] | None = None
    reported: tuple[_Word, Annotated[int, msgspec.Meta(ge=0, le=255)]] | None = None


class StreamReports(msgspec.Struct, gc=False):
    """What RTCP says of a stream: one object, which streams without RTCP have not.

    Attributes:
        ntp: middle 32 bits of the NTP time of the latest sender report that passed; 0: none did.
        sent_at: monotonic seconds at which that report passed.
        round_trip_s: from the relay to the end that receives the stream and back, seconds; None: unknown.
        highest: the highest sequence number that that end says it received; None: it said nothing.
        lost: what it lost since its report before, in 256ths.
    """

    ntp: int = 0
    sent_at: float = 0.0
    round_trip_s: float | None = None
    highest: int | None = None
    lost: int = 0


class StreamFields(NamedTuple):
    """The members of `struct stream` of nh/fastpath, in its order.

    Attributes:
        seen: 64 bits; bit n is set if the packet n before the highest sequence number arrived. Without bit 0,
            later ones may have arrived that nothing tells of: a gap before the next packet is no loss.
        arrival_ns: monotonic nanoseconds of the reference packet for the next transit time; 0: there is none.
        jitter_ns: jitter in sixteenths of a nanosecond.
        ssrc: 32 bits.
        timestamp: RTP timestamp of the reference packet, 32 bits.
        packets, lost, reordered, duplicates: 32 bits.
        bad_next: sequence number that would confirm a jump as a restart (bad_seq in RFC 3550 A.1), or
            NO_BAD_NEXT.
        highest: highest sequence number, 16 bits.
        payload_type: of the latest packet, 0 to 127.
        used: 1; 0 for an unused entry.
    """

    seen: int = 0
    arrival_ns: int = 0
    jitter_ns: int = 0
    ssrc: int = 0
    timestamp: int = 0
    packets: int = 0
    lost: int = 0
    reordered: int = 0
    duplicates: int = 0
    bad_next: int = 0
    highest: int = 0
    payload_type: int = 0
    used: int = 0
