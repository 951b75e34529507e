"""IP addresses: how they are written, of which family they are, and to which of them a relay may send media.

Pure functions on text: no sockets, no names are resolved.
"""

import functools
import ipaddress
import re
from collections.abc import Callable
from typing import Final, Literal

from nh.errors import MalformedRequest

MAX_ADDRESS_CHARACTERS: Final = 45
"""Longest text of an address: an IPv4 address mapped to IPv6, with all its zeros."""

MAX_ZONED_CHARACTERS: Final = MAX_ADDRESS_CHARACTERS + 16
"""The same of one with its zone: Linux names an interface with 15 characters at most."""

CACHED_ADDRESSES: Final = 4096
"""Size of the cache of parsed addresses: one SDP has the same address many times."""

_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
# labels are separated by dots, so the expression matches in one way only: hostile text takes no time
_HOSTNAME: Final = re.compile(rf"(?=.{{1,253}}\.?\Z){_LABEL}(?:\.{_LABEL})*\.?\Z")

UNSPECIFIED: Final = frozenset({"0.0.0.0", "::"})
"""Addresses that name no host; in an SDP they put a medium on hold (RFC 3264 8.4, RFC 6157 3.1)."""

LINK_LOCAL: Final = (
    "is a link-local address: no SDP can say to which link it belongs; use a global or unique local address"
)
"""Why no address of the relay is link-local."""


def is_ipv6(address: str) -> bool:
    """Whether an IP address, with or without a zone, is of IPv6: only these have colons."""
    return ":" in address


def ip_version(address: str) -> Literal[4, 6]:
    """The family of an IP address: 4 or 6."""
    return 6 if ":" in address else 4


def host_port(host: str, port: int | str) -> str:
    """`HOST:PORT`, with an IPv6 address in brackets (RFC 3986 3.2.2).

    Args:
        host: an IP address, with or without a zone, or a name.
        port: the port.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_host_port(text: str) -> tuple[str, str]:
    """The host and the port of what host_port() writes, unchecked; the host is "" without a colon."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), port


def is_address(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address (without a scope)."""
    return _find_canonical(text) is not None


def _find_canonical(text: str) -> str | None:
    """The canonical text of an address, that of IPv4 where it is mapped to IPv6; None for any other text."""
    return _read_address(text) if len(text) <= MAX_ADDRESS_CHARACTERS else None


@functools.lru_cache(maxsize=CACHED_ADDRESSES)
def _read_address(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    # its host is in IPv4 (RFC 4291 2.5.5.2): no socket with an IPv6 address reaches it
    return None if address.scope_id else str(address.ipv4_mapped or address)


def _remembered(tell: Callable[[str], bool]) -> Callable[[str], bool]:
    """A predicate that knows its latest answers. Text that is too long for an address is none, and not kept:
    peers send text of any length, which must not fill the memory."""
    known = functools.lru_cache(maxsize=CACHED_ADDRESSES)(tell)

    @functools.wraps(tell)
    def ask(text: str) -> bool:
        return len(text) <= MAX_ZONED_CHARACTERS and known(text)

    return ask


@_remembered
def is_unicast(text: str) -> bool:
    """Whether `text` is an IP address of one host.

    Packets to a multicast or broadcast address would multiply; 0.0.0.0 and :: are no addresses to send to.
    The broadcast address of a network looks like that of a host; the kernel refuses to send there.
    """
    canonical = _find_canonical(text)
    if canonical is None:
        return False
    address = ipaddress.ip_address(canonical)
    return not (address.is_multicast or address.is_unspecified or canonical == "255.255.255.255")


@_remembered
def is_link_local(text: str) -> bool:
    """Whether `text` is an IPv6 address of one link (fe80::/10), with or without its zone (RFC 4007).

    Text of more than MAX_ZONED_CHARACTERS is no address: a zone is the name of an interface of Linux.
    """
    canonical = _find_canonical(text.partition("%")[0])
    if canonical is None:
        return False
    address = ipaddress.ip_address(canonical)
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


@_remembered
def is_private(text: str) -> bool:
    """Whether `text` is an IP address that a NAT may stand before, so that packets come from another one."""
    canonical = _find_canonical(text)
    if canonical is None:
        return False
    address = ipaddress.ip_address(canonical)
    return any(address in network for network in _PRIVATE)


def is_multicast(text: str) -> bool:
    """Whether packets that are sent there would multiply."""
    return not is_unicast(text) and is_address(text)


@_remembered
def is_reachable(text: str) -> bool:
    """Whether packets can be sent to an announced address: a link-local one does not say by which link."""
    return is_unicast(text) and not is_link_local(text)


def canonical_address(text: str, *, where: str) -> str:
    """`text` as canonical IP address text; an IPv4 address that is mapped to IPv6 is an IPv4 address.

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
    """`text` as a canonical IP address or, unchanged, a host name (RFC 8866 5.7 allows both in `c=`).

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
        raise MalformedRequest(f"{where}: {text[:64]!r} has a zone, which no SDP may have (RFC 8866 9)")
    if not _HOSTNAME.match(text) or text.rstrip(".").rsplit(".", 1)[-1].isdigit():
        raise MalformedRequest(f"{where}: {text[:64]!r} is neither an IP address nor a host name")
    return text
