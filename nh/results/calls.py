"""Calls as operators see them: the results of ListCalls and ShowCall."""

import builtins  # of classes with a field named bytes, see tests/test_annotations.py

import msgspec

from nh.calls.call_event import NO_CLIENT, CallEvent, Client
from nh.calls.media import RelayMedia, Side
from nh.calls.media_state import MediaState


class EndSummary(msgspec.Struct, frozen=True):
    """One end of a call of a list: what it sends of the call's first audio medium, else of its first medium.

    Attributes:
        address: where its packets come from, ADDRESS:PORT; before the first one, what its SDP announces; None
            if that has no address.
        encoding, loss_ratio, mos: of its RTP stream with the most packets; encoding is "" if unknown, the
            others are None if they cannot be known (see StreamDetail).
        packets: accepted from it.
        idle_s: seconds since its last packet; None before the first.
    """

    address: str | None
    encoding: str
    packets: int
    loss_ratio: float | None
    mos: float | None
    idle_s: float | None


class CallSummary(msgspec.Struct, frozen=True):
    """One call of a list.

    Attributes:
        age_s, idle_s: seconds since its first command, and since its last command or packet.
        packets, bytes: received.
        state: what arrives of its media.
        from_, to: the two ends of its latest session; None: it has no session yet.
    """

    call_id: builtins.bytes
    shard: int
    age_s: float
    idle_s: float
    sessions: int
    sockets: int
    packets: int
    bytes: int
    state: MediaState = MediaState.WAITING
    from_: EndSummary | None = msgspec.field(default=None, name="from")
    to: EndSummary | None = None


class CallList(msgspec.Struct, frozen=True, tag="call_list"):
    """A page of calls.

    Attributes:
        next: for `after` of the next page's request; b"" on the last page, and in a list with another order
            than that of the call-ids.
        more: whether calls follow that are not in this page.
    """

    calls: tuple[CallSummary, ...]
    next: bytes = b""
    more: bool = False


class StreamQuality(msgspec.Struct, frozen=True):
    """The quality of a stream of audio in one interval, or on average.

    Attributes:
        at: wall-clock seconds of the end of the interval; 0 for the average.
        mos, jitter_ms, loss_ratio: see StreamDetail, of the interval.
        round_trip_ms: between the two ends through the relay, ms; None: no RTCP reported it.
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
        round_trip_ms: between the relay and the end that receives the stream, ms; None: no RTCP reported it.
        reported_loss: the part that that end says it lost since its report before, 0 to 1; None: no RTCP
            reported it.
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
    reported_loss: float | None = None


class IceDetail(msgspec.Struct, frozen=True):
    """The relay's ICE with one end at one port (docs/reference/ng.md).

    Attributes:
        expected: whether the end sends checks; a lite one does not.
        checks: how many passed.
        checked_s: seconds since the last one; None: none passed.
        selected: what the end nominated last, ADDRESS:PORT; None: nothing yet.
        sources: how many addresses a check has passed from.
        refused: checks that did not pass, by reason (nh.ice.agent.CheckResult).
    """

    expected: bool
    checks: int
    checked_s: float | None
    selected: str | None
    sources: int
    refused: dict[str, int] = {}


class LegDetail(msgspec.Struct, frozen=True):
    """One direction of one socket pair: received on one relay port and sent on to the other side.

    Attributes:
        local: the relay's endpoint on which the leg receives, ADDRESS:PORT.
        announced: the peer's endpoint by its SDP; None if the SDP has none.
        source: the endpoint that the peer's packets come from; None before the first packet.
        latched: whether the source is fixed (RFC 7362).
        packets, bytes: accepted from the source.
        dropped: packets that were not forwarded, by reason (nh.calls.drop.Drop).
        idle_s: seconds since the last packet; None before the first.
        streams: the latest four RTP streams.
        kernel: whether the kernel path relays its packets now.
        user_space_because: why it does not; "" if it does.
        kernel_packets: how many of `packets` the kernel path relayed.
        refused_from: the latest source whose packet was dropped as `source_mismatch`; None: no packet was.
        direction: that of this medium in the SDP of the end that sends here: sendrecv, sendonly, recvonly or
            inactive.
        payload_type: of the latest RTP packet; None: no RTP came.
        allowed: the payload types that the SDP of the other end lists; () if they are not known.
        deaf_reports: how many of the latest reports of RTCP, one after the other, say that the other end
            receives nothing of these streams.
        unreachable: how many messages of ICMP said that packets sent to this end do not arrive.
        unreachable_s: seconds since the latest one; None: there was none.
        srtp: the crypto suite between this end and the relay; "" where SRTP does not end at the relay.
        ice: the relay's ICE with this end; None without.
        dtls: how far the handshake is that is to agree on keys, or why it failed; "" if there are keys, or no
            DTLS with this end.
        muxed: this is RTCP of an end that sends it to the port of RTP (RFC 5761): nothing comes here.
        advertised: the relay's endpoint by the SDP that this end got, where that is another one than `local`
            (a NAT before this host, or the client asked for it); "": `local`.
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
    direction: str = "sendrecv"
    payload_type: int | None = None
    allowed: tuple[int, ...] = ()
    deaf_reports: int = 0
    unreachable: int = 0
    unreachable_s: float | None = None
    srtp: str = ""
    ice: IceDetail | None = None
    dtls: str = ""
    muxed: bool = False
    advertised: str = ""

    @property
    def sdp_endpoint(self) -> str:
        """Where the SDP that this end got says that it has to send, ADDRESS:PORT."""
        return self.advertised or self.local


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
        age_s: seconds since `created`; None: it has ended.
        carried_by: sessionid of the session at whose ports the media of this one come, because the ends have
            agreed on a bundle with each other; None: they come at its own.
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
    age_s: float | None = None
    carried_by: int | None = None


class GroupDetail(msgspec.Struct, frozen=True):
    """One group of sockets: the relay's ports for one SDP.

    Attributes:
        used: whether a session uses it.
        further: the relay's further candidates of ICE in place of `media`, ADDRESS:PORT.
    """

    cseq: int
    id: bytes
    side: Side
    used: bool
    age_s: float
    media: tuple[RelayMedia, ...]
    local_ports: tuple[int, ...]
    further: tuple[str, ...] = ()


class CallDetail(msgspec.Struct, frozen=True, tag="call_detail"):
    """Everything about one call.

    Attributes:
        client: who sent its first command.
        events: what happened to it, in order.
        events_left_out: how many are missing, behind the first nh.calls.timeline.FIRST_EVENTS.
    """

    call_id: bytes
    shard: int
    age_s: float
    idle_s: float
    groups: tuple[GroupDetail, ...]
    sessions: tuple[SessionDetail, ...]
    client: Client = NO_CLIENT
    events: tuple[CallEvent, ...] = ()
    events_left_out: int = 0


class CallEvents(msgspec.Struct, frozen=True):
    """What happened to a call that goes on, or has ended; see CallDetail."""

    call_id: bytes
    events: tuple[CallEvent, ...]
    events_left_out: int
