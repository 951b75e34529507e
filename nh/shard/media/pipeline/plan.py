"""The media pipeline of a socket: the stages that its packets go through, as plain values.

    collect      read one packet, with its TTL where it may go on to a port of this relay (loop_guard)
    demultiplex  RTP or RTCP, where both come to one port (nh.calls.classify), the media of a bundle
                 (nh.calls.bundle); STUN and DTLS, where an end has ICE or DTLS with the relay
                 (nh.shard.media.protocols)
    admit        by source (nh.calls.latching); the kernel does that at a connected socket, beside which
                 another one gets the packets of all other sources
    transform    SRTP of its sender and of its receiver (srtp), the leg's transforms and taps
    measure      the leg's RTP statistics
    egress       send it, from the socket of the opposite leg (egress)

plan_for() decides what can be decided before a packet arrives. `readers` compiles the plan, so that a plain
packet pays for no stage that has nothing to do.
"""

import enum
from collections.abc import Sequence
from typing import Final, NamedTuple

from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.sockets.relay_socket import RelaySocket
from nh.shard.media.sockets.loop_guard import LocalPorts

ENOUGH_PACKETS: Final = 50
"""Packets to an end that has no latched source after which its socket is connected: to open the socket beside
it takes as long as a connection saves with so many."""


class Admit(enum.IntEnum):
    """Who decides whether a packet is admitted.

    NO_SESSION: no leg receives at the socket, so every packet is dropped.
    BY_SOURCE: the rules of latching, packet by packet.
    BY_KERNEL: the socket is connected to the latched source, so only its packets arrive.
    """

    NO_SESSION = enum.auto()
    BY_SOURCE = enum.auto()
    BY_KERNEL = enum.auto()


class Plan(NamedTuple):
    """What happens to the packets that arrive at one socket.

    Attributes:
        admit: see Admit.
        reads_ttl: packets go on to a port of this relay, so their TTL is read and decremented.
        demultiplexes: RTCP comes to the RTP port and has a leg of its own, or so do further media.
        offloaded: a kernel flow forwards for the leg; the socket gets what the flow leaves.
        transforms: the leg has transforms or taps.
        secured: SRTP of an end ends here.
        protocols: an end has ICE or DTLS with the relay.
    """

    admit: Admit
    reads_ttl: bool = False
    demultiplexes: bool = False
    offloaded: bool = False
    transforms: bool = False
    secured: bool = False
    protocols: bool = False


NO_SESSION: Final = Plan(Admit.NO_SESSION)
"""The plan of a socket that no leg receives at."""

PLAIN: Final = Plan(Admit.BY_KERNEL)
"""The plan of almost every packet in user space: receive, count, send, measure."""

BY_SOURCE: Final = Plan(Admit.BY_SOURCE)
"""The same at a socket that is not connected, such as that of a leg that has not latched."""

SECURED: Final = Plan(Admit.BY_KERNEL, secured=True)
"""The same with SRTP of an end."""

SECURED_BY_DTLS: Final = SECURED._replace(protocols=True)
"""The same with keys that DTLS agrees on at the socket."""

SHARED_PORT: Final = frozenset(
    Plan(Admit.BY_KERNEL, demultiplexes=True, secured=secured, protocols=protocols)
    for secured in (False, True)
    for protocols in (False, True)
)
"""The plans of a port that RTP shares with RTCP of its own leg, or with the media of a bundle."""


def plan_for(legs: Sequence[Leg], *, connected: bool, local_ports: LocalPorts) -> Plan:
    """The plan for one socket.

    Args:
        legs: the legs that receive at the socket.
        connected: whether the socket is connected to the latched source of its only leg.
        local_ports: the media ports of this relay.
    """
    if not legs:
        return NO_SESSION
    reads_ttl = demultiplexes = offloaded = transforms = secured = protocols = False
    for leg in legs:
        protocols = protocols or leg.ice is not None or leg.dtls is not None
        alone = leg.rtcp is None and leg.bundle is None
        demultiplexes = demultiplexes or not alone
        for each in (leg,) if alone else legs_at(leg):
            egress = each.egress
            destination = egress.destination
            reads_ttl = reads_ttl or (destination is not None and destination in local_ports)
            offloaded = offloaded or each.offload is not None
            secured = secured or each.security is not None or egress.security is not None
            transforms = transforms or bool(each.transforms or each.taps)
    admit = Admit.BY_KERNEL if connected else Admit.BY_SOURCE
    return Plan(admit, reads_ttl, demultiplexes, offloaded, transforms, secured, protocols)


def legs_at(leg: Leg) -> list[Leg]:
    """The legs that packets are for which a leg admits: its own, those of RTCP and of bundled media."""
    media = [leg] if leg.bundle is None else [*leg.bundle.members]
    return [*media, *(each.rtcp for each in media if each.rtcp is not None)]


def sole_latched_source(legs: Sequence[Leg], socket: RelaySocket) -> Endpoint | None:
    """The source of the only leg at a socket, once that has latched there."""
    return legs[0].source if len(legs) == 1 and legs[0].latched and legs[0].socket is socket else None


def peer_for(legs: Sequence[Leg], socket: RelaySocket, *, offloaded: bool) -> Endpoint | None:
    """The end that a socket is to be connected to, None: none.

    A connected socket saves time for each packet and needs one more descriptor. So only a socket of RTP is
    connected: few packets of RTCP come, and few of what the kernel forwards. It is connected to the latched
    source, or to where an end is sent media that does not answer: what is sent is cheaper then, and what
    comes is admitted by its source as before.

    Args:
        legs: the legs that receive at the socket.
        socket: the socket.
        offloaded: whether a kernel flow forwards for it.
    """
    if offloaded or not legs or legs[0].payload_types is None:
        return None
    return sole_latched_source(legs, socket) or _unlatched_end(legs, socket)


def sends_enough(leg: Leg) -> bool:
    """Whether so much is sent to the end of a leg in user space that a connection pays."""
    return leg.other.packets >= ENOUGH_PACKETS and leg.other.offload is None


def _unlatched_end(legs: Sequence[Leg], socket: RelaySocket) -> Endpoint | None:
    """Where the end of the only leg at a socket is sent to, although it has no latched source."""
    leg = legs[0]
    if len(legs) > 1 or leg.socket is not socket or leg.ice is not None or not sends_enough(leg):
        return None
    return leg.destination
