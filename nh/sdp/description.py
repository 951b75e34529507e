"""A parsed SDP: its lines as they came, and typed views of what a relay needs to know of them.

`nh.sdp.parse` builds it, `nh.sdp.rewrite` reads it. A view never changes a line; every section remembers
the indexes of its lines, so that a rewriter finds them again.
"""

import enum
from typing import NamedTuple

import msgspec

from nh.calls.media import Endpoint, Media, canonical_address, is_address, make_media
from nh.calls.rtp.payload_types import PayloadFormat, read_rtpmaps
from nh.errors import MalformedRequest
from nh.sdp.fields import MediumField, RtcpField
from nh.sdp.lines import Line

MARK = "nh"
"""The attribute of nh's loop protection: `a=nh:ID`, as rtpengine has its own of its name."""

UNKNOWN_HOST = "unknown.invalid"
"""The address of a medium that is to be learned: a host name, and nh resolves none (RFC 6761 6.4)."""

UNSPECIFIED = frozenset({"0.0.0.0", "::"})
"""Addresses that say "do not send to me" (RFC 3264 8.4, RFC 6157 3.1)."""


class Direction(enum.StrEnum):
    """Who sends a medium, as seen by the one that sent the SDP (RFC 8866 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


class Attribute(NamedTuple):
    """One a= line: its index among all lines, and what stands behind the colon, b"" if nothing does."""

    line: int
    value: bytes


class Section(msgspec.Struct, frozen=True):
    """The session part of an SDP, or one medium's.

    Arguments:
        first, last: indexes of its first and last line with a meaning; blank lines and junk behind are no
            part of it.
        fields: indexes of its lines by their type's letter, without a= lines.
        attributes: its a= lines by name.
        own_connection: the address of its own c= line; None if it has none.
    """

    first: int
    last: int
    fields: dict[bytes, tuple[int, ...]]
    attributes: dict[str, tuple[Attribute, ...]]
    own_connection: str | None

    def has(self, name: str) -> bool:
        """Whether it has an attribute of its own of that name."""
        return name in self.attributes

    def find_value(self, name: str) -> str | None:
        """What its first attribute of that name says; None if there is none. Other than ASCII is escaped."""
        found = self.attributes.get(name)
        return found[0].value.decode("ascii", "backslashreplace") if found else None

    @property
    def own_direction(self) -> Direction | None:
        """What its own direction attribute says; None if it has none."""
        return next((direction for direction in Direction if direction.value in self.attributes), None)


class Medium(Section, frozen=True):
    """One m= line with everything that belongs to it.

    Arguments:
        number: 1 for the first m= line, for error messages.
        field: what the m= line says.
        rtcp: what a=rtcp says; None without it, with port/N, and if it cannot be read.
        session: the session part, whose c= and attributes hold where the medium has none of its own.
    """

    number: int
    field: MediumField
    rtcp: RtcpField | None
    session: Section

    @property
    def kind(self) -> str:
        """The media type, such as audio."""
        return self.field.kind

    @property
    def proto(self) -> str:
        """The transport, such as RTP/AVP."""
        return self.field.proto

    @property
    def port(self) -> int:
        """The announced port; 0: rejected, or bundle-only."""
        return self.field.port

    @property
    def connection(self) -> str | None:
        """The address that c= announces for it, its own or the session's; None if there is none at all."""
        return self.own_connection if self.own_connection is not None else self.session.own_connection

    @property
    def rtp(self) -> bool:
        """Whether it is RTP over UDP, secured or not, and so has RTCP."""
        return self.relayable and "RTP" in self._proto_parts

    @property
    def relayable(self) -> bool:
        """Whether it goes over UDP: RTP, SRTP, DTLS, T.38's udptl and anything else with UDP in its proto.

        TCP (MSRP, BFCP, T.38 over TCP), DCCP and what is unknown are not: they are to be left untouched.
        """
        parts = self._proto_parts
        if "TCP" in parts or "DCCP" in parts:
            return False
        return parts[0] in {"RTP", "UDPTL", "DTLS"} or "UDP" in parts

    @property
    def rejected(self) -> bool:
        """Whether port 0 turns it down (RFC 3264 6); with a=bundle-only it does not (RFC 9143 6)."""
        return self.port == 0 and not self.has("bundle-only")

    @property
    def direction(self) -> Direction:
        """Its direction attribute, the session's, or sendrecv."""
        return self.own_direction or self.session.own_direction or Direction.SENDRECV

    @property
    def ice(self) -> bool:
        """Whether its sender does ICE for it: there is a user fragment (RFC 8839 5.4)."""
        return self.has("ice-ufrag") or self.session.has("ice-ufrag")

    @property
    def held(self) -> bool:
        """Whether c= puts it on hold in the old way: 0.0.0.0 or ::.

        With ICE these stand for an address that is not known yet (RFC 8840 4.1.1).
        """
        return self.connection in UNSPECIFIED and not self.ice

    @property
    def rtcp_mux(self) -> bool:
        """Whether it may have RTP and RTCP on one port: an offer's wish, an answer's decision (RFC 5761)."""
        return self.has("rtcp-mux") or self.rtcp_mux_only

    @property
    def rtcp_mux_only(self) -> bool:
        """Whether its sender does not do RTCP on a port of its own (RFC 8858)."""
        return self.has("rtcp-mux-only")

    @property
    def formats(self) -> tuple[PayloadFormat, ...]:
        """What a=rtpmap says of its payload types; none for what is no RTP."""
        if not self.rtp:
            return ()
        return read_rtpmaps(
            attribute.value.decode("ascii", "backslashreplace")
            for attribute in self.attributes.get("rtpmap", ())
        )

    def to_media(self, received_from: str | None = None, *, muxed: bool = False) -> Media:
        """The medium as the relay core knows it.

        RTP always counts as pairs of ports, muxed or not: both sides of a session need the same number
        of sockets, whatever the other end will say about rtcp-mux.

        Arguments:
            received_from: the canonical IP address that the SIP message came from, if that and not the
                SDP is to be believed. A medium on hold stays so.
            muxed: whether RTCP shares RTP's port: the SDP is an answer with a=rtcp-mux, or this was agreed
                before. It is taken for granted with a=rtcp-mux-only.

        Raises MalformedRequest without any c= line (and without received_from), unless it was rejected;
        if it has more ports than nh.calls.media.MAX_RANGE; if received_from is no IP address.
        """
        where = f"SDP medium {self.number}"
        if received_from is not None:
            received_from = canonical_address(received_from, where="received-from")
        media = make_media(
            address=self._peer_address(received_from, where),
            port=self.port,
            range_=self.field.count * (2 if self.rtp else 1),
            proto=self.proto,
            kind=self.kind,
            where=where,
        )
        if formats := self.formats:
            media = msgspec.structs.replace(media, formats=formats)
        rtcp = self._rtcp_endpoint(media, received_from, muxed=muxed)
        if rtcp is None or rtcp == media.endpoint(1):
            return media
        return msgspec.structs.replace(media, rtcp=rtcp)

    @property
    def _proto_parts(self) -> list[str]:
        return self.proto.upper().split("/")

    def _peer_address(self, received_from: str | None, where: str) -> str:
        if self.held:
            return "::" if self.connection == "::" else "0.0.0.0"
        if received_from is not None:
            return received_from
        if self.connection in UNSPECIFIED:
            return UNKNOWN_HOST
        if self.connection is not None:
            return self.connection
        if self.rejected:
            return "0.0.0.0"
        raise MalformedRequest(f"{where}: there is no c= line, neither its own nor the session's")

    def _rtcp_endpoint(self, media: Media, received_from: str | None, *, muxed: bool) -> Endpoint | None:
        """Where RTCP is to be sent, as far as that is told other than by default."""
        if not self.rtp or not media.active:
            return None
        if (muxed and self.rtcp_mux) or self.rtcp_mux_only:
            return media.endpoint(0)
        if self.rtcp is None or not self.rtcp.port:
            return None
        told = self.rtcp.address if self.rtcp.address not in UNSPECIFIED else None
        address = received_from or told or media.address
        return Endpoint(address, self.rtcp.port) if is_address(address) else None


class SessionDescription(msgspec.Struct, frozen=True):
    """A whole SDP.

    Arguments:
        lines: every line as it came, junk too.
        session: everything before the first m= line.
        origin: the address of o=; None if there is no o=.
        media: one a m= line.
    """

    lines: tuple[Line, ...]
    session: Section
    origin: str | None
    media: tuple[Medium, ...]

    @property
    def marks(self) -> frozenset[str]:
        """The ids of all relays whose loop protection (a=nh:ID) has marked it, anywhere in it."""
        return frozenset(
            attribute.value.decode("ascii", "backslashreplace")
            for section in (self.session, *self.media)
            for attribute in section.attributes.get(MARK, ())
        )

    @property
    def bundles(self) -> tuple[tuple[str, ...], ...]:
        """The a=mid values of each a=group:BUNDLE; the first one's ports carry all of them (RFC 9143 7)."""
        groups = (
            attribute.value.decode("ascii", "backslashreplace").split()
            for attribute in self.session.attributes.get("group", ())
        )
        return tuple(tuple(mids) for semantics, *mids in filter(None, groups) if semantics == "BUNDLE")
