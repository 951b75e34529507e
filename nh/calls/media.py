"""Media as SDP describes them, as far as a relay needs it: sides, endpoints and media descriptions.

Pure values: no sockets, no wire formats, no time.
"""

import enum
import re
import sys
from typing import Final

import msgspec

from nh.calls.rtp.payload_types import PayloadFormat
from nh.calls.shared_values import shared
from nh.errors import MalformedRequest
from nh.ip_address import (
    UNSPECIFIED,
    canonical_address,
    canonical_host,
    is_multicast,
    is_reachable,
    is_unicast,
)

MAX_RANGE = 64
"""Most consecutive ports that one medium may ask for (`port/N` of RFC 8866 5.14, times two for RTP)."""

MAX_MEDIA = 64
"""Most media in one allocate; each has at least one socket."""

_PORT: Final = re.compile(r"[0-9]{1,5}")
_MAX_PORT: Final = 65_535


class Side(enum.IntEnum):
    """The end of a transaction that sent an SDP: FROM sent the request, TO sent the response."""

    FROM = 0
    TO = 1

    @property
    def other(self) -> "Side":
        """The opposite side."""
        return Side.TO if self is Side.FROM else Side.FROM


class Block(enum.StrEnum):
    """What of a party is blocked: its media, its DTMF events, or its sound, which silence replaces."""

    MEDIA = "media"
    DTMF = "dtmf"
    SOUND = "sound"


class Endpoint(msgspec.Struct, frozen=True, order=True, gc=False):
    """A transport address: canonical IP address text and UDP port (1 to 65535)."""

    address: str
    port: int

    def __str__(self) -> str:  # host_port(), inlined: a call has a dozen of them written
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Endpoint | None":
        """The endpoint of one host that `text` names as ADDRESS:PORT or [IPV6]:PORT, None for other text."""
        address, _, port = text.rpartition(":")
        bracketed = address[:1] == "[" and address[-1:] == "]"
        if bracketed:
            address = address[1:-1]
        if (":" in address) is not bracketed:
            return None  # the last group of an IPv6 address without brackets would be its port
        if not is_unicast(address) or not _PORT.fullmatch(port) or not 1 <= int(port) <= _MAX_PORT:
            return None
        return cls(canonical_address(address, where="address"), int(port))


class Media(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One `m=` line with its `c=` address, as far as a relay needs it.

    Args:
        address: canonical IP address of the peer, or a host name, which is never resolved: that could block.
        port: the announced port, 0 to 65535; 0 means that the medium is inactive (RFC 3264 6.1).
        range: number of consecutive ports, 1 to MAX_RANGE: 2 for RTP with RTCP, else 1.
        proto: transport of the `m=` line, such as RTP/AVP; "" if unknown.
        kind: media type of the `m=` line, such as audio; "" if unknown.
        rtcp: endpoint for RTCP where that is not the port after RTP (RFC 3605; RFC 5761: the RTP port
            itself).
        signalled_from: IP address that the SIP message came from, "" if unknown.
        paused: that end does not want to receive now, although it gave an address (a=sendonly, a=inactive).
        formats: what its dynamic payload types mean, as far as the client said so.
        handshakes: what comes before the media by the SDP: of "stun", "dtls" and "zrtp". Where no SDP is
            known, all of them, and "udptl": T.38 may come in the place of RTP.
        mute: that end says that it does not send now (a=recvonly, a=inactive).
        payload_types: those of its `m=` line, which this end accepts; () if they are not known.
        ice_ufrag: the user fragment of its ICE, which a restart changes (RFC 8445 9); "" without ICE.
    """

    address: str
    port: int
    range: int
    proto: str = ""
    kind: str = ""
    rtcp: Endpoint | None = None
    signalled_from: str = ""
    paused: bool = False
    formats: tuple[PayloadFormat, ...] = ()
    handshakes: tuple[str, ...] = ()
    mute: bool = False
    payload_types: tuple[int, ...] = ()
    ice_ufrag: str = ""

    @property
    def direction(self) -> str:
        """Its direction from the point of view of its end, as in SDP (RFC 8866 6.7)."""
        if self.paused:
            return "inactive" if self.mute else "sendonly"
        return "recvonly" if self.mute else "sendrecv"

    @property
    def rtp(self) -> bool:
        """Whether it is RTP, secured or not."""
        return "RTP" in self.proto.upper()

    @property
    def active(self) -> bool:
        """Whether the peer wants to receive: not for port 0, 0.0.0.0 and :: (RFC 3264 6.1 and 8.4)."""
        return self.port != 0 and self.address not in UNSPECIFIED

    @property
    def wanted(self) -> bool:
        """Whether the peer wants to receive it now."""
        return self.active and not self.paused

    def endpoint(self, offset: int) -> Endpoint | None:
        """The announced endpoint of one component.

        Args:
            offset: which of the consecutive ports, 0 to range - 1; 1 is RTCP where range is 2.

        Returns:
            None if packets cannot be sent there: for inactive media, a port above 65535, and a host name, an
            address that is not unicast or one of a link that no SDP names; the source is learned instead.
        """
        if not self.active:
            return None
        if offset == 1 and self.rtcp is not None:
            return self.rtcp if is_reachable(self.rtcp.address) else None
        if self.port + offset > 65535 or not is_reachable(self.address):
            return None
        return Endpoint(self.address, self.port + offset if offset else self.port)  # one number for both

    @property
    def multicast(self) -> bool:
        """Whether it, or its RTCP, was announced at a multicast or broadcast address."""
        if not self.active:
            return False
        return is_multicast(self.address) or (self.rtcp is not None and is_multicast(self.rtcp.address))


def interned(media: Media) -> Media:
    """Equal media with shared strings: thousands of calls have the same few."""
    address, proto, kind = sys.intern(media.address), sys.intern(media.proto), sys.intern(media.kind)
    formats, payload_types = shared(media.formats), shared(media.payload_types)
    if (
        (address is media.address and proto is media.proto and kind is media.kind)
        and formats is media.formats
        and payload_types is media.payload_types
    ):
        return media  # as all that come of an SDP
    return msgspec.structs.replace(
        media, address=address, proto=proto, kind=kind, formats=formats, payload_types=payload_types
    )


class RelayMedia(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where the relay listens for one medium: what the proxy writes into the SDP.

    Attributes:
        address: IP address of the relay.
        port: lowest port; 0 for an inactive medium, although its sockets exist (a rule of Net::SIP).
        range: number of consecutive ports.
    """

    address: str
    port: int
    range: int


def make_media(
    *, address: str, port: int, range_: int, proto: str = "", kind: str = "", where: str = "media"
) -> Media:
    """A Media from values that a peer sent.

    Args:
        address, port, range_, proto, kind: see Media.
        where: what is being read, for the error messages.

    Raises:
        MalformedRequest: a value is out of range.
    """
    if not 0 <= port <= 65535:
        raise MalformedRequest(f"{where}: port {port} is not in 0..65535")
    check_range(range_, where=where)
    return Media(canonical_host(address, where=where), port, range_, proto, kind)


def check_range(range_: int, *, where: str) -> None:
    """Check the number of consecutive ports of a medium.

    Raises:
        MalformedRequest: it is not in 1..MAX_RANGE.
    """
    if not 1 <= range_ <= MAX_RANGE:
        raise MalformedRequest(f"{where}: range {range_} is not in 1..{MAX_RANGE}")
