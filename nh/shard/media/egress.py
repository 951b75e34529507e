"""Egress: where the packets of a leg go on to, and how.

Almost all of them go by what sender() returns for a leg, without any more of this; packets that go to a port
of the relay itself lose a hop there (nh.shard.media.loop_guard). The module knows legs and sockets, not
who may send.
"""

import functools

from nh.calls.leg import Drop, Leg
from nh.calls.media import Endpoint
from nh.shard.media import loop_guard as hops
from nh.shard.media.fast_path_readers import Send
from nh.shard.media.loop_guard import LocalPorts
from nh.shard.media.poll import MediaPoll
from nh.shard.media.sockets import MediaSocket, socket_of
from nh.shard.media.totals import TrafficTotals


class Egress:
    """Sends on what legs have taken.

    Arguments:
        poll: has the time.
        traffic: where packets and drops are counted.
        own_ports: where packets keep their hop limit.

    `hops` is the hop limit of the packet that is dealt with, set by who reads it; 0: it does not matter.
    """

    def __init__(self, poll: MediaPoll, traffic: TrafficTotals, own_ports: LocalPorts) -> None:
        self.hops = 0
        self._poll = poll
        self._traffic = traffic
        self._own_ports = own_ports

    def pass_on(self, leg: Leg, packet: memoryview) -> None:
        """Count, measure and send a packet that a leg has taken."""
        leg.packets += 1
        leg.bytes += len(packet)
        self._traffic.received_packets += 1
        self._traffic.received_bytes += len(packet)
        meter = leg.offload or leg.find_meter()
        if meter is not None:
            # before it is sent: whoever answers it is measured by the kernel, beside this
            meter.measure(packet, len(packet), self._poll.now)
        send = self.sender(leg)
        try:
            send(packet)
        except OSError as exc:
            self.send_failed(leg, send, packet, exc)

    def sender(self, leg: Leg) -> Send:
        """What sends packets of a leg on, until something changes about it or its opposite."""
        target = leg.onward
        destination = target.destination
        if destination is None or leg.blocked:
            return lambda packet: self.drop(leg, Drop.NO_TARGET, len(packet))
        out = socket_of(target)
        if destination in self._own_ports:
            return functools.partial(self._send_back, leg, out, destination)
        if out.connected:
            return out.sock.send
        address = (destination.address, destination.port)
        send_to = out.sock.sendto
        return lambda packet: send_to(packet, address)

    def send_failed(self, leg: Leg, send: Send, packet: memoryview, exc: OSError) -> None:
        """The kernel refused a packet of a leg: send it again if that is of use, else it is dropped."""
        if isinstance(exc, ConnectionRefusedError):
            # the error belongs to an earlier packet (ICMP port unreachable); this one was not sent yet
            try:
                send(packet)
            except OSError:
                pass
            else:
                return
        self.drop(leg, Drop.SEND_FAILED, len(packet))

    def _send_back(self, leg: Leg, out: MediaSocket, destination: Endpoint, packet: memoryview) -> None:
        """Send to a port of this relay, with one hop less."""
        left = min(self.hops or hops.MAX_HOPS, hops.MAX_HOPS) - 1
        if left > 0:
            hops.send(out.sock, packet, destination, left)
        else:
            self.drop(leg, Drop.LOOPED, len(packet))

    def leads_back(self, media_socket: MediaSocket) -> bool:
        """Whether what arrives at a socket goes on to a port of this relay, or the RTCP in it does."""
        for leg in media_socket.legs:
            for each in (leg,) if leg.rtcp is None else (leg, leg.rtcp):
                destination = each.onward.destination
                if destination is not None and destination in self._own_ports:
                    return True
        return False

    def drop(self, leg: Leg, reason: Drop, size_bytes: int) -> None:
        """Count a packet of a leg that goes nowhere."""
        leg.count_drop(reason)
        self._traffic.drop(reason, size_bytes)
