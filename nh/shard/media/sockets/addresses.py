"""Endpoints as the socket calls have them: a link-local IPv6 address has its interface beside it.

In an Endpoint the interface is the zone of the address (RFC 4007 11), such as fe80::1%eth0.
"""

import socket
from typing import Any

from nh.address import socket_family
from nh.calls.media import Endpoint

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


def family_of(endpoint: Endpoint) -> socket.AddressFamily:
    """The address family of its socket."""
    return socket_family(endpoint.address)


def socket_address(endpoint: Endpoint) -> SocketAddress:
    """An endpoint for sendto(2) and connect(2)."""
    address, percent, zone = endpoint.address.partition("%")
    if not percent:
        return endpoint.address, endpoint.port
    try:
        ifindex = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
    except OSError:  # the interface is gone, and the kernel refuses what is sent there
        ifindex = 0
    return address, endpoint.port, 0, ifindex


def received_address(endpoint: Endpoint) -> SocketAddress:
    """The same as recvfrom(2) has it: IPv6 always has a flow and a scope."""
    address = socket_address(endpoint)
    return address if len(address) == 4 or ":" not in address[0] else (*address, 0, 0)


def endpoint_of(address: tuple[Any, ...]) -> Endpoint:
    """The endpoint that a packet came from, as recvfrom(2) has it."""
    if len(address) < 4 or not address[3]:
        return Endpoint(address[0], address[1])
    try:
        zone = socket.if_indextoname(address[3])
    except OSError:  # the interface is gone
        zone = str(address[3])
    return Endpoint(f"{address[0]}%{zone}", address[1])
