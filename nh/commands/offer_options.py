"""What a client of ng wants of the relay with an offer or an answer, beside the SDP itself."""

import enum
from typing import Final

import msgspec

from nh.calls.media import Endpoint
from nh.commands.sdp_text import PLAIN_TEXT, SdpText


class IceHandling(enum.StrEnum):
    """The value of ng's key `ICE`; nh.shard.ng.ice has what it comes to.

    DEFAULT: the receiver has ICE if the sender has.
    REMOVE: the receiver sees no ICE, whether the sender has it or not.
    FORCE: the receiver has ICE, whether the sender has it or not, with the relay as the only candidate.
    OPTIONAL: the same, but the peer's candidates stay beside the relay's.
    FORCE_RELAY: if the sender has ICE, its media stay where they are, and the relay is a candidate beside its
        own, in place of other relays.
    """

    DEFAULT = "default"
    REMOVE = "remove"
    FORCE = "force"
    OPTIONAL = "optional"
    FORCE_RELAY = "force-relay"


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
    ICE: full ICE, which sends checks, and candidates of TURN.
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


class SdesOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """How keys of SRTP are in the SDP (SDES, RFC 4568), where one side of a call has SRTP.

    Attributes:
        off: none are: one side cannot have SRTP then.
        only: names of the crypto suites that are offered and taken; () for all.
        excluded: names of those that are not.
        order: names of those that come first.
        pad: write base64 with its padding.
        lifetime: write the lifetime of keys.
        prefer: they are taken where an offer has DTLS, too.
        offerer_order: names of the suites that are taken first of an offer.
        no_new: the relay offers no new keys, and takes those of all suites.
    """

    off: bool = False
    only: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    pad: bool = False
    lifetime: bool = False
    prefer: bool = False
    offerer_order: tuple[str, ...] = ()
    no_new: bool = False

    def permits(self, suite: str) -> bool:
        """Whether a suite may be offered and taken; `only` comes before `excluded`, as in rtpengine."""
        if self.no_new:
            return True
        return suite in self.only if self.only else suite not in self.excluded


class DtlsOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """How DTLS agrees on keys of SRTP, where one side of a call has SRTP.

    Attributes:
        off: it is not offered, and not taken where there are keys in the SDP, too.
        active: whether the relay begins, where an end leaves it the choice; None: the client does not say.
        algorithm: of the fingerprints that the relay writes, as SDP has it; "": that of the end, or SHA-256.
        no_tls_id: the relay writes no a=tls-id.
    """

    off: bool = False
    active: bool | None = None
    algorithm: str = ""
    no_tls_id: bool = False


DEFAULT_SDES: Final = SdesOptions()
DEFAULT_DTLS: Final = DtlsOptions()


class BundleOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What becomes of bundles (BUNDLE, RFC 9143), in rtpengine's words.

    Attributes:
        accept: one that the sender offers ends at the relay; the other end does not see it.
        offer: the relay offers the media to the other end in one bundle.
        require: the same, with one port for all media already in the offer; implies `offer`.
        strict: the same, with port 0 for all media but the first (a=bundle-only); implies `require`.
        reject: bundles that were agreed on before end.
    """

    accept: bool = False
    offer: bool = False
    require: bool = False
    strict: bool = False
    reject: bool = False


DEFAULT_BUNDLE: Final = BundleOptions()


class CodecChoice(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which codecs of an SDP its receiver sees (ng's `codec`, nh.sdp.codecs), in rtpengine's words.

    Names are as in a=rtpmap, also with clock rate and channels, or payload types.

    Attributes:
        strip: those that it does not see; `all` or `full` for all of them.
        mask: the same, of offers only.
        keep: those that `all` and `full` do not concern (`except`).
        offer: those that come back, in this order.
        transcode: what `offer` has, and what the receiver can do: in an offer of other codecs only, the relay
            would have to transcode.
        single: the receiver of an answer sees the first codec only.
        reject_empty: a medium of which nothing is left is rejected; else it keeps its codecs.
    """

    strip: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    offer: tuple[str, ...] = ()
    transcode: tuple[str, ...] = ()
    single: bool = False
    reject_empty: bool = False


EVERY_CODEC: Final = CodecChoice()
"""All, as they come."""


class OfferOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The options of an ng offer or answer that nh implements (docs/reference/ng.md).

    Attributes:
        received_from: IP address that the SIP message came from, "" if unknown; sources are ranked by it.
        trust_received: announce that address to the core instead of the SDP's (SIP-source-address).
        media_address: IP address to write into the SDP instead of the interface's, "" for none.
        replace_origin: rewrite the o= line, too.
        ice: see IceHandling.
        reject_ice: the sender is answered without ICE.
        trickle, ice2: what a=ice-options says of the relay's ICE (RFC 8838, RFC 8445 10).
        fragment: the SDP has nothing but further candidates of the sender (RFC 8840).
        direction: names of the interfaces towards the sender and towards the receiver; "" for one that is not
            given, as one that is missing.
        family: IP version on the side that the SDP goes to, 4 or 6; 0: that of the SDP.
        learning: how the sender's address is learned from its packets; None: as the setting `policy` says.
        asymmetric: as learning OFF, whatever `learning` is.
        strict_source: drop packets from other sources than the learned one, or if none is learned, the SDP's.
        media_handover: another source may take over at any time, unless strict_source.
        port_latching: whether the relay's ports stay although the peer's changed; None: with ICE, and for
            media that the peer does not receive.
        mux_offer, mux_require, mux_demux, mux_accept, mux_reject: of `rtcp-mux`; require implies offer.
        transport_protocol: protocol for the m= lines, such as RTP/SAVPF, or `accept`; "" if not given.
        sdes, dtls: see SdesOptions and DtlsOptions.
        osrtp_offer: plain RTP is offered with keys, which its receiver may take (OSRTP, RFC 8643).
        osrtp_accept: an answer without keys to such an offer is completed: the offerer has SRTP with the
            relay.
        osrtp_accept_twice: of media that an offer has twice, as plain RTP and SRTP, its receiver sees one.
        osrtp_offer_twice: media that would be SRTP are offered twice, as plain RTP and SRTP.
        bundle: see BundleOptions.
        dscp: DSCP of the packets sent, 0 to 63; None: the relay's default.
        keeps_dscp: in its place that which the sender's media have, if they have one.
        loop_protect: leave an SDP alone that has this relay's mark, and mark the SDPs it rewrites.
        label: the client's own name for the sender, shown in queries.
        lenient: features that are left out, with a warning, where they would fail the request otherwise.
        text: what else is to be changed in the text of the SDP.
        timeout_callback: IP address of xmlrpc-callback, "" if not given (nh.calls.timeouts).
        dtmf_target: where telephone events of the call go, by dtmf-log-dest; None if not given.
        escaped: whether the reply has the SDP as a string of JSON, where some of its bytes take more room.
        codecs: which codecs of the SDP the receiver sees.
        recrypt: SRTP ends at the relay on both sides, where it would pass through.
        block_dtmf: as the command block DTMF of the sender.
    """

    received_from: str = ""
    trust_received: bool = False
    media_address: str = ""
    replace_origin: bool = False
    ice: IceHandling = IceHandling.DEFAULT
    reject_ice: bool = False
    trickle: bool = False
    ice2: bool = False
    fragment: bool = False
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
    sdes: SdesOptions = DEFAULT_SDES
    bundle: BundleOptions = DEFAULT_BUNDLE
    dtls: DtlsOptions = DEFAULT_DTLS
    dscp: int | None = None
    loop_protect: bool = False
    label: str = ""
    lenient: frozenset[Feature] = frozenset()
    text: SdpText = PLAIN_TEXT
    timeout_callback: str = ""
    dtmf_target: Endpoint | None = None
    escaped: bool = False
    osrtp_offer: bool = False
    osrtp_accept: bool = False
    osrtp_accept_twice: bool = False
    osrtp_offer_twice: bool = False
    codecs: CodecChoice = EVERY_CODEC
    recrypt: bool = False
    block_dtmf: bool = False
    keeps_dscp: bool = False
