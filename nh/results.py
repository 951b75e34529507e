"""The results of commands (nh.commands): the other half of the vocabulary of wires, supervisor and shards."""

import msgspec

from nh.calls.media import RelayMedia, Side
from nh.errors import NhError
from nh.log_settings import LogLevel


class Allocated(msgspec.Struct, frozen=True, tag="allocated"):
    """Ports are allocated.

    Attributes:
        media: the relay's ports, one entry for each medium, in the order of the request.
    """

    media: tuple[RelayMedia, ...]


class Activated(msgspec.Struct, frozen=True, tag="activated"):
    """The session is active.

    Attributes:
        created: False if it was active before (a retransmission).
    """

    created: bool


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """Sessions are closed.

    Attributes:
        sessions: number of sessions that ended; 0 if none was active (sockets may have been closed).
    """

    sessions: int


class CallSummary(msgspec.Struct, frozen=True):
    """One call of a list.

    Attributes:
        age_s, idle_s: seconds since its first command, and since its last command or packet.
        packets, bytes: received.
    """

    call_id: bytes
    shard: int
    age_s: float
    idle_s: float
    sessions: int
    sockets: int
    packets: int
    bytes: int


class CallList(msgspec.Struct, frozen=True, tag="call_list"):
    """A page of calls.

    Attributes:
        next: for `after` of the next page's request; b"" on the last page.
    """

    calls: tuple[CallSummary, ...]
    next: bytes = b""


class StreamQuality(msgspec.Struct, frozen=True):
    """The quality of a stream of audio in one interval, or on average.

    Attributes:
        at: wall-clock seconds of the end of the interval; 0 for the average.
        mos, jitter_ms, loss_ratio: see StreamDetail, of the interval.
        round_trip_ms: between the two ends through the relay, ms; None: no RTCP told it.
        samples: number of intervals.
    """

    at: int
    mos: float
    jitter_ms: float
    loss_ratio: float
    round_trip_ms: float | None = None
    samples: int = 1


class StreamDetail(msgspec.Struct, frozen=True):
    """One RTP stream that a leg received, by SSRC (how it is measured: docs/reference/statistics.md).

    Attributes:
        payload_type, encoding: of the latest packet; encoding is "" if unknown.
        packets: packets received, duplicates included.
        lost, reordered, duplicates: packets that are missing, came late, came again.
        loss_ratio: lost packets by packets sent, 0 to 1.
        jitter_ms: interarrival jitter (RFC 3550) in ms; None if the payload type's clock is unknown.
        mos: estimated mean opinion score of audio, 1.0 to 4.5; None if it cannot be estimated.
        average, lowest, highest: the intervals of audio together, and those with the lowest and the highest
            MOS; None as `mos`.
        round_trip_ms: between the relay and the end that receives the stream, ms; None: no RTCP told it.
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
    average: StreamQuality | None = None
    lowest: StreamQuality | None = None
    highest: StreamQuality | None = None
    round_trip_ms: float | None = None


class LegDetail(msgspec.Struct, frozen=True):
    """One direction of one socket pair: received on one relay port and sent on to the other side.

    Attributes:
        local: the relay's endpoint on which the leg receives, ADDRESS:PORT.
        announced: the peer's endpoint by its SDP; None if the SDP has none.
        source: the endpoint that the peer's packets come from; None before the first packet.
        latched: whether the source is fixed (RFC 7362).
        packets, bytes: accepted from the source.
        dropped: packets that were not forwarded, by reason (nh.calls.leg.Drop).
        idle_s: seconds since the last packet; None before the first.
        streams: the latest four RTP streams.
        kernel: whether the kernel path relays its packets now.
        user_space_because: why it does not; "" if it does.
        kernel_packets: how many of `packets` the kernel path relayed.
        refused_from: the latest source whose packet was dropped as `source_mismatch`; None: no packet was.
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
    refused_from: str | None = None


class PairDetail(msgspec.Struct, frozen=True):
    """The two legs of one component: `from_` receives from the FROM end, `to` from the TO end."""

    medium: int
    component: int
    kind: str
    from_: LegDetail = msgspec.field(name="from")
    to: LegDetail


class SessionDetail(msgspec.Struct, frozen=True):
    """One session; the fields from `cseq` to `param` are Net::SIP's session information.

    Attributes:
        from_, to: the media that each end announced; "" for an end that has not answered yet.
        state: offered (ng, before the answer), active, hold or replaced.
    """

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
    """One group of sockets: the relay's ports for one SDP.

    Attributes:
        used: whether a session uses it.
    """

    cseq: int
    id: bytes
    side: Side
    used: bool
    age_s: float
    media: tuple[RelayMedia, ...]
    local_ports: tuple[int, ...]


class CallDetail(msgspec.Struct, frozen=True, tag="call_detail"):
    """Everything about one call."""

    call_id: bytes
    shard: int
    age_s: float
    idle_s: float
    groups: tuple[GroupDetail, ...]
    sessions: tuple[SessionDetail, ...]


class Rewritten(msgspec.Struct, frozen=True, tag="rewritten"):
    """An SDP with the relay's addresses and ports.

    Attributes:
        warning: for the client; "" for none.
        left_out: what was left out that fails a command otherwise; "" for nothing.
    """

    sdp: bytes
    warning: str = ""
    left_out: str = ""


class RelayPort(msgspec.Struct, frozen=True, tag="relay_port"):
    """Where the relay receives a medium.

    Attributes:
        port: of RTP; RTCP is at the next one.
        address: the IP address to announce.
    """

    port: int
    address: str


class SessionCounters(msgspec.Struct, frozen=True, tag="session_counters"):
    """The RTP of one medium, in the reply to rtpproxy's Q.

    Attributes:
        ttl_s: whole seconds until the call ends if no packet comes.
        from_packets, to_packets: received from the end that the command names first, and from the other one.
        relayed, dropped: of both ends.
        expected, unique, duplicates, lost: by the sequence numbers of the end that is named first.
    """

    ttl_s: int = 0
    from_packets: int = 0
    to_packets: int = 0
    relayed: int = 0
    dropped: int = 0
    expected: int = 0
    unique: int = 0
    duplicates: int = 0
    lost: int = 0


class StreamReading(msgspec.Struct, frozen=True):
    """The packets received on one relay port, in a query.

    Attributes:
        local_port: 0 for packets of ports that are closed.
        component: 1 for RTP, 2 for RTCP (RFC 8839 section 5.1).
        last_packet: wall-clock seconds.
        rtp: the RTP streams among the packets.
        refused: packets whose source does not belong to the call; they are among the errors.
        refused_from: the source of the latest one.
        ssrc: of the stream whose packets arrived last; None: no RTP.
        heard: the RTP stream of the other end, which this end is sent; None: there is none.
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
    refused: int = 0
    refused_from: str | None = None
    ssrc: int | None = None
    heard: StreamDetail | None = None


class MediumReading(msgspec.Struct, frozen=True):
    """One medium of one end, in a query."""

    index: int
    kind: str
    proto: str
    streams: tuple[StreamReading, ...]


class TagReading(msgspec.Struct, frozen=True):
    """One end of a call, in a query."""

    tag: bytes
    label: str
    created: int
    in_dialogue_with: bytes
    media: tuple[MediumReading, ...]


class StreamTotals(msgspec.Struct, frozen=True):
    """The packets received on several ports together."""

    packets: int = 0
    bytes: int = 0
    errors: int = 0


class Queried(msgspec.Struct, frozen=True, tag="queried"):
    """A call in the reply to query or delete.

    Attributes:
        created, last_signal: wall-clock seconds.
        tags: the ends of the call.
        rtp, rtcp: the totals of all streams of `tags`.
        complete: False if `tags` were left out, as the reply would be too long with them.
    """

    created: int
    last_signal: int
    tags: tuple[TagReading, ...]
    rtp: StreamTotals
    rtcp: StreamTotals
    complete: bool = True

    def without_details(self) -> "Queried":
        """The same call with its totals only."""
        return msgspec.structs.replace(self, tags=(), complete=False)


class Blocked(msgspec.Struct, frozen=True, tag="blocked"):
    """The media, or their DTMF events, are blocked or unblocked."""


class LeftOut(msgspec.Struct, frozen=True, tag="left_out"):
    """The command asked for what nh does not do, and the settings say to reply as if it had been done."""


class Stats(msgspec.Struct, frozen=True, tag="stats_result"):
    """All statistics, as plain values (nh.stats.reading.StatsReading.to_builtins)."""

    values: dict[str, object]


class DrainState(msgspec.Struct, frozen=True, tag="drain_state"):
    """The state of the drain after Drain or Undrain.

    Attributes:
        draining: whether new calls are refused.
        calls: number of calls, as last published.
        limit_s: seconds until the relay ends with calls left; None: no limit.
    """

    draining: bool
    calls: int
    limit_s: float | None = None


class Reloaded(msgspec.Struct, frozen=True, tag="reloaded"):
    """What a reload found different from the settings in force.

    Attributes:
        applied: names of settings that are in force now.
        needs_upgrade: names of settings that an upgrade applies.
    """

    applied: tuple[str, ...]
    needs_upgrade: tuple[str, ...]


class LogState(msgspec.Struct, frozen=True, tag="log_state"):
    """How much nh logs.

    Attributes:
        level: of all areas without a level of their own.
        areas: levels by area.
    """

    level: LogLevel
    areas: dict[str, LogLevel]


class Upgrading(msgspec.Struct, frozen=True, tag="upgrading"):
    """The upgrade begins, and this connection ends.

    Attributes:
        version: the installed version.
    """

    version: str


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """The reply to Ping.

    Attributes:
        version: of the nh that replies.
    """

    version: str


class ExtensionResult(msgspec.Struct, frozen=True, tag="extension_result"):
    """The plain values that an extension's handler returned: None, numbers, text, bytes, lists, dicts."""

    value: object


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """An error in place of a result.

    Attributes:
        code: one of nh.errors.ERROR_CODES.
        message: for people.
    """

    code: str
    message: str

    @classmethod
    def of(cls, error: NhError) -> "Failure":
        """The failure that a peer gets for an error."""
        return cls(error.code, str(error))


RelayResult = (
    Allocated
    | Activated
    | Closed
    | CallList
    | CallDetail
    | Rewritten
    | Queried
    | Blocked
    | RelayPort
    | SessionCounters
    | Failure
)
"""The results that a shard returns."""

Result = RelayResult | LeftOut | Stats | DrainState | Reloaded | LogState | Upgrading | Pong | ExtensionResult
"""All results."""
