"""What comes of commands: the other half of the vocabulary of wires, supervisor and shards (nh.commands)."""

import msgspec

from nh.calls.media import RelayMedia, Side
from nh.errors import NhError


class Allocated(msgspec.Struct, frozen=True, tag="allocated"):
    """The relay's ports, one entry a medium, in the order of the request."""

    media: tuple[RelayMedia, ...]


class Activated(msgspec.Struct, frozen=True, tag="activated"):
    """`created` is False where the session was active already (a retransmission)."""

    created: bool


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """How many sessions ended; 0 where none was active (sockets may have been freed all the same)."""

    sessions: int


class CallSummary(msgspec.Struct, frozen=True):
    """One line of a list. `age_s` and `idle_s` are seconds; packets and bytes are those received."""

    call_id: bytes
    shard: int
    age_s: float
    idle_s: float
    sessions: int
    sockets: int
    packets: int
    bytes: int


class CallList(msgspec.Struct, frozen=True, tag="call_list"):
    """A page of calls; `next` goes into the next request's `after`, b"" on the last page."""

    calls: tuple[CallSummary, ...]
    next: bytes = b""


class StreamDetail(msgspec.Struct, frozen=True):
    """One RTP stream that a leg received, by SSRC (how it is measured: docs/reference/statistics.md).

    Arguments:
        payload_type, encoding: of the latest packet; "" if its name is not known.
        packets: received, duplicates among them.
        lost, reordered, duplicates: packets that did not come, came late, came again.
        loss_ratio: lost packets among those sent, 0 to 1.
        jitter_ms: RFC 3550's; None where the payload type's clock is not known.
        mos: estimated, 1.0 to 4.5, for audio; None where too little is known.
    """

    ssrc: int
    payload_type: int
    encoding: str
    packets: int
    lost: int
    reordered: int
    duplicates: int
    loss_ratio: float
    jitter_ms: float | None
    mos: float | None


class LegDetail(msgspec.Struct, frozen=True):
    """One direction of one socket pair: what is received on one relay port and sent on to the other side.

    Arguments:
        local: the relay's own endpoint, where this leg receives, as text.
        announced: the peer's endpoint as its SDP said, None where it said none.
        source: the peer's endpoint as packets showed it, None before the first.
        latched: whether the source is fixed (RFC 7362).
        packets, bytes: received from the source.
        dropped: packets not passed on, by reason (see nh.calls.leg.Drop).
        idle_s: seconds since the last packet was seen, None before the first.
        streams: the RTP streams among them, the latest four.
        kernel: whether its packets are relayed inside the kernel now.
        user_space_because: why they are not, in words; "" where they are.
        kernel_packets: how many of `packets` were.
    """

    local: str
    announced: str | None
    source: str | None
    latched: bool
    packets: int
    bytes: int
    dropped: dict[str, int]
    idle_s: float | None
    streams: tuple[StreamDetail, ...] = ()
    kernel: bool = False
    user_space_because: str = ""
    kernel_packets: int = 0


class PairDetail(msgspec.Struct, frozen=True):
    """The two legs of one component: `from_` receives from the FROM end, `to` from the TO end."""

    medium: int
    component: int
    kind: str
    from_: LegDetail = msgspec.field(name="from")
    to: LegDetail


class SessionDetail(msgspec.Struct, frozen=True):
    """One session; the fields from `cseq` to `param` are Net::SIP's session information."""

    sessionid: int
    cseq: int
    id_from: bytes
    id_to: bytes
    from_: str = msgspec.field(name="from")
    to: str
    bytes_from: int
    bytes_to: int
    created: float
    param: dict[str, str]
    state: str
    pairs: tuple[PairDetail, ...]


class GroupDetail(msgspec.Struct, frozen=True):
    """One group of sockets: the relay's ports for one SDP; `used` tells whether a session has it."""

    cseq: int
    id: bytes
    side: Side
    used: bool
    age_s: float
    media: tuple[RelayMedia, ...]
    local_ports: tuple[int, ...]


class CallDetail(msgspec.Struct, frozen=True, tag="call_detail"):
    """Everything that is known of one call."""

    call_id: bytes
    shard: int
    age_s: float
    idle_s: float
    groups: tuple[GroupDetail, ...]
    sessions: tuple[SessionDetail, ...]


class Rewritten(msgspec.Struct, frozen=True, tag="rewritten"):
    """The SDP with the relay's addresses and ports in it; `warning` is for the client, "" for none."""

    sdp: bytes
    warning: str = ""


class StreamReading(msgspec.Struct, frozen=True):
    """One port of the relay in a query: what was received there. Times are wall-clock seconds.

    `component` counts as ICE does: 1 is RTP, 2 is RTCP (RFC 8839 5.1). `local_port` is 0 for what came to
    ports that are no more. `rtp` are the RTP streams among the packets.
    """

    local_port: int
    component: int
    announced: str | None
    source: str | None
    packets: int
    bytes: int
    errors: int
    last_packet: int
    rtp: tuple[StreamDetail, ...] = ()


class MediumReading(msgspec.Struct, frozen=True):
    """One medium of one end in a query."""

    index: int
    kind: str
    proto: str
    streams: tuple[StreamReading, ...]


class TagReading(msgspec.Struct, frozen=True):
    """One end of a call in a query."""

    tag: bytes
    label: str
    created: int
    in_dialogue_with: bytes
    media: tuple[MediumReading, ...]


class StreamTotals(msgspec.Struct, frozen=True):
    """What arrived on several ports together."""

    packets: int = 0
    bytes: int = 0
    errors: int = 0


class Queried(msgspec.Struct, frozen=True, tag="queried"):
    """A call as query and delete tell it.

    Arguments:
        created, last_signal: wall-clock seconds.
        tags: its ends.
        rtp, rtcp: the totals of all streams of `tags`.
        complete: False where `tags` were left out, because all of it would be too long to be told.
    """

    created: int
    last_signal: int
    tags: tuple[TagReading, ...]
    rtp: StreamTotals
    rtcp: StreamTotals
    complete: bool = True

    def without_details(self) -> "Queried":
        """The same with its totals only."""
        return msgspec.structs.replace(self, tags=(), complete=False)


class Blocked(msgspec.Struct, frozen=True, tag="blocked"):
    """The media are blocked, or not any more."""


class Stats(msgspec.Struct, frozen=True, tag="stats_result"):
    """A snapshot of all counters, as plain values."""

    snapshot: dict[str, object]


class DrainState(msgspec.Struct, frozen=True, tag="drain_state"):
    """What came of Drain or Undrain.

    Arguments:
        draining: whether new calls are refused.
        calls: how many there are, as last published.
        limit_s: seconds until the relay ends whatever calls are left; None: no such limit.
    """

    draining: bool
    calls: int
    limit_s: float | None = None


class Upgrading(msgspec.Struct, frozen=True, tag="upgrading"):
    """What came of Upgrade: it begins, and this connection ends.

    Arguments:
        version: the one that is installed.
    """

    version: str


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """The answer to Ping: the version of nh that answers."""

    version: str


class ExtensionResult(msgspec.Struct, frozen=True, tag="extension_result"):
    """What an extension's handler returned: plain values (None, numbers, text, bytes, lists, dicts)."""

    value: object


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """Why there is no result: a code of nh.errors.ERROR_CODES and a message for people."""

    code: str
    message: str

    @classmethod
    def of(cls, error: NhError) -> "Failure":
        """What an error of nh's is to a peer."""
        return cls(error.code, str(error))


RelayResult = Allocated | Activated | Closed | CallList | CallDetail | Rewritten | Queried | Blocked | Failure
"""What a shard answers."""

Result = RelayResult | Stats | DrainState | Upgrading | Pong | ExtensionResult
"""What a wire codec may encode."""
