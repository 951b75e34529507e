"""Which network interfaces carry media, and how they come and go.

Read over netlink, because /sys shows the network namespace in which it was mounted, not that of the process.
MediaInterfaces has the rule. The module does not know what the interfaces are used for.
"""

import logging
import socket
import struct
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from nh.fastpath.netlink.events import Events
from nh.fastpath.netlink.messages import attribute, attributes, dump, messages
from nh.logs.throttle import FaultLog
from nh.loop import Loop, Timer
from nh.reasons import reason

logger = logging.getLogger(__name__)

ETHERNET, LOOPBACK = 1, 772
"""ARPHRD_ETHER and ARPHRD_LOOPBACK (linux/if_arp.h): devices whose packets begin with an Ethernet header."""

NEW_LINK, DELETE_LINK, GET_LINK, GET_ADDRESS = 16, 17, 18, 22
GROUP_LINK, GROUP_IPV4_ADDRESS, GROUP_IPV6_ADDRESS = 1, 5, 9

_LINK = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, type of hardware, index, flags, change."""

_ADDRESS = struct.Struct("=BBBBi")
"""struct ifaddrmsg: family, prefix length, flags, scope, index."""

_UP = 0x1
_NAME, _MTU, _LINK_INFO, _EXTENSIONS = 3, 4, 18, 29
_PORT_OF = 4  # IFLA_INFO_SLAVE_KIND
_LOCAL = 2  # IFA_LOCAL
_SKIP_STATISTICS = attribute(_EXTENSIONS, struct.pack("=I", 1 << 3))

RETRY_S = 1.0

LOG_INTERVAL_S: Final = 60.0
"""Least time between two log lines about one reason why the interfaces cannot be listed."""


class NetworkInterface(NamedTuple):
    """A network interface: index, name and MTU in bytes."""

    ifindex: int
    name: str
    mtu_bytes: int


OnChange = Callable[[list[NetworkInterface], list[NetworkInterface]], None]
"""Called with the interfaces that came and those that went."""


class _Link(NamedTuple):
    interface: NetworkInterface
    hardware: int
    up: bool
    port: bool


class MediaInterfaces:
    """The interfaces that carry media, in the network namespace of the calling thread.

    Args:
        names: only these, whether or not they have addresses; those that do not exist are waited for.
            If empty: all that have an IP address and are not a port of something else.

    An interface has to be up and of type Ethernet or loopback. Bridges, bonds, teams and VLAN devices have
    the addresses and count; ports do not, though they often have a link-local address. Members of a VRF have
    addresses of their own and count.
    """

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = frozenset(names)
        self._told: set[str] = set()

    def scan(self) -> list[NetworkInterface]:
        """Those that carry media now, by index. Raises OSError if the kernel cannot be asked."""
        addressed = set() if self._names else _interfaces_with_addresses()
        fit: list[NetworkInterface] = []
        missing = set(self._names)
        for link in _links():
            wanted = link.interface.name in self._names
            if link.hardware not in (ETHERNET, LOOPBACK):
                if wanted:
                    self._say_once(link.interface.name, "is not Ethernet: its media stay in user space")
            elif link.up and (wanted or (link.interface.ifindex in addressed and not link.port)):
                missing.discard(link.interface.name)
                fit.append(link.interface)
        for name in sorted(missing):
            self._say_once(name, "is missing or down: the kernel path waits for it")
        return sorted(fit)

    def _say_once(self, name: str, what: str) -> None:
        if name not in self._told:
            self._told.add(name)
            logger.warning("interface %s %s", name, what)


def why_none(names: Collection[str]) -> str:
    """Why no interface carries media, where scan() finds none; `names` as of MediaInterfaces."""
    if names:
        return f"no interface that is up is called {' or '.join(names)}"
    return "no interface that is up has an address"


def find_obstacle(names: Collection[str]) -> str:
    """Why no interface carries media now; "" if one does; `names` as of MediaInterfaces."""
    try:
        found = MediaInterfaces(names).scan()
    except OSError as exc:
        return f"the network interfaces cannot be listed: {reason(exc)}"
    return "" if found else why_none(names)


class InterfaceWatch:
    """The interfaces that carry media, followed.

    Args:
        loop: calls back.
        on_change: called when interfaces came or went, for all that happened within about 50 ms. An interface
            that was replaced by another with the same index went and came. A new MTU is no change.
        names: see MediaInterfaces.

    Raises:
        OSError: netlink cannot be had.
    """

    def __init__(self, loop: Loop, on_change: OnChange, names: Collection[str] = ()) -> None:
        self._loop = loop
        self._on_change = on_change
        self._media = MediaInterfaces(names)
        self._known: dict[int, NetworkInterface] = {}
        self._retry: Timer | None = None
        self._failures = FaultLog(logger, loop.now, LOG_INTERVAL_S)
        groups = (GROUP_LINK, GROUP_IPV4_ADDRESS, GROUP_IPV6_ADDRESS)
        self._events = Events(loop, groups, self._on_events)

    def start(self) -> None:
        """Look for the first time and report what is there, before this returns."""
        self._scan(frozenset())

    def close(self) -> None:
        """Nothing is called any more."""
        self._events.close()
        if self._retry is not None:
            self._retry.cancel()

    def _on_events(self, datagrams: list[bytes]) -> None:
        self._scan(_deleted(datagrams))

    def _scan(self, deleted: frozenset[int]) -> None:
        try:
            found = {interface.ifindex: interface for interface in self._media.scan()}
        except OSError as error:
            why = reason(error)
            self._failures.failed(
                logging.WARNING,
                why,
                "the network interfaces cannot be listed: %s; media of new ones stay in user space, and nh"
                " tries again every second",
                why,
            )
            self._retry_scan(deleted)
            return
        self._failures.over(logging.INFO, "the network interfaces can be listed again")
        known, self._known = self._known, found
        went = [known[index] for index in known if index not in found or index in deleted]
        came = [found[index] for index in found if index not in known or index in deleted]
        if came or went:
            self._on_change(came, went)

    def _retry_scan(self, deleted: frozenset[int]) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._retry = self._loop.call_later(RETRY_S, lambda: self._scan(deleted))


def _links() -> list[_Link]:
    body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _SKIP_STATISTICS
    return [_link(message.body) for message in dump(GET_LINK, body) if message.kind == NEW_LINK]


def _link(body: bytes) -> _Link:
    _, hardware, ifindex, flags, _ = _LINK.unpack_from(body)
    found = attributes(body, _LINK.size)
    name = found[_NAME].rstrip(b"\0").decode(errors="surrogateescape")
    interface = NetworkInterface(ifindex, name, int(struct.unpack("=I", found[_MTU])[0]))
    port_of = attributes(found.get(_LINK_INFO, b"")).get(_PORT_OF, b"").rstrip(b"\0")
    return _Link(interface, hardware, bool(flags & _UP), port_of not in (b"", b"vrf"))


def _interfaces_with_addresses() -> set[int]:
    found = dump(GET_ADDRESS, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
    return {int(_ADDRESS.unpack_from(message.body)[4]) for message in found}


def has_ipv4_address(address: str) -> bool:
    """Whether an interface has an IPv4 address; OSError if the kernel refuses to list them."""
    packed = socket.inet_aton(address)
    found = dump(GET_ADDRESS, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0))
    return any(attributes(message.body, _ADDRESS.size).get(_LOCAL) == packed for message in found)


def _deleted(datagrams: list[bytes]) -> frozenset[int]:
    """The links that were deleted or moved away; a bridge says so of its ports in a family of its own."""
    links = (
        _LINK.unpack_from(message.body)
        for datagram in datagrams
        for message in messages(datagram)
        if message.kind == DELETE_LINK
    )
    return frozenset(index for family, _, index, _, _ in links if family == socket.AF_UNSPEC)
