"""What SDP says about media, as the relay needs it: sides, endpoints and media descriptions.

Pure values; nothing here knows of sockets, wires or time.
"""

import enum
import functools
import ipaddress
import re
import sys

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
"""How many addresses are kept as they were read: one SDP has the same one many times."""

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
# a dot between any two labels leaves one way only to read a name: hostile text must not take time
_HOSTNAME = re.compile(rf"(?=.{{1,253}}\.?\Z){_LABEL}(?:\.{_LABEL})*\.?\Z")


class Side(enum.IntEnum):
    """Which end of a transaction an SDP came from: FROM sent the request, TO sent the response."""

    FROM = 0
    TO = 1

    @property
    def other(self) -> "Side":
        """The opposite side."""
        return Side.TO if self is Side.FROM else Side.FROM


class Endpoint(msgspec.Struct, frozen=True, order=True):
    """A transport address: canonical IP address text and UDP port (1 to 65535)."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Media(msgspec.Struct, frozen=True, omit_defaults=True):
    """One `m=` line with its `c=` address, as far as a relay is concerned.

    Arguments:
        address: canonical IP address, or a host name (never resolved: that could block), of the peer.
        port: the announced port, 0 to 65535; 0 means that the medium is inactive (RFC 3264 6.1).
        range: number of consecutive ports, 1 to MAX_RANGE: 2 for RTP with RTCP, else 1.
        proto: transport of the `m=` line, such as RTP/AVP; "" if not told.
        kind: media type of the `m=` line, such as audio; "" if not told.
        paused: that end does not want to receive for now, though it gave an address (a=sendonly, a=inactive).
        signalled_from: IP address that the SIP message came from, "" if that is not known.
        formats: what its dynamic payload types mean, as far as that was told.
        rtcp: where RTCP is to be sent if that is not the port after RTP's (RFC 3605; RFC 5761: RTP's own).
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

    @property
    def rtp(self) -> bool:
        """Whether it is RTP, secured or not."""
        return "RTP" in self.proto.upper()

    @property
    def active(self) -> bool:
        """Whether the peer wants to receive: not for port 0, 0.0.0.0 and :: (RFC 3264 6.1 and 8.4)."""
        return self.port != 0 and self.address not in ("0.0.0.0", "::")

    @property
    def wanted(self) -> bool:
        """Whether the peer wants to receive it now."""
        return self.active and not self.paused

    def endpoint(self, offset: int) -> Endpoint | None:
        """The announced endpoint of one component, or None if there is none that could be sent to.

        Arguments:
            offset: which of the consecutive ports, 0 to range - 1; 1 is RTCP where range is 2.

        Returns None for inactive media, for a host name or an address that is not one host's (its media are
        learned instead), and for a port beyond 65535.
        """
        if not self.active:
            return None
        if offset == 1 and self.rtcp is not None:
            return self.rtcp if is_unicast(self.rtcp.address) else None
        if self.port + offset > 65535 or not is_unicast(self.address):
            return None
        return Endpoint(self.address, self.port + offset)

    @property
    def to_many(self) -> bool:
        """Whether it was announced at an address of many hosts (multicast, broadcast), RTCP or all of it."""
        told = [self.address] if self.rtcp is None else [self.address, self.rtcp.address]
        return self.active and any(is_address(each) and not is_unicast(each) for each in told)


def interned(media: Media) -> Media:
    """The same, with texts that it shares with all others: thousands of calls say the same few words."""
    return msgspec.structs.replace(
        media,
        address=sys.intern(media.address),
        proto=sys.intern(media.proto),
        kind=sys.intern(media.kind),
        formats=shared(media.formats),
    )


class RelayMedia(msgspec.Struct, frozen=True, array_like=True):
    """Where the relay listens for one medium: what the proxy writes into the SDP.

    `port` is 0 where the medium was inactive, although its sockets exist (Net::SIP's rule).
    """

    address: str
    port: int
    range: int


def is_address(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address (without a scope)."""
    return _find_canonical(text) is not None


def _find_canonical(text: str) -> str | None:
    """The canonical text of an IPv4 or IPv6 address, None if it is none."""
    return _read_address(text) if len(text) <= MAX_ADDRESS_CHARACTERS else None


@functools.lru_cache(maxsize=CACHED_ADDRESSES)
def _read_address(text: str) -> str | None:
    try:
        return None if "%" in text else str(ipaddress.ip_address(text))
    except ValueError:
        return None


@functools.lru_cache(maxsize=CACHED_ADDRESSES)
def is_unicast(text: str) -> bool:
    """Whether `text` is an IP address that one host may have: packets sent to any other would multiply.

    Not so for multicast and broadcast addresses, and 0.0.0.0 and ::, which mean any host or this one. A
    network's own broadcast address cannot be told from a host's: the kernel refuses to send there.
    """
    if not is_address(text):
        return False
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    real = mapped or address
    return not (real.is_multicast or real.is_unspecified or str(real) == "255.255.255.255")


def canonical_address(text: str, *, where: str) -> str:
    """`text` as canonical IP address text.

    Arguments:
        text: an IPv4 or IPv6 address.
        where: what is being read, for the error message.

    Raises MalformedRequest if it is no IP address.
    """
    canonical = _find_canonical(text)
    if canonical is None:
        raise MalformedRequest(f"{where}: {text[:64]!r} is not an IPv4 or IPv6 address")
    return canonical


def canonical_host(text: str, *, where: str) -> str:
    """`text` as a canonical IP address or, unchanged, a host name (RFC 4566 5.7 allows both in `c=`).

    Raises MalformedRequest if it can be neither; an all-numeric last label is a mistyped address.
    """
    canonical = _find_canonical(text)
    if canonical is not None:
        return canonical
    if not _HOSTNAME.match(text) or text.rstrip(".").rsplit(".", 1)[-1].isdigit():
        raise MalformedRequest(f"{where}: {text[:64]!r} is neither an IP address nor a host name")
    return text


def make_media(
    *, address: str, port: int, range_: int, proto: str = "", kind: str = "", where: str = "media"
) -> Media:
    """A Media from values that a peer sent.

    Arguments:
        address, port, range_, proto, kind: see Media.
        where: what is being read, for the error messages.

    Raises MalformedRequest for anything out of range.
    """
    if not 0 <= port <= 65535:
        raise MalformedRequest(f"{where}: port {port} is not in 0..65535")
    if not 1 <= range_ <= MAX_RANGE:
        raise MalformedRequest(f"{where}: range {range_} is not in 1..{MAX_RANGE}")
    return Media(canonical_host(address, where=where), port, range_, proto, kind)
