"""The commands that proxies and operators send: one vocabulary for wires, supervisor and shards.

Codecs turn bytes into these structs and back; the internal link carries the structs as they are (tagged
msgspec). nh.results has what comes back, nh.command_table what is known of each command: its result, its name
on each wire, its counters, its route. Identifiers are bytes: SIP allows bytes in them that are not text, and
Net::SIP puts NUL bytes into them.
"""

import enum
from typing import Final, Generic, TypeVar

import msgspec

from nh.calls.media import Media, Side
from nh.calls.timeouts import TimeoutTarget
from nh.log_settings import LogLevel
from nh.results import (
    Activated,
    Allocated,
    Blocked,
    CallDetail,
    CallList,
    Closed,
    DrainState,
    ExtensionResult,
    LogState,
    Pong,
    Queried,
    RelayPort,
    Reloaded,
    Result,
    Rewritten,
    SessionCounters,
    Stats,
    Upgrading,
)

MAX_ID_BYTES = 16_384
"""Longest call-id, idfrom or idto, in bytes."""

MAX_CSEQ = 2**32 - 1
"""Highest CSeq number (RFC 3261 section 8.1.1.5 allows less than 2**31; Net::SIP passes on what it reads)."""

MAX_LIST = 1000
"""Most calls in one page of a list."""

MAX_DRAIN_S = 7 * 86_400
"""Longest time limit of a drain, in seconds."""

ResultT_co = TypeVar("ResultT_co", bound=Result, covariant=True)


class BaseCommand(msgspec.Struct, Generic[ResultT_co], frozen=True):
    """Any command; its type parameter is the type of its result, where that is not a Failure."""


class TransactionKey(msgspec.Struct, frozen=True):
    """Net::SIP's nat_basic: the call, the transaction and the two ends that a command is about.

    Attributes:
        call_id: the SIP Call-ID, 1 to MAX_ID_BYTES bytes.
        cseq: CSeq number, 0 to MAX_CSEQ; None in a Close that ends all sessions between the two ends.
        id_from: the end that sent the transaction's request, at most MAX_ID_BYTES bytes.
        id_to: the end that received the request; b"" while it is unknown.
        uri_from, uri_to: URIs of the two ends, for information only.
    """

    call_id: bytes
    cseq: int | None
    id_from: bytes
    id_to: bytes = b""
    uri_from: bytes = b""
    uri_to: bytes = b""


# --- Net::SIP's commands --------------------------------------------------------------------------


class _KeyedCommand(BaseCommand[ResultT_co], frozen=True):
    key: TransactionKey

    @property
    def call_id(self) -> bytes:
        """The call that the command is about."""
        return self.key.call_id


class Allocate(_KeyedCommand[Allocated], frozen=True, tag="allocate"):
    """Allocate relay ports for the media of one SDP.

    Attributes:
        key: call, transaction and ends; its cseq is a number.
        side: the end that sent the SDP.
        address: IP address on which the relay listens.
        media: one entry for each medium, in the order of the SDP.
    """

    side: Side
    address: str
    media: tuple[Media, ...]


class Activate(_KeyedCommand[Activated], frozen=True, tag="activate"):
    """Start to relay between the two ends; `param` is returned in the session information."""

    param: dict[str, str] = {}


class Close(_KeyedCommand[Closed], frozen=True, tag="close"):
    """End one transaction's session; with a cseq of 0 or None, every session between the two ends."""


class CloseCall(BaseCommand[Closed], frozen=True, tag="close_call"):
    """End everything under a call-id, whatever its transactions and ends."""

    call_id: bytes


# --- what operators ask ---------------------------------------------------------------------------


class ListCalls(BaseCommand[CallList], frozen=True, tag="list"):
    """List one page of calls, in the order of their call-ids.

    Attributes:
        contains: only call-ids that contain these bytes; b"" for all.
        after: only call-ids after this one: `next` of the page before; b"" for the first page.
        limit: most calls in the page, 1 to MAX_LIST.
    """

    contains: bytes = b""
    after: bytes = b""
    limit: int = 100


class ShowCall(BaseCommand[CallDetail], frozen=True, tag="show"):
    """Show everything that is known of one call."""

    call_id: bytes


class GetStats(BaseCommand[Stats], frozen=True, tag="stats"):
    """Read the counters of the whole relay (what `nh stats --json` prints)."""


class Drain(BaseCommand[DrainState], frozen=True, tag="drain"):
    """Refuse new calls, and end when the last call has ended. A second Drain replaces the limit.

    Attributes:
        limit_s: seconds after which the relay ends with calls left, 0 to MAX_DRAIN_S; None: no limit.
    """

    limit_s: float | None = None


class Undrain(BaseCommand[DrainState], frozen=True, tag="undrain"):
    """Accept new calls again."""


class Reload(BaseCommand[Reloaded], frozen=True, tag="reload"):
    """Read the settings again, and apply those that can change at run time."""


class SetLog(BaseCommand[LogState], frozen=True, tag="set_log"):
    """Change a level of the log until the next reload or start, or ask for the levels.

    Attributes:
        level: the new level; None: change nothing.
        area: one of nh.logs.AREAS; "": all areas.
    """

    level: LogLevel | None = None
    area: str = ""


class Upgrade(BaseCommand[Upgrading], frozen=True, tag="upgrade"):
    """Continue with the installed code and the current settings; no call ends.

    Attributes:
        shards: number of shards from then on, 1 to 256; None: the setting `shards`.
    """

    shards: int | None = None


class Ping(BaseCommand[Pong], frozen=True, tag="ping"):
    """Ask whether the relay answers, and with which version."""


# --- ng's commands ---------------------------------------------------------------------------------


class IceHandling(enum.StrEnum):
    """The value of ng's key `ICE` (nh.sdp.rewrite implements it).

    DEFAULT replaces the peer's candidates, if the SDP has any, by the relay's.
    """

    DEFAULT = "default"
    REMOVE = "remove"
    FORCE = "force"
    OPTIONAL = "optional"


class EndpointLearning(enum.StrEnum):
    """The value of ng's key `endpoint-learning`, in rtpengine's words; policy_for() has what nh makes of it.

    OFF: from no packet. IMMEDIATE: from the first packet. DELAYED: from the first packet after three seconds.
    HEURISTIC: from the best packet of the first three seconds, ranked by what the SDP announces.
    """

    OFF = "off"
    IMMEDIATE = "immediate"
    DELAYED = "delayed"
    HEURISTIC = "heuristic"


class Feature(enum.StrEnum):
    """Families of rtpengine's features that nh does not have, in the words of the setting `ng_unsupported`.

    RECORDING: recording, and forwarding of media to a recorder.
    CODECS: transcoding, and what chooses codecs.
    DTMF: detecting, playing and replacing DTMF.
    PLAYING: announcements, music on hold, echo, silence.
    SRTP: SRTP on one side only.
    ICE: ICE for an end that has none.
    PACKETS: what looks into packets, delays or makes them: T.38 conversion, RTCP, short packets.
    SDP: changes of an SDP beyond a relay's.
    ROUTES: next hops, templates.
    """

    RECORDING = "recording"
    CODECS = "codecs"
    DTMF = "dtmf"
    PLAYING = "playing"
    SRTP = "srtp"
    ICE = "ice"
    PACKETS = "packets"
    SDP = "sdp"
    ROUTES = "routes"


class RtcpAttribute(enum.StrEnum):
    """When a forwarded SDP has a=rtcp (RFC 3605), and whether it names the address."""

    AS_NEEDED = "as-needed"
    NONE = "none"
    FULL = "full"


class AttributeEdit(msgspec.Struct, frozen=True):
    """One change of a= lines of the forwarded SDP (ng's sdp-attr). All texts are without `a=`.

    Attributes:
        kind: media type of the media concerned, in small letters; "" for the session section.
        match: which lines: their name, `name:first-word` or whole text, in any letter case. b"" adds a line.
        text: the line from now on; b"" removes it.
    """

    kind: str
    match: bytes
    text: bytes


class SdpText(msgspec.Struct, frozen=True, kw_only=True):
    """What a client wants changed in the text of the forwarded SDP alone; no media depend on it.

    Attributes:
        zero_address: announce the relay's address for media on hold by 0.0.0.0 or ::, too.
        original_direction: the direction of media on hold by such an address stays as it is.
        version: the relay numbers the versions of o=: one more whenever the SDP changed.
        force_version: one more each time.
        username, session_name: the user name of o= and the s= stay as an end got them first.
        whole_origin: all of o= stays so; implies `version` and `username`.
        generate_mid: add a=mid where it is missing.
        rtcp_attribute: see RtcpAttribute.
        extensions: RTP header extensions to remove, by the name in their a=extmap; `all` removes all.
        attributes: changes of a= lines.
        removed_media: media types, in small letters, that the receiver of an offer does not see; `other` for
            those without a meaning of their own.
    """

    zero_address: bool = False
    original_direction: bool = False
    version: bool = False
    force_version: bool = False
    username: bool = False
    session_name: bool = False
    whole_origin: bool = False
    generate_mid: bool = False
    rtcp_attribute: RtcpAttribute = RtcpAttribute.AS_NEEDED
    extensions: tuple[str, ...] = ()
    attributes: tuple[AttributeEdit, ...] = ()
    removed_media: tuple[str, ...] = ()

    @property
    def controls_origin(self) -> bool:
        """Whether o= or s= depend on what the end got before."""
        return self.version or self.force_version or self.username or self.session_name or self.whole_origin


PLAIN_TEXT: Final = SdpText()
"""Nothing but what a relay must change."""


class OfferOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of an ng offer or answer that nh implements (docs/reference/ng.md).

    Attributes:
        received_from: IP address that the SIP message came from, "" if unknown; sources are ranked by it.
        trust_received: announce that address to the core instead of the SDP's (SIP-source-address).
        media_address: IP address to write into the SDP instead of the interface's, "" for none.
        replace_origin: rewrite the o= line, too.
        ice: see IceHandling.
        direction: names of the interfaces towards the sender and towards the receiver; () if not given.
        family: IP version on the side that the SDP goes to, 4 or 6; 0: that of the SDP.
        learning: how the sender's address is learned from its packets; None: as the setting `policy` says.
        asymmetric: as learning OFF, whatever `learning` is.
        strict_source: drop packets from other sources than the learned one, or if none is learned, the SDP's.
        media_handover: another source may take over at any time, unless strict_source.
        port_latching: whether the relay's ports stay although the peer's changed; None: with ICE, and for
            media that the peer does not receive.
        mux_offer, mux_require, mux_demux, mux_accept, mux_reject: of `rtcp-mux`; require implies offer.
        transport_protocol: protocol for the m= lines, such as RTP/SAVPF, or `accept`; "" if not given.
        dscp: DSCP of the packets sent, 0 to 63; None: the relay's default.
        loop_protect: leave an SDP alone that has this relay's mark, and mark the SDPs it rewrites.
        label: the client's own name for the sender, shown in queries.
        lenient: features that are left out, with a warning, where they would fail the request otherwise.
        text: what else is to be changed in the text of the SDP; None: PLAIN_TEXT.
        timeout_callback: IP address of xmlrpc-callback, "" if not given (nh.calls.timeouts).
    """

    received_from: str = ""
    trust_received: bool = False
    media_address: str = ""
    replace_origin: bool = False
    ice: IceHandling = IceHandling.DEFAULT
    direction: tuple[str, ...] = ()
    family: int = 0
    learning: EndpointLearning | None = None
    asymmetric: bool = False
    strict_source: bool = False
    media_handover: bool = False
    port_latching: bool | None = None
    mux_offer: bool = False
    mux_require: bool = False
    mux_demux: bool = False
    mux_accept: bool = False
    mux_reject: bool = False
    transport_protocol: str = ""
    dscp: int | None = None
    loop_protect: bool = False
    label: str = ""
    lenient: frozenset[Feature] = frozenset()
    text: SdpText | None = None
    timeout_callback: str = ""


class Offer(BaseCommand[Rewritten], frozen=True, tag="offer"):
    """ng's offer: `from_tag` sent `sdp`; `to_tag` is b"" before the first answer."""

    call_id: bytes
    from_tag: bytes
    to_tag: bytes
    via_branch: bytes
    sdp: bytes
    options: OfferOptions


class Answer(BaseCommand[Rewritten], frozen=True, tag="answer"):
    """ng's answer: `to_tag` sent `sdp`, in answer to the last offer of `from_tag` (RFC 3264)."""

    call_id: bytes
    from_tag: bytes
    to_tag: bytes
    via_branch: bytes
    sdp: bytes
    options: OfferOptions


class Delete(BaseCommand[Queried], frozen=True, tag="delete"):
    """ng's delete: of the whole call without from_tag, else of that end's dialogs.

    Attributes:
        to_tag: the other end; b"" where the client sent none, or none that selects.
        delay_s: seconds until the deletion, 0 to 3600; an offer or answer within that time cancels it.
    """

    call_id: bytes
    from_tag: bytes = b""
    to_tag: bytes = b""
    via_branch: bytes = b""
    delay_s: int = 0


class Query(BaseCommand[Queried], frozen=True, tag="query"):
    """ng's query: state and counters of a call; with from_tag, of that end and its peers."""

    call_id: bytes
    from_tag: bytes = b""


class BlockMedia(BaseCommand[Blocked], frozen=True, tag="block_media"):
    """ng's block media and unblock media: of one end if from_tag is given, else of the call.

    Attributes:
        dtmf: True: only DTMF events, as ng's block DTMF and unblock DTMF.
    """

    call_id: bytes
    from_tag: bytes
    blocked: bool
    dtmf: bool = False


# --- rtpproxy's commands ----------------------------------------------------------------------------


class SessionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The modifiers of rtpproxy's U and L that nh implements (docs/reference/rtpproxy.md).

    Attributes:
        asymmetric: `A`: media go to the address of the command, wherever that end sends from.
        family: address family of the SDP, 4 or 6 (`6`).
        bridge: `I` is 0, `E` is 1: the interfaces towards the sender and the receiver of the SDP, as far as
            they are given.
        local: `L`: IP address or name of the interface; "" if not given.
        remote: `R`: IP address of an end; the interface is the one that leads there; "" if not given.
        new_port: `N`: replace the relay's ports.
        weak: `W`: see nh.calls.offer_answer.party.Reference.
    """

    asymmetric: bool = False
    family: int = 4
    bridge: tuple[int, ...] = ()
    local: str = ""
    remote: str = ""
    new_port: bool = False
    weak: bool = False


class _SessionCommand(BaseCommand[ResultT_co], frozen=True):
    """A command about one medium of a call.

    Attributes:
        call_id: the Call-ID, with `;BRANCH` where the client distinguishes branches.
        from_tag, to_tag: the tags of the SIP message, without their media number; to_tag b"" if unknown.
        medium: the media number, 0 where the tags have none.
    """

    call_id: bytes
    from_tag: bytes
    to_tag: bytes
    medium: int


class Update(_SessionCommand[RelayPort], frozen=True, tag="update"):
    """rtpproxy's U: the end `from_tag` offers a medium at `address` and `port`; 0: it rejects the medium.

    Attributes:
        timeout_target: whom to tell when the media time out; None: that of an earlier U has no effect more.
    """

    address: str
    port: int
    options: SessionOptions
    timeout_target: TimeoutTarget | None = None


class Lookup(_SessionCommand[RelayPort], frozen=True, tag="lookup"):
    """rtpproxy's L: the end `to_tag` answers the offer of a medium with `address` and `port`."""

    address: str
    port: int
    options: SessionOptions


class QuerySession(_SessionCommand[SessionCounters], frozen=True, tag="query_session"):
    """rtpproxy's Q: the counters of one medium."""


class DeleteSessions(BaseCommand[Closed], frozen=True, tag="delete_sessions"):
    """rtpproxy's D: end all that `from_tag` or `to_tag` has offered first.

    Attributes:
        weak: remove the weak reference of that end, not the strong one.
    """

    call_id: bytes
    from_tag: bytes
    to_tag: bytes = b""
    weak: bool = False


class DeleteAll(BaseCommand[Closed], frozen=True, tag="delete_all"):
    """rtpproxy's X: end all calls that rtpproxy's commands have begun."""


# --- what a library's user adds -------------------------------------------------------------------


class Extension(BaseCommand[ExtensionResult], frozen=True, tag="extension"):
    """A command that a program added to its nh.server.Server.

    Attributes:
        name: its name on the wire.
        arguments: in Net::SIP's protocol the plain values behind the name, in the native protocol one dict
            of the request's fields.
    """

    name: str
    arguments: tuple[object, ...] = ()


NgCommand = Offer | Answer | Delete | Query | BlockMedia
"""The commands that only ng has."""

SessionCommand = Update | Lookup | QuerySession | DeleteSessions
"""The commands about one call that only rtpproxy's protocol has."""

CallCommand = Allocate | Activate | Close | CloseCall | ShowCall | NgCommand | SessionCommand
"""The commands about one call; all have a `call_id`."""

RelayCommand = CallCommand | ListCalls | DeleteAll
"""The commands that a shard executes."""

Command = RelayCommand | GetStats | Drain | Undrain | Reload | SetLog | Upgrade | Ping | Extension
"""All commands."""
