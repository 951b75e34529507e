"""The one vocabulary of wires, supervisor and shards: typed commands; what comes of them is in nh.results.

Codecs turn bytes into these and these into bytes; the internal link carries them as they are
(tagged msgspec structs). Identifiers are bytes: SIP allows more in them than any text encoding does,
and Net::SIP puts NUL bytes into them.
"""

import enum

import msgspec

from nh.calls.media import Media, Side

MAX_ID_BYTES = 16_384
"""Longest call-id, idfrom or idto."""

MAX_CSEQ = 2**32 - 1
"""Highest CSeq number (RFC 3261 8.1.1.5 allows less than 2**31; Net::SIP passes on what it reads)."""

MAX_LIST = 1000
"""Most calls in one page of a list."""

MAX_DRAIN_S = 7 * 86_400
"""Longest limit of a drain."""


class TransactionKey(msgspec.Struct, frozen=True):
    """Net::SIP's nat_basic: which call, transaction and pair of ends a command is about.

    Arguments:
        call_id: the SIP Call-ID, 1 to MAX_ID_BYTES bytes.
        cseq: CSeq number, 0 to MAX_CSEQ; None where a BYE closes whatever is between the ends.
        id_from: who sent the request of the transaction.
        id_to: whom it was sent to; b"" where it is not known yet.
        uri_from, uri_to: for information only.
    """

    call_id: bytes
    cseq: int | None
    id_from: bytes
    id_to: bytes = b""
    uri_from: bytes = b""
    uri_to: bytes = b""


# --- commands -------------------------------------------------------------------------------------


class Allocate(msgspec.Struct, frozen=True, tag="allocate"):
    """Ports for the media of one SDP: `side` sent it, `address` is where the relay shall listen.

    `key.cseq` must not be None.
    """

    key: TransactionKey
    side: Side
    address: str
    media: tuple[Media, ...]


class Activate(msgspec.Struct, frozen=True, tag="activate"):
    """Start to relay between the two sides; `param` is handed back in the session information."""

    key: TransactionKey
    param: dict[str, str] = {}


class Close(msgspec.Struct, frozen=True, tag="close"):
    """End one transaction's session (a true cseq) or every session between the two ends (0 or None)."""

    key: TransactionKey


class CloseCall(msgspec.Struct, frozen=True, tag="close_call"):
    """End everything under a call-id, whatever its transactions and ends."""

    call_id: bytes


class ListCalls(msgspec.Struct, frozen=True, tag="list"):
    """A page of calls in the order of their call-id bytes.

    Arguments:
        contains: only call-ids with these bytes in them; b"" for all.
        after: only call-ids behind this one: the `next` of the page before; b"" to begin.
        limit: most calls in the page, 1 to MAX_LIST.
    """

    contains: bytes = b""
    after: bytes = b""
    limit: int = 100


class ShowCall(msgspec.Struct, frozen=True, tag="show"):
    """Everything that is known of one call."""

    call_id: bytes


class IceHandling(enum.StrEnum):
    """What ng's `ICE` asks for (nh.sdp.rewrite says what of it a relay can do).

    DEFAULT: the relay's candidates in place of the peer's, if there are any.
    """

    DEFAULT = "default"
    REMOVE = "remove"
    FORCE = "force"
    OPTIONAL = "optional"


class OfferOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What an ng client may ask for in an offer or answer, as far as a relay can do it.

    Arguments:
        received_from: IP address that the SIP message came from, "" if not told; it ranks sources.
        trust_received: announce to the core that address instead of the SDP's (SIP-source-address).
        media_address: IP address to write into the SDP instead of the interface's, "" for none.
        replace_origin: rewrite o=, too.
        ice: see IceHandling.
        direction: names of the interfaces towards the sender and towards the receiver; empty: not told.
        family: 4 or 6 for the side that the SDP goes to; 0: that of the SDP.
        asymmetric: send where the SDP says, and never learn.
        strict_source: take packets from the learned source only, which nh does in any case.
        media_handover: another source may take over at any time.
        port_latching: keep the relay's ports although the peer's changed.
        mux_offer, mux_require, mux_demux, mux_accept, mux_reject: of `rtcp-mux`; require goes with offer.
        transport_protocol: what the SDP's m= lines shall say, such as RTP/SAVPF, or `accept`; "" if not told.
        dscp: of the packets sent, 0 to 63; None: the relay's default.
        loop_protect: leave an SDP alone that bears this relay's mark, and mark what is rewritten.
        label: the client's own name for the sender, shown in queries.
    """

    received_from: str = ""
    trust_received: bool = False
    media_address: str = ""
    replace_origin: bool = False
    ice: IceHandling = IceHandling.DEFAULT
    direction: tuple[str, ...] = ()
    family: int = 0
    asymmetric: bool = False
    strict_source: bool = False
    media_handover: bool = False
    port_latching: bool = False
    mux_offer: bool = False
    mux_require: bool = False
    mux_demux: bool = False
    mux_accept: bool = False
    mux_reject: bool = False
    transport_protocol: str = ""
    dscp: int | None = None
    loop_protect: bool = False
    label: str = ""


class Offer(msgspec.Struct, frozen=True, tag="offer"):
    """ng's offer: the sender of `sdp` is `from_tag`; `to_tag` is b"" before the first answer."""

    call_id: bytes
    from_tag: bytes
    to_tag: bytes
    via_branch: bytes
    sdp: bytes
    options: OfferOptions


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """ng's answer: the sender of `sdp` is `to_tag`, who answers the last offer of `from_tag`."""

    call_id: bytes
    from_tag: bytes
    to_tag: bytes
    via_branch: bytes
    sdp: bytes
    options: OfferOptions


class Delete(msgspec.Struct, frozen=True, tag="delete"):
    """ng's delete: without from_tag the whole call; to_tag b"" where the client gave none that counts.

    Arguments:
        delay_s: how long it stays, 0 to 3600: a new offer or answer within that time keeps it.
    """

    call_id: bytes
    from_tag: bytes = b""
    to_tag: bytes = b""
    via_branch: bytes = b""
    delay_s: int = 0


class Query(msgspec.Struct, frozen=True, tag="query"):
    """ng's query: state and counters of a call; if from_tag is given, of that end and its peers."""

    call_id: bytes
    from_tag: bytes = b""


class BlockMedia(msgspec.Struct, frozen=True, tag="block_media"):
    """ng's block media and unblock media: of one end if from_tag is given, else of the call."""

    call_id: bytes
    from_tag: bytes
    blocked: bool


class GetStats(msgspec.Struct, frozen=True, tag="stats"):
    """The counters of the whole relay (what `nh stats --json` prints)."""


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Take no new calls, and end when the last one is gone; repeated, the last limit counts.

    Arguments:
        limit_s: end after so many seconds whatever calls are left, 0 to MAX_DRAIN_S; None: never so.
    """

    limit_s: float | None = None


class Undrain(msgspec.Struct, frozen=True, tag="undrain"):
    """Take new calls again."""


class Upgrade(msgspec.Struct, frozen=True, tag="upgrade"):
    """Go on with the code that is installed now, and the settings as they are now; no call ends.

    Arguments:
        shards: how many shards to go on with, 1 to 256; None: as many as the settings say.
    """

    shards: int | None = None


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Is anybody there?"""


class Extension(msgspec.Struct, frozen=True, tag="extension"):
    """A command that a library user added to a Server's table.

    `arguments` are the plain values behind the name in a Net::SIP request, or one dict with the
    fields of a native request.
    """

    name: str
    arguments: tuple[object, ...] = ()


NgCommand = Offer | Answer | Delete | Query | BlockMedia
"""What ng adds; all of them have a call_id."""

RelayCommand = Allocate | Activate | Close | CloseCall | ListCalls | ShowCall | NgCommand
"""What a shard executes."""

Command = RelayCommand | GetStats | Drain | Undrain | Upgrade | Ping | Extension
"""What a wire codec may decode."""
