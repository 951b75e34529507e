"""Addresses for media: a start needs those that the settings name, so that no call is the first to notice."""

import logging
import socket

from nh.address import socket_family
from nh.calls.interfaces import Interface
from nh.config import Settings
from nh.errors import NotNow
from nh.ip_address import is_ipv6

logger = logging.getLogger(__name__)


def check_addresses(settings: Settings, *, takes_over: bool) -> None:
    """Check that the addresses of all interfaces can be bound.

    An address that can be bound although the host does not have it (net.ipv4.ip_nonlocal_bind) is logged: it
    may be the virtual address of another host.

    Args:
        settings: `address` and `interface` are read.
        takes_over: whether calls of an earlier run go on; then a missing address is logged only, because
            these calls must not end.

    Raises:
        NotNow: the host does not have an address.
    """
    interfaces = settings.interfaces
    own = interfaces[:1] if settings.address else ()
    for interface in {each.address: each for each in interfaces}.values():
        if not _can_bind(interface.address):
            if not takes_over:
                setting = "address" if interface in own else "interface"
                raise NotNow(f"{setting}: {interface.address} is not on this host; {_remedy(interface)}")
            logger.warning(
                "address %s is not on this host: ng calls that need it are refused until it is",
                interface.address,
            )
        elif not is_local(interface.address):
            logger.warning(
                "address %s is not on this host, but can be bound (ip_nonlocal_bind): media that are sent to"
                " it do not arrive until it is",
                interface.address,
            )


def is_local(address: str) -> bool:
    """Whether an interface of this host has the address."""
    from nh.fastpath.netlink.interfaces import has_ipv4_address  # noqa: PLC0415  few need it

    family = socket_family(address)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((address, 9))  # sends nothing; the route to a local address begins at that address
            if str(sock.getsockname()[0]) == address:
                return True
        # in IPv4 the route to a further address of a network begins at the first one
        return family == socket.AF_INET and has_ipv4_address(address)
    except OSError:
        return False


def _remedy(missing: Interface) -> str:
    if missing.advertised != missing.address and is_local(missing.advertised):
        return (
            f"{missing.advertised} is; say {missing.advertised}!{missing.address}, the address of this host"
            " first"
        )
    sysctl = "net.ipv6.ip_nonlocal_bind" if is_ipv6(missing.address) else "net.ipv4.ip_nonlocal_bind"
    return (
        "`ip address` lists those that it has; behind a NAT say OWN!PUBLIC; for a virtual address that comes"
        f" later set {sysctl}=1"
    )


def _can_bind(address: str) -> bool:
    try:
        with socket.socket(socket_family(address), socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True
