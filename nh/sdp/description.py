"""A parsed SDP: its lines as received, and typed views of its media.

`nh.sdp.parse` builds it, `nh.sdp.rewrite` reads it. Views change no line.
"""

import functools
from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec

from nh.calls.rtp.payload_types import MAX_FORMATS, PayloadFormat, read_rtpmaps
from nh.ice.credentials import MAX_CHARACTERS
from nh.ip_address import UNSPECIFIED
from nh.sdp.fields import MediumField, RtcpField
from nh.sdp.lines import Line
from nh.sdp.section import Attribute, Direction, Section

MARK = "nh"
"""Name of the attribute of nh's loop protection, `a=nh:ID`; rtpengine has one of its own name, too."""

_DISCARD = 9
"""The port of an SDP that tells no address yet."""

_REMEMBERED_BYTES = 512
"""Most bytes of what media say of their formats that are read once only."""


class _Transport(NamedTuple):
    """What a proto says; see the properties of Medium."""

    parts: frozenset[str]
    relayable: bool
    rtp: bool


@functools.lru_cache(maxsize=64)  # asked dozens of times for each offer, and there are hardly ten protos
def _transport_of(proto: str) -> _Transport:
    first, *others = proto.upper().split("/")
    parts = frozenset((first, *others))
    over_udp = first in {"RTP", "UDPTL", "DTLS"} or "UDP" in parts
    relayable = over_udp and "TCP" not in parts and "DCCP" not in parts
    return _Transport(parts, relayable, relayable and "RTP" in parts)


class Medium(Section, frozen=True):
    """One m= line and the lines that belong to it.

    Attributes:
        number: 1 for the first m= line, for error messages.
        field: the parsed m= line.
        rtcp: the parsed a=rtcp (RFC 3605); None without it, if it is malformed, or with port/N.
        session: the session section; its c= and attributes apply where the medium has none.
        kind, proto, port: of the m= line: the media type, such as audio; the transport, such as RTP/AVP; the
            announced port, 0: rejected or bundle-only.
        connection: address of its own c= line or else the session's; None if there is neither.
        rtp: whether it is RTP or SRTP over UDP, which has RTCP.
        relayable: whether it runs over UDP: RTP, SRTP, DTLS, udptl (T.38), and any proto that names UDP. TCP
            (MSRP, BFCP, T.38 over TCP), DCCP and unknown protos do not: the relay leaves these untouched.
        ice: whether its sender uses ICE: it has a user fragment (RFC 8839 5.4).
    """

    number: int
    field: MediumField
    rtcp: RtcpField | None
    session: Section
    # what follows is asked for dozens of times for each SDP
    kind: str
    proto: str
    port: int
    connection: str | None
    rtp: bool
    relayable: bool
    ice: bool

    @classmethod
    def of(
        cls, own: Section, number: int, field: MediumField, rtcp: RtcpField | None, session: Section
    ) -> "Medium":
        """The medium with this section of its own; see the attributes."""
        transport = _transport_of(field.proto)
        connection = own.own_connection
        return cls(
            own.first,
            own.last,
            own.fields,
            own.attributes,
            connection,
            own.bundles,
            number,
            field,
            rtcp,
            session,
            field.kind,
            field.proto,
            field.port,
            connection if connection is not None else session.own_connection,
            transport.rtp,
            transport.relayable,
            "ice-ufrag" in own.attributes or "ice-ufrag" in session.attributes,
        )

    def with_transport_of(self, tagged: "Medium", names: Collection[str]) -> "Medium":
        """The medium at the port of another one, with its attributes of these names in place of its own."""
        own = {name: each for name, each in self.attributes.items() if name not in names}
        shared = {name: each for name, each in tagged.attributes.items() if name in names}
        section = Section(
            self.first, self.last, self.fields, {**own, **shared}, tagged.own_connection, self.bundles
        )
        field = msgspec.structs.replace(self.field, port=tagged.port)
        return Medium.of(section, self.number, field, tagged.rtcp, self.session)

    def applying(self, name: str) -> Sequence[Attribute]:
        """The attributes of a name that apply to it: its own, else the session's; () without any."""
        return self.attributes.get(name, ()) or self.session.attributes.get(name, ())

    @property
    def rejected(self) -> bool:
        """Whether port 0 rejects it (RFC 3264 6), which it does not with a=bundle-only (RFC 9143 6)."""
        return self.port == 0 and "bundle-only" not in self.attributes

    @property
    def fax(self) -> bool:
        """Whether it is T.38 over udptl, also within DTLS (RFC 7345)."""
        return "UDPTL" in _transport_of(self.proto).parts

    @property
    def direction(self) -> Direction:
        """Its own direction attribute, else the session's, else sendrecv."""
        return self.own_direction or self.session.own_direction or Direction.SENDRECV

    @property
    def ice_ufrag(self) -> str:
        """The user fragment of its sender, "" without ICE; it may stand in the session section.

        One that is longer than RFC 8839 5.4 allows is cut: no check has it then.
        """
        if not self.ice:
            return ""
        ufrag = self.find_value("ice-ufrag") or self.session.find_value("ice-ufrag") or ""
        return ufrag[:MAX_CHARACTERS]

    @property
    def ice_lite(self) -> bool:
        """Whether its sender is a lite agent, which sends no checks (RFC 8839 5.3)."""
        return self.session.has("ice-lite") or self.has("ice-lite")

    @property
    def ice_options(self) -> frozenset[str]:
        """Which options of ICE its sender has (RFC 8839 5.6), here or in the session section."""
        found = (*self.attributes.get("ice-options", ()), *self.session.attributes.get("ice-options", ()))
        return frozenset(word for each in found for word in each.value.decode("ascii", "replace").split())

    @property
    def handshakes(self) -> tuple[str, ...]:
        """What its sender sends before the media: "stun" (ICE), "dtls" (RFC 5763), "zrtp" (RFC 6189 8)."""
        parts, own, session = _transport_of(self.proto).parts, self.attributes, self.session.attributes
        secured = "TLS" in parts or "fingerprint" in own or "fingerprint" in session
        zrtp = "zrtp-hash" in own or "zrtp-hash" in session
        if not (secured or zrtp or "DTLS" in parts or self.ice):
            return ()
        found = {"stun": self.ice, "dtls": secured or "DTLS" in parts, "zrtp": zrtp}
        return tuple([name for name, there in found.items() if there])

    @property
    def held(self) -> bool:
        """Whether its c= address, 0.0.0.0 or ::, puts it on hold (RFC 3264 8.4).

        With ICE these addresses and port 9 mean that no address is known yet (RFC 8840 4.1.1). A medium with
        a=bundle-only has no address of its own (RFC 9143 6).
        """
        if self.connection not in UNSPECIFIED or (self.ice and self.port == _DISCARD):
            return False
        return self.port != 0 or self.rejected

    @property
    def rtcp_mux(self) -> bool:
        """Whether it has a=rtcp-mux (RFC 5761): an offer proposes it, an answer accepts it."""
        return "rtcp-mux" in self.attributes or "rtcp-mux-only" in self.attributes

    @property
    def rtcp_mux_only(self) -> bool:
        """Whether its sender accepts RTCP on RTP's port only (RFC 8858)."""
        return self.has("rtcp-mux-only")

    @property
    def formats(self) -> tuple[PayloadFormat, ...]:
        """Formats of its a=rtpmap attributes; none if it is not RTP."""
        if not self.rtp or "rtpmap" not in self.attributes:
            return ()
        text = b"\n".join([attribute.value for attribute in self.attributes["rtpmap"]])
        return _remembered_formats(text) if len(text) <= _REMEMBERED_BYTES else _read_formats(text)

    @property
    def payload_types(self) -> tuple[int, ...]:
        """The payload types of its m= line; none if it is not RTP, or if other media share its port."""
        if not self.rtp:
            return ()
        if "group" in self.session.attributes and any(len(mids) > 1 for mids in self.session.bundles):
            return ()
        text = b" ".join(self.field.formats)
        return _remembered_numbers(text) if len(text) <= _REMEMBERED_BYTES else _read_numbers(text)


def _read_formats(text: bytes) -> tuple[PayloadFormat, ...]:
    """The formats of the values of a=rtpmap attributes, a line each."""
    return read_rtpmaps(text.decode("ascii", "backslashreplace").split("\n"))


def _read_numbers(text: bytes) -> tuple[int, ...]:
    """The payload types among the formats of an m= line, with spaces between them."""
    numbers = [
        number
        for each in text.split(b" ")
        if len(each) <= 3 and each.isdigit() and (number := int(each)) < MAX_FORMATS
    ]
    return tuple(dict.fromkeys(numbers))


# phones of one model say the same with each call
_remembered_formats = functools.lru_cache(maxsize=256)(_read_formats)
_remembered_numbers = functools.lru_cache(maxsize=256)(_read_numbers)


class SessionDescription(msgspec.Struct, frozen=True):
    """A complete SDP.

    Attributes:
        lines: all lines as received, including junk.
        sessions: the sections that begin with v=. RFC 2327 allowed several; RFC 3264 5 wants one.
        origin: address of the first session's o=; None without o=, or if it cannot be read.
        bad_origin: the first o= that cannot be read, "" if there is none.
        media: one for each m= line.
    """

    lines: tuple[Line, ...]
    sessions: tuple[Section, ...]
    origin: str | None
    media: tuple[Medium, ...]
    bad_origin: str = ""

    @property
    def session(self) -> Section:
        """The first session section."""
        return self.sessions[0]

    @property
    def last(self) -> int:
        """Index of the last valid line."""
        return max(section.last for section in (*self.sessions, *self.media))

    @property
    def marks(self) -> frozenset[str]:
        """Ids of the relays that marked it by loop protection (a=nh:ID), in any section."""
        return frozenset(
            attribute.value.decode("ascii", "backslashreplace")
            for section in (*self.sessions, *self.media)
            for attribute in section.attributes.get(MARK, ())
        )

    @property
    def bundles(self) -> tuple[tuple[str, ...], ...]:
        """See Section."""
        return self.session.bundles
