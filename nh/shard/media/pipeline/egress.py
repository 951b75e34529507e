"""Egress: the last stage of the pipeline, which sends the packets of a leg to its destination.

Packets to a port of this relay are sent with a decremented TTL (loop_guard). Whether a packet is admitted is
decided before.
"""

import errno
import functools
from collections.abc import Callable
from typing import Final

from nh.calls.drop import Drop
from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.protocols.media_security import MediaSecurity
from nh.calls.rtp.silence import Silencer
from nh.ice.stun import is_stun
from nh.rtp.packet import RTP_HEADER_BYTES, RTP_VERSION
from nh.shard.media.pipeline.srtp import UNSENT_DROPS, seal_packet
from nh.shard.media.sockets import loop_guard
from nh.shard.media.sockets.addresses import socket_address
from nh.shard.media.sockets.loop_guard import LocalPorts
from nh.shard.media.sockets.media_socket import MediaSocket, Output, socket_of
from nh.shard.media.totals import TrafficTotals
from nh.srtp.refusal import Refusal, SrtpRefused

_OF_EARLIER_PACKETS: Final = (
    errno.EMSGSIZE,
    errno.ECONNREFUSED,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENONET,
    errno.ENOPROTOOPT,
    errno.EOPNOTSUPP,
    errno.EPROTO,
    errno.EACCES,
)
"""Errors that report an earlier packet, while the one at hand was not sent yet: what ICMP said of that (see
icmp_err_convert of Linux). Packet too big: then the next one goes in fragments."""

Send = Callable[[memoryview], object]
"""Sends one packet. Raises OSError if the kernel refuses it."""


class _Function:
    """An output that is a function.

    Args:
        send: see Output.
    """

    __slots__ = ("send",)

    def __init__(self, send: Send) -> None:
        self.send = send


class Egress:
    """Sends what legs have admitted.

    Args:
        traffic: counts drops.
        local_ports: the media ports of this relay.
        save: called with a leg before its packet is sent, if a stream of its key is renumbered by that.
    """

    def __init__(self, traffic: TrafficTotals, local_ports: LocalPorts, save: Callable[[Leg], None]) -> None:
        self._traffic = traffic
        self._local_ports = local_ports
        self._save = save

    def sender(self, leg: Leg, ttl: int = 0) -> Send:
        """The function that sends packets of a leg, valid until the leg or its opposite changes.

        Args:
            leg: the leg that admitted the packets.
            ttl: TTL that the packet arrived with, 0: unknown. It matters for a destination of this relay
                only.
        """
        send = self.plain_sender(leg, ttl)
        if not has_target(leg):
            return send
        if (security := leg.egress.security) is not None:
            send = functools.partial(self._send_sealed, security, leg, send)
        if silencer := leg.silencer:
            send = functools.partial(self._send_silenced, silencer, leg, send)
        if events := leg.blocked_events:
            send = functools.partial(self._send_other_than, events, leg, send)
        return send

    def output(self, leg: Leg) -> Output:
        """What packets of a leg are sent with that ends here and there without SRTP; valid as sender()."""
        target = leg.egress
        out = socket_of(target)
        if has_target(leg) and sends_all(leg) and self._is_connected(out, target.destination):
            return out
        return _Function(self.sender(leg))

    def plain_sender(self, leg: Leg, ttl: int = 0) -> Send:
        """The same for packets that are sent as they are: sealed already, or to an end without SRTP."""
        target = leg.egress
        destination = target.destination
        if destination is None or leg.blocked:
            return lambda packet: self.drop(leg, Drop.NO_TARGET, len(packet))
        return self._sender_to(leg, socket_of(target), destination, ttl)

    def unsealed(self, leg: Leg, send: Send, packet: memoryview, refusal: Refusal) -> None:
        """What becomes of a packet that cannot be sealed."""
        if not is_stun(packet):
            self.drop(leg, UNSENT_DROPS[refusal], len(packet))
            return
        try:
            send(packet)
        except OSError as error:
            self.send_failed(leg, send, packet, error)

    def send_failed(self, leg: Leg, send: Send, packet: memoryview, error: OSError) -> None:
        """Retry a packet that the kernel refused, where a retry can succeed; else count the drop."""
        if error.errno in _OF_EARLIER_PACKETS:
            try:
                send(packet)
            except OSError:
                pass
            else:
                return
        self.drop(leg, Drop.SEND_FAILED, len(packet))

    def drop(self, leg: Leg, reason: Drop, size_bytes: int) -> None:
        """Count a packet of a leg that is not passed on."""
        leg.count_drop(reason)
        self._traffic.drop(reason, size_bytes)

    def refuse(self, leg: Leg, source: Endpoint, size_bytes: int) -> None:
        """Count a packet whose source does not belong to a leg."""
        leg.count_refused(source)
        self._traffic.drop(Drop.SOURCE_MISMATCH, size_bytes)

    def _sender_to(self, leg: Leg, out: MediaSocket, destination: Endpoint, ttl: int) -> Send:
        if self._is_connected(out, destination):
            return out.send
        if destination in self._local_ports:
            return functools.partial(self._send_to_local_port, leg, out, destination, ttl)
        address = socket_address(destination)
        send_to = out.sendto
        return lambda packet: send_to(packet, address)

    def _is_connected(self, out: MediaSocket, destination: Endpoint | None) -> bool:
        """Whether a send() of the socket is all that it takes."""
        return destination is not None and out.peer == destination and destination not in self._local_ports

    def _send_other_than(
        self, payload_types: frozenset[int], leg: Leg, send: Send, packet: memoryview
    ) -> None:
        """Send a packet unless it is RTP of one of `payload_types`."""
        if (
            len(packet) >= RTP_HEADER_BYTES
            and packet[0] >> 6 == RTP_VERSION
            and packet[1] & 0x7F in payload_types
        ):
            self.drop(leg, Drop.DTMF_BLOCKED, len(packet))
        else:
            send(packet)

    def _send_silenced(self, silencer: Silencer, leg: Leg, send: Send, packet: memoryview) -> None:
        """Send a packet with silence for its sound; it is dropped if there is none for its codec."""
        if silencer.silence(packet):
            send(packet)
        else:
            self.drop(leg, Drop.NO_TARGET, len(packet))

    def _send_sealed(self, security: MediaSecurity, leg: Leg, send: Send, packet: memoryview) -> None:
        """Send a packet under the SRTP of its receiver; what is sent again after an error is sealed once."""
        try:
            sealed = seal_packet(security, packet)
        except SrtpRefused as refused:
            self.unsealed(leg, send, packet, refused.reason)
            return
        if security.renumbered:
            self._save(leg)
            security.clear_checkpoint_due()
        try:
            send(sealed)
        except OSError as error:
            self.send_failed(leg, send, sealed, error)

    def _send_to_local_port(
        self, leg: Leg, out: MediaSocket, destination: Endpoint, ttl: int, packet: memoryview
    ) -> None:
        left = min(ttl or loop_guard.MAX_HOPS, loop_guard.MAX_HOPS) - 1
        if left > 0:
            loop_guard.send(out, packet, destination, left)
        else:
            self.drop(leg, Drop.LOOPED, len(packet))


def sends_all(leg: Leg) -> bool:
    """Whether what arrives at a leg is sent on as it is: neither silenced nor dropped by its payload type."""
    return leg.silencer is None and not leg.blocked_events


def has_target(leg: Leg) -> bool:
    """Whether what arrives at a leg is sent on."""
    return leg.egress.destination is not None and not leg.blocked


def seals_first(leg: Leg) -> MediaSecurity | None:
    """What seals the packets of a leg that sends_all(), before Egress.plain_sender() sends them."""
    return leg.egress.security if has_target(leg) else None
