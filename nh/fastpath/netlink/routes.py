"""Where packets to a destination leave the host, by the kernel's own routing (RTM_GETROUTE, rtnetlink(7)).

The program in the kernel finds the next hop of each packet by itself, but the flow has to name the interface.
A shard looks it up here when a flow moves into the kernel, and again when routing has changed (route_watch).
The module knows nothing of flows.
"""

import os
import socket
import struct
from typing import Final, NamedTuple

from nh.fastpath.netlink.devices import Devices
from nh.fastpath.netlink.messages import (
    ERROR,
    HEADER,
    REQUEST,
    Message,
    attributes,
    error_number,
    messages,
    open_socket,
)
from nh.ip_address import is_ipv6
from nh.reasons import reason

_GET_ROUTE = 26
_DESTINATION, _SOURCE, _OUT, _GATEWAY, _METRICS, _CACHE, _VIA = 1, 2, 4, 5, 8, 12, 18
_ENCAPSULATION, _USER, _PROTOCOL = 22, 25, 27
_METRIC_LOCKS, _METRIC_MTU = 1, 2
_EXPIRES = struct.Struct("=8xi")
"""struct rta_cacheinfo, as far as clock ticks until the route, or what is known of its path, ends."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

_ROUTE_BYTES, _KIND_AT = 12, 7
"""struct rtmsg: family, bits of destination and source, TOS, table, protocol, scope, type; then the flags."""
_REST_OF_ROUTE = struct.Struct("=5BI")
"""The same, from the TOS on."""

_ANYCAST, _UNICAST, _LOCAL = 4, 1, 2
_UNUSABLE = {
    3: "it is a broadcast address",
    _ANYCAST: "it is an anycast address",
    5: "it is a multicast address",
    6: "its route is a blackhole",
    7: "its route says unreachable",
    8: "its route says prohibited",
}
"""Types of route, RTN_… (linux/rtnetlink.h), that no flow can use, and why."""

_ANSWER_BYTES = 8192
_STALE_ANSWERS = 16
"""Most answers to earlier requests that are skipped."""

_INTEGER = struct.Struct("=I")


class Route(NamedTuple):
    """A way that a flow can take.

    Args:
        ifindex: the interface that packets leave by; of a local destination the one that routing names.
        local: the destination is this host.
        mtu_bytes: longest IP packet, by the interface and by the route (its metric, or a path MTU found).
        expires_s: seconds after which the kernel forgets the route's MTU; 0: it does not.
    """

    ifindex: int
    local: bool
    mtu_bytes: int
    expires_s: float = 0.0


class NoRoute(NamedTuple):
    """No way for the kernel path.

    Args:
        why: in words.
        sure: False if the kernel did not say: "cannot tell" is not "no".
    """

    why: str
    sure: bool = True


LOCKED: Final = NoRoute(
    'the MTU of its route is locked, so packets go without the bit "don\'t fragment"', sure=False
)
"""Not sure, because in its last clock tick a lock that a router caused looks like one that stays."""


class _Family:
    """How to ask within one address family; what is the same in each request is packed once.

    Args:
        family: AF_INET or AF_INET6.
        address_bytes: how long its addresses are.
        user: whose packets are routed: rules may ask for that (ip rule … uidrange).
    """

    def __init__(self, family: int, address_bytes: int, user: int) -> None:
        self.family = family
        length = HEADER.size + _ROUTE_BYTES + 2 * (4 + address_bytes) + 16
        bits = address_bytes * 8
        self._prefix = struct.pack("=IHH", length, _GET_ROUTE, REQUEST)
        self._route = struct.pack("=I3B", 0, family, bits, bits)
        self._destination = struct.pack("=HH", 4 + address_bytes, _DESTINATION)
        self._source = struct.pack("=HH", 4 + address_bytes, _SOURCE)
        # rules may ask for the protocol, too (ip rule … ipproto udp)
        self._rest = struct.pack("=HHBxxxHHI", 5, _PROTOCOL, socket.IPPROTO_UDP, 8, _USER, user)

    def question(self, sequence: int, destination: bytes, source: bytes, tos: int) -> bytes:
        """The request for the way of UDP from `source` to `destination` with that TOS."""
        return b"".join(
            (
                self._prefix,
                _INTEGER.pack(sequence),
                self._route,
                _REST_OF_ROUTE.pack(tos, 0, 0, 0, 0, 0),
                self._destination,
                destination,
                self._source,
                source,
                self._rest,
            )
        )


_ROOT = 0
_IPV4, _IPV6 = _Family(socket.AF_INET, 4, _ROOT), _Family(socket.AF_INET6, 16, _ROOT)
"""As bpf_redirect_neigh asks, whose packets are no user's."""

_UNSPECIFIED = (bytes(4), bytes(16))


class Routes:
    """Looks routes up in the network namespace of the calling thread.

    A look-up cannot block: the kernel answers a request while it is sent. Raises OSError if sockets cannot be
    had.
    """

    def __init__(self) -> None:
        self._devices = Devices()
        try:
            self._socket = open_socket()
        except OSError:
            self._devices.close()
            raise
        self._sequence = 0
        # what sockets of this process send is its user's
        user = os.geteuid()
        self._of_sockets = (
            None if user == _ROOT else (_Family(socket.AF_INET, 4, user), _Family(socket.AF_INET6, 16, user))
        )

    def find(self, destination: str, source: str, tos: int = 0) -> Route | NoRoute:
        """The way of UDP packets to `destination`, or why there is none for the kernel path.

        Args:
            destination: IP address.
            source: IP address of this host that the packets will have: rules by source are followed.
            tos: that they will have, 0 to 255, without ECN bits: rules by TOS are followed.

        Tunnels and other interfaces without an Ethernet header are no way, nor are routes that encapsulate.
        """
        family = _IPV6 if is_ipv6(destination) else _IPV4
        try:
            to = socket.inet_pton(family.family, destination)
            of = socket.inet_pton(family.family, source)
        except OSError:
            return NoRoute(f"{source} and {destination} are not addresses of one family")
        if to in _UNSPECIFIED:
            return NoRoute("it is the unspecified address")
        if family is _IPV6 and to[0] == 0xFE and to[1] & 0xC0 == 0x80:
            return NoRoute("a link-local address says nothing of the interface")
        try:
            return self._look_up(family, to, of, tos)
        except OSError as error:
            return NoRoute(f"the kernel could not be asked: {reason(error)}", sure=False)

    def ipv6_mtus_changed(self) -> bool:
        """Whether a sysctl (net.ipv6.conf.IF.mtu) changed the MTU of an interface that a route led to."""
        return self._devices.ipv6_mtus_changed()

    def forget_links(self) -> None:
        """Ask anew about interfaces; to be called when links may have changed (route_watch)."""
        self._devices.forget()

    def close(self) -> None:
        """Let go of the sockets."""
        self._socket.close()
        self._devices.close()

    def _look_up(self, family: _Family, destination: bytes, source: bytes, tos: int) -> Route | NoRoute:
        answer = of_sockets = self._ask(family, destination, source, tos)
        if self._of_sockets is not None:
            of_sockets = self._ask(self._of_sockets[family is _IPV6], destination, source, tos)
        if answer is None or of_sockets is None:
            return NoRoute("the kernel did not say", sure=False)
        if of_sockets is not answer and _way(of_sockets) != _way(answer):
            return NoRoute("a rule by user (ip rule … uidrange) holds for nh alone, or not for it")
        return self._judge(answer, family)

    def _ask(self, family: _Family, destination: bytes, source: bytes, tos: int) -> Message | None:
        self._sequence = self._sequence + 1 & 0xFFFFFFFF
        self._socket.send(family.question(self._sequence, destination, source, tos))
        for _ in range(_STALE_ANSWERS):
            try:
                datagram = self._socket.recv(_ANSWER_BYTES)
            except BlockingIOError:
                return None
            for message in messages(datagram):
                if message.sequence == self._sequence:
                    return message
        return None

    def _judge(self, answer: Message, family: _Family) -> Route | NoRoute:
        if answer.kind == ERROR:
            return NoRoute(f"routing says: {os.strerror(error_number(answer))}")
        kind = answer.body[_KIND_AT]
        if kind not in (_UNICAST, _LOCAL):
            return NoRoute(_UNUSABLE.get(kind, f"its route is of type {kind}"))
        found = attributes(answer.body, _ROUTE_BYTES)
        if _ENCAPSULATION in found:
            return NoRoute("its route encapsulates packets")
        if _OUT not in found:
            return NoRoute("its route names no interface")
        ifindex = int(_INTEGER.unpack(found[_OUT])[0])
        device = self._devices.get(ifindex)
        if not device.ethernet:
            return NoRoute(f"interface {device.name} is not Ethernet")
        mtu_bytes = self._devices.ipv6_mtu_bytes(device) if family is _IPV6 else device.mtu_bytes
        return _measured(Route(ifindex, kind == _LOCAL, mtu_bytes), found)


def _way(answer: Message) -> tuple[bytes | int | None, ...]:
    """What two answers have in common that lead the same way."""
    if answer.kind == ERROR:
        return (error_number(answer),)
    found = attributes(answer.body, _ROUTE_BYTES)
    return answer.body[_KIND_AT], *map(found.get, (_OUT, _GATEWAY, _VIA, _ENCAPSULATION))


def _measured(route: Route, found: dict[int, bytes]) -> Route | NoRoute:
    """The route with the MTU of its attributes."""
    metrics = attributes(found.get(_METRICS, b""))
    if not (metric := metrics.get(_METRIC_MTU)):
        return route
    if (locks := metrics.get(_METRIC_LOCKS)) and _INTEGER.unpack(locks)[0] >> _METRIC_MTU & 1:
        return LOCKED
    mtu_bytes = int(_INTEGER.unpack(metric)[0]) or route.mtu_bytes
    return route._replace(mtu_bytes=min(mtu_bytes, route.mtu_bytes), expires_s=_expires_s(found))


def _expires_s(found: dict[int, bytes]) -> float:
    if len(found.get(_CACHE, b"")) < _EXPIRES.size:
        return 0.0
    ticks: int = _EXPIRES.unpack_from(found[_CACHE])[0]
    return max(0, ticks) / _TICKS_PER_S
