"""Media as SDP describes them, as far as a relay needs it: sides, endpoints and media descriptions.

Pure values: no sockets, no wire formats, no time.
"""

import enum
import functools
import ipaddress
import re
import sys
from typing import Final

import msgspec

from nh.calls.rtp.payload_types import PayloadFormat, shared
from nh.errors import MalformedRequest

MAX_RANGE = 64
"""Most consecutive ports that one medium may ask for (`port/N` of RFC 4566 5.14, times two for RTP)."""

MAX_MEDIA = 64
"""Most media in one allocate; each has at least one socket."""

MAX_ADDRESS_CHARACTERS = 45
"""Longest text of an address: an IPv4 address mapped to IPv6, with all its zeros."""

CACHED_ADDRESSES = 4096
"""Size of the cache of parsed addresses: one SDP has the same address many times."""

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
# labels are separated by dots, so the expression matches in one way only: hostile text takes no time
_HOSTNAME = re.compile(rf"(?=.{{1,253}}\.?\Z){_LABEL}(?:\.{_LABEL})*\.?\Z")


UNSPECIFIED = frozenset({"0.0.0.0", "::"})
"""Addresses that name no host; in an SDP they put a medium on hold (RFC 3264 8.4, RFC 6157 3.1)."""


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

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


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
            return self.rtcp if _is_reachable(self.rtcp.address) else None
        if self.port + offset > 65535 or not _is_reachable(self.address):
            return None
        return Endpoint(self.address, self.port + offset if offset else self.port)  # one number for both

    @property
    def multicast(self) -> bool:
        """Whether it, or its RTCP, was announced at a multicast or broadcast address."""
        if not self.active:
            return False
        return _is_multicast(self.address) or (self.rtcp is not None and _is_multicast(self.rtcp.address))


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


LINK_LOCAL: Final = (
    "is a link-local address: no SDP can say to which link it belongs; use a global or unique local address"
)
"""Why no address of the relay is link-local."""


def is_address(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address (without a scope)."""
    return _find_canonical(text) is not None


def _find_canonical(text: str) -> str | None:
    """The canonical text of an IPv4 or IPv6 address, None for any other text."""
    return _read_address(text) if len(text) <= MAX_ADDRESS_CHARACTERS else None


@functools.lru_cache(maxsize=CACHED_ADDRESSES)
def _read_address(text: str) -> str | None:
    try:
        return None if "%" in text else str(ipaddress.ip_address(text))
    except ValueError:
        return None


@functools.lru_cache(maxsize=CACHED_ADDRESSES)
def is_unicast(text: str) -> bool:
    """Whether `text` is an IP address of one host.

    Packets to a multicast or broadcast address would multiply; 0.0.0.0 and :: are no addresses to send to.
    The broadcast address of a network looks like that of a host; the kernel refuses to send there.
    """
    if not is_address(text):
        return False
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    real = mapped or address
    return not (real.is_multicast or real.is_unspecified or str(real) == "255.255.255.255")


@functools.lru_cache(maxsize=CACHED_ADDRESSES)
def is_link_local(text: str) -> bool:
    """Whether `text` is an IPv6 address of one link (fe80::/10), with or without its zone (RFC 4007)."""
    bare = text.partition("%")[0]
    if not is_address(bare):
        return False
    address = ipaddress.ip_address(bare)
    return address.version == 6 and address.is_link_local


_PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
        "fe80::/10",
    )
)
"""Addresses of many networks (RFC 1918, 6598, 3927, 4193, 4291): a NAT may stand before them."""


@functools.lru_cache(maxsize=CACHED_ADDRESSES)
def is_private(text: str) -> bool:
    """Whether `text` is an IP address that a NAT may stand before, so that packets come from another one."""
    if not is_address(text):
        return False
    address = ipaddress.ip_address(text)
    return any(address in network for network in _PRIVATE)


def _is_multicast(text: str) -> bool:
    """Whether packets that are sent there would multiply."""
    return not is_unicast(text) and is_address(text)


@functools.lru_cache(maxsize=CACHED_ADDRESSES)
def _is_reachable(text: str) -> bool:
    """Whether packets can be sent to an announced address: a link-local one does not say by which link."""
    return is_unicast(text) and not is_link_local(text)


def canonical_address(text: str, *, where: str) -> str:
    """`text` as canonical IP address text.

    Args:
        text: an IPv4 or IPv6 address.
        where: what is being read, for the error message.

    Raises:
        MalformedRequest: it is no IP address.
    """
    canonical = _find_canonical(text)
    if canonical is None and is_link_local(text):
        raise MalformedRequest(f"{where}: {text[:64]!r} {LINK_LOCAL}")
    if canonical is None:
        raise MalformedRequest(f"{where}: {text[:64]!r} is not an IPv4 or IPv6 address")
    return canonical


def canonical_host(text: str, *, where: str) -> str:
    """`text` as a canonical IP address or, unchanged, a host name (RFC 4566 5.7 allows both in `c=`).

    Args:
        text: the address or host name.
        where: what is being read, for the error message.

    Raises:
        MalformedRequest: it is neither. A host name with a numeric last label is a mistyped address.
    """
    canonical = _find_canonical(text)
    if canonical is not None:
        return canonical
    if is_link_local(text):
        raise MalformedRequest(f"{where}: {text[:64]!r} has a zone, which no SDP may have (RFC 4566 9)")
    if not _HOSTNAME.match(text) or text.rstrip(".").rsplit(".", 1)[-1].isdigit():
        raise MalformedRequest(f"{where}: {text[:64]!r} is neither an IP address nor a host name")
    return text


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
