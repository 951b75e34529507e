"""Single lines of SDP: parsing and changing o=, c=, m= and a=rtcp.

Each `read_` function parses a line; each `write_` function changes one value and keeps all other bytes: white
space, letter case, and whatever follows. A line that has the value already is returned as it is.

Peers write more than RFC 8866 allows: runs of spaces and tabs, trailing spaces, user names with spaces in o=,
small letters in IN IP4. All of these are accepted. The patterns are possessive, so a hostile line of 60 kB is
scanned once.
"""

import functools
import re
import sys
from collections.abc import Sequence

import msgspec

from nh.calls.media import MAX_RANGE
from nh.errors import MalformedRequest
from nh.ip_address import canonical_host, is_ipv6

_SHORT = 64
"""Longest line that is remembered, in bytes."""

MAX_TOKEN_BYTES = 64
"""Longest media type, and longest proto, of an m= line."""

_HOST = rb"IN[ \t]++(?P<type>IP[46])[ \t]++(?P<address>[^ \t]++)"
_ORIGIN = re.compile(rb"o=(?P<fields>(?:.*[ \t])?)" + _HOST + rb"[ \t]*+\Z", re.IGNORECASE)
_CONNECTION = re.compile(rb"c=[ \t]*+" + _HOST, re.IGNORECASE)
_MEDIUM = re.compile(
    rb"m=[ \t]*+(?P<kind>[!-~]++)[ \t]++(?P<port>\d++)(?:/(?P<count>\d++))?[ \t]++"
    rb"(?P<proto>[!-~]++)(?P<formats>(?:[ \t].*)?)\Z",
    re.DOTALL,
)
_RTCP = re.compile(
    rb"a=[ \t]*+rtcp:[ \t]*+(?P<port>\d{1,5})(?!\d)(?:[ \t]++" + _HOST + rb")?",
    re.IGNORECASE,
)


class MediumField(msgspec.Struct, frozen=True):
    """A parsed m= line.

    Attributes:
        kind: media type, such as audio.
        port: 0 to 65535; 0: rejected or, with a=bundle-only, carried by another medium.
        count: number of ports (`port/N`), 1 to MAX_RANGE; for RTP, number of pairs.
        proto: transport protocol as written, such as RTP/AVP.
        formats: payload types, or the formats of another proto.
    """

    kind: str
    port: int
    count: int
    proto: str
    formats: tuple[bytes, ...]


class RtcpField(msgspec.Struct, frozen=True):
    """A parsed a=rtcp (RFC 3605): a port, 0 to 65535, and an address, None for that of c=."""

    port: int
    address: str | None


def read_origin(text: bytes) -> str:
    """The address of an o= line, in canonical form if it is an IP address.

    Raises:
        MalformedRequest: the line does not end with network type, address type and address.
    """
    match = _ORIGIN.match(text)
    if match is None:
        raise MalformedRequest("o= does not end with IN IP4 ADDRESS or IN IP6 ADDRESS")
    return _canonical(match) or match["address"].decode("ascii", "replace")


def write_origin(text: bytes, address: str) -> bytes:
    """The o= line with another address."""
    match = _ORIGIN.match(text)
    return text if match is None else _with_host(text, match, address)


def read_origin_fields(text: bytes) -> tuple[bytes, bytes, bytes] | None:
    """User name, session id and version of an o= line; None if it cannot be read.

    The user name may have spaces. What is missing is `-` or 0.
    """
    match = _ORIGIN.match(text)
    if match is None:
        return None
    found: list[bytes] = match["fields"].rsplit(maxsplit=2)
    username, session_id, version = (*found, *(b"-", b"0", b"0")[len(found) :])
    return username.strip(), session_id, version


def write_origin_fields(text: bytes, username: bytes, session_id: bytes, version: bytes) -> bytes:
    """The o= line with another user name, session id and version."""
    match = _ORIGIN.match(text)
    if match is None or read_origin_fields(text) == (username, session_id, version):
        return text
    return b"o=%b %b %b %b" % (username, session_id, version, text[match.end("fields") :])


def read_connection(text: bytes) -> str:
    """The address of a c= line, without TTL and number of multicast addresses: an IP address or a host name.

    Raises:
        MalformedRequest: it is neither.
    """
    return _read_short_connection(text) if len(text) <= _SHORT else _read_connection(text)


@functools.lru_cache(maxsize=256)  # gateways and proxies have the same few
def _read_short_connection(text: bytes) -> str:
    return sys.intern(_read_connection(text))


def _read_connection(text: bytes) -> str:
    match = _CONNECTION.match(text)
    if match is None:
        raise MalformedRequest("c= is not IN IP4 ADDRESS or IN IP6 ADDRESS")
    return canonical_host(_address(match), where="c=")


def write_connection(text: bytes, address: str) -> bytes:
    """The c= line with another address, without the TTL of a multicast address."""
    match = _CONNECTION.match(text)
    return make_connection(address) if match is None else _with_host(text, match, address)


def make_connection(address: str) -> bytes:
    """A new c= line."""
    return b"c=IN %b %b" % (_address_type(address), address.encode())


def read_medium(text: bytes) -> MediumField:
    """Parse an m= line.

    Raises:
        MalformedRequest: it is malformed, or a number is out of range.
    """
    match = _MEDIUM.match(text)
    if match is None:
        raise MalformedRequest("m= is not MEDIA PORT PROTO FORMATS")
    kind, port, count, proto, formats = match.groups()
    if len(kind) > MAX_TOKEN_BYTES or len(proto) > MAX_TOKEN_BYTES:
        raise MalformedRequest(f"m= has a media type or proto longer than {MAX_TOKEN_BYTES} bytes")
    return MediumField(
        sys.intern(kind.decode()),
        _number(port, 0, 65535, "port"),
        1 if count is None else _number(count, 1, MAX_RANGE, "number of ports"),
        sys.intern(proto.decode()),
        tuple(formats.split()),
    )


def write_medium_port(text: bytes, port: int) -> bytes:
    """The m= line with another port; the number of ports stays."""
    match = _MEDIUM.match(text)
    return text if match is None else _with_port(text, match, port)


def write_medium_proto(text: bytes, proto: str) -> bytes:
    """The m= line with another transport protocol."""
    match = _MEDIUM.match(text)
    if match is None:
        return text
    return text[: match.start("proto")] + proto.encode() + text[match.end("proto") :]


def write_medium_formats(text: bytes, formats: Sequence[bytes]) -> bytes:
    """The m= line with other formats."""
    match = _MEDIUM.match(text)
    if match is None:
        return text
    return b" ".join((text[: match.start("formats")], *formats))


def find_rtcp(text: bytes) -> RtcpField | None:
    """Parse an a=rtcp line; None if it is malformed, so that RTCP has its default port."""
    match = _RTCP.match(text)
    if match is None or int(match["port"]) > 65535:
        return None
    return RtcpField(int(match["port"]), _canonical(match) if match["address"] else None)


def write_rtcp(text: bytes, port: int, address: str) -> bytes:
    """The a=rtcp line with another port and, if it has an address, another address."""
    match = _RTCP.match(text)
    if match is None:
        return make_rtcp(port)
    # the address first: it follows the port, whose position in the match stays valid
    return _with_port(_with_host(text, match, address) if match["address"] else text, match, port)


def make_rtcp(port: int, address: str | None = None) -> bytes:
    """A new a=rtcp line; without an `address` that of c= applies."""
    if address is None:
        return b"a=rtcp:%d" % port
    return b"a=rtcp:%d IN %b %b" % (port, _address_type(address), address.encode())


def _address(match: re.Match[bytes]) -> str:
    address = match["address"].partition(b"/")[0].decode("ascii", "replace")
    # some peers write an IPv6 address as in a URI
    return address[1:-1] if address.startswith("[") and address.endswith("]") else address


def _canonical(match: re.Match[bytes]) -> str | None:
    try:
        return canonical_host(_address(match), where="")
    except MalformedRequest:
        return None


def _address_type(address: str) -> bytes:
    return b"IP6" if is_ipv6(address) else b"IP4"


def _with_host(text: bytes, match: re.Match[bytes], address: str) -> bytes:
    if _has_host(match, address):
        return text
    return b"".join(
        (
            text[: match.start("type")],
            _address_type(address),
            text[match.end("type") : match.start("address")],
            address.encode(),
            text[match.end("address") :],
        )
    )


def _has_host(match: re.Match[bytes], address: str) -> bool:
    if ":" not in address:  # there is one way to write an IPv4 address
        return bool(match["address"].partition(b"/")[0] == address.encode())
    return _canonical(match) == address and not match["address"].startswith(b"[")


def _with_port(text: bytes, match: re.Match[bytes], port: int) -> bytes:
    if match["port"].lstrip(b"0") == (b"%d" % port).lstrip(b"0"):
        return text
    return text[: match.start("port")] + b"%d" % port + text[match.end("port") :]


def _number(digits: bytes, least: int, most: int, what: str) -> int:
    # int() raises ValueError for thousands of digits; ten, with leading zeros, are enough
    if len(digits) > 10 or not least <= int(digits) <= most:
        raise MalformedRequest(f"m= has a {what} out of range {least}..{most}")
    return int(digits)
