"""Forwarding: what happens to a packet at each socket, as readers for the hot loop.

A socket has one of three readers, chosen anew whenever something changes and never per packet:

    stray       no session is active here: read and drop
    judging     a source is not latched yet, or several legs share the socket: look at every source
    connected   the source is latched and the kernel filters: one recv, one send

Where the kernel relays in a socket's stead (nh.shard.media.kernel_path), the reader serves what the
kernel leaves.

Sockets that another process may still use are left as they are while `awake` is False: neither connected nor
read; what the kernel relays it goes on relaying. set_up_anew() brings them into the state that their legs
want, whatever others made of them.

Who may send is the domain's rule (nh.calls.leg); here it is carried out. Where packets go on to is in
nh.shard.media.egress. The module knows sockets and legs, neither calls nor commands.
"""

import functools
import logging
from collections.abc import Callable, Sequence

from nh.calls.leg import Drop, Leg
from nh.calls.media import Endpoint
from nh.calls.session import Pair
from nh.calls.source import Rank
from nh.shard.media import loop_guard as hops
from nh.shard.media.egress import Egress
from nh.shard.media.fast_path_readers import forwarder_factory
from nh.shard.media.kernel_path import KernelPath
from nh.shard.media.loop_guard import LocalPorts
from nh.shard.media.poll import MediaPoll, Reader
from nh.shard.media.sockets import MediaSocket, socket_of
from nh.shard.media.totals import TrafficTotals

logger = logging.getLogger(__name__)

MAX_DATAGRAM_BYTES = 65_536
MAX_DRAIN = 4096
"""Most packets that are judged in one go when a socket is connected: more than a receive buffer holds."""


class Forwarding:
    """The readers of all media sockets of one relay.

    Arguments:
        poll: where the sockets are watched.
        traffic: where drops are counted.
        own_ports: where packets keep their hop limit (nh.shard.media.loop_guard).
        kernel: moves directions into the kernel; None: all stay here.
        kernel_off: why that is so, for people.
        source_changed: called with the call-id and the leg whose source is another, or has another state.
    """

    def __init__(
        self,
        poll: MediaPoll,
        traffic: TrafficTotals,
        own_ports: LocalPorts,
        *,
        kernel: KernelPath | None = None,
        kernel_off: str = "",
        source_changed: Callable[[bytes, Leg], None] = lambda _call_id, _leg: None,
    ) -> None:
        self._poll = poll
        self._traffic = traffic
        self._kernel = kernel
        self._kernel_off = kernel_off
        self._report = source_changed
        self.awake = True
        self._onward = Egress(poll, traffic, own_ports)
        self._buffer = bytearray(MAX_DATAGRAM_BYTES)
        self._view = memoryview(self._buffer)
        # one bound method each for all sockets
        self._new_judge = functools.partial(functools.partial, self._judge_next)
        self._new_dropper = functools.partial(functools.partial, self._drop_stray)
        self._new_forwarder = forwarder_factory(self._buffer, traffic, poll, self._onward.send_failed)

    def open(self, media_socket: MediaSocket) -> None:
        """Watch a new socket; nothing is active there yet."""
        self._poll.add(media_socket.fd, self._new_dropper(media_socket))

    def close(self, media_socket: MediaSocket) -> None:
        """Watch it no more; to be called before it is closed."""
        if self._kernel is not None:
            self._kernel.forget(media_socket)
        self._poll.remove(media_socket.fd)

    def start(self, pair: Pair) -> None:
        """Both legs of `pair` receive from now on, beside the legs that share their sockets."""
        for leg in (pair.from_, pair.to):
            media_socket = socket_of(leg)
            self._open_to_all(media_socket)
            media_socket.legs += (leg,)
        self._refresh_both(pair)

    def stop(self, pair: Pair) -> None:
        """Both legs of `pair` receive no more; those that share their sockets go on."""
        for leg in (pair.from_, pair.to):
            media_socket = socket_of(leg)
            self._open_to_all(media_socket)
            media_socket.legs = tuple(other for other in media_socket.legs if other is not leg)
        self._refresh_both(pair)

    def source_changed(self, leg: Leg) -> None:
        """The source of `leg` or its state changed: that decides what its socket takes, and where its
        opposite sends.
        """
        media_socket = socket_of(leg)
        if not leg.latched:
            media_socket.disconnect()
        self._refresh(media_socket)
        self._report(media_socket.owner, leg)

    def set_up_anew(self, media_sockets: Sequence[MediaSocket]) -> None:
        """Bring sockets into the state that their legs want, whatever state they are in."""
        self.awake = True
        for media_socket in media_sockets:
            # connect(2) replaces a peer by another or the same one, with no moment in between
            if not self._connect(media_socket):
                media_socket.connected = True
                media_socket.disconnect()
        # what waits may be sent through any of them
        for media_socket in media_sockets:
            try:
                if media_socket.connected:
                    self._drain(media_socket)
                self._choose_path(media_socket)  # those that send through it have their turn, too
            except Exception:
                # a bug that one socket meets must not keep the others from being served
                logger.exception("the media socket at %s could not be set up", media_socket.local)

    def route_anew(self, media_socket: MediaSocket) -> None:
        """What a socket passes on may leave the host another way, or there is room in the kernel now."""
        self._choose_path(media_socket)

    def _refresh_both(self, pair: Pair) -> None:
        for leg in (pair.from_, pair.to):
            self._refresh(socket_of(leg))

    def _open_to_all(self, media_socket: MediaSocket) -> None:
        if self.awake:
            media_socket.disconnect()

    def _refresh(self, media_socket: MediaSocket) -> None:
        """Choose the reader of a socket anew, and of those that send through it."""
        if not self.awake:
            if self._kernel is not None and _sole_latched_source(media_socket) is not None:
                self._kernel.update(media_socket)  # to what it does already, or did for a predecessor
            return
        self._connect_if_latched(media_socket)
        self._choose_path(media_socket)
        for leg in media_socket.legs:
            self._choose_path(socket_of(leg.other))
            if leg.rtcp is not None:
                self._choose_path(socket_of(leg.rtcp.other))

    def _choose_path(self, media_socket: MediaSocket) -> None:
        if self._kernel is None:
            for leg in media_socket.legs:
                leg.not_offloaded = self._kernel_off
            self._choose_reader(media_socket)
            return
        begun = self._kernel.update(media_socket)
        self._choose_reader(media_socket)
        if begun:
            # what still waits is older than what the kernel relays from now on
            self._drain(media_socket)

    def _choose_reader(self, media_socket: MediaSocket) -> None:
        reader: Reader
        media_socket.count_hops(self._onward.leads_back(media_socket))
        if media_socket.connected:
            leg = media_socket.legs[0]
            if media_socket.reads_ttl:
                reader = functools.partial(self._pass_back_next, media_socket)
            elif leg.offload is not None:
                reader = functools.partial(self._pass_on_next, leg)
            elif leg.rtcp is None:
                reader = self._new_forwarder(leg, media_socket.sock.recv_into, self._onward.sender(leg))
            else:
                reader = functools.partial(self._demux_next, leg, leg.rtcp)
        elif media_socket.legs:
            reader = self._new_judge(media_socket)
        else:
            reader = self._new_dropper(media_socket)
        self._poll.set_reader(media_socket.fd, reader)

    def _connect_if_latched(self, media_socket: MediaSocket) -> None:
        if not media_socket.connected and self._connect(media_socket):
            self._drain(media_socket)

    def _connect(self, media_socket: MediaSocket) -> bool:
        """Connect a socket to the latched source of its only leg; returns whether it is so now."""
        source = _sole_latched_source(media_socket)
        return source is not None and media_socket.connect(source)

    def _drain(self, media_socket: MediaSocket) -> None:
        # what arrived before the kernel began to filter is still in the queue, whoever sent it
        for _ in range(MAX_DRAIN):
            if not self._judge_next(media_socket):
                break

    def _drop_stray(self, media_socket: MediaSocket) -> None:
        try:
            size = media_socket.sock.recv_into(self._buffer)
        except OSError:
            return
        self._traffic.drop(Drop.NO_SESSION, size)

    def _judge_next(self, media_socket: MediaSocket) -> bool:
        """Deal with the next packet by its source; returns whether there was one."""
        try:
            if media_socket.reads_ttl:
                size, source, self._onward.hops = hops.receive(media_socket.sock, self._buffer)
            else:
                size, address = media_socket.sock.recvfrom_into(self._buffer)
                source, self._onward.hops = Endpoint(address[0], address[1]), 0
        except BlockingIOError:
            return False
        except OSError:
            return True
        self._judge(media_socket, source, self._view[:size])
        return True

    def _pass_on_next(self, leg: Leg) -> None:
        """Deal with a packet that the kernel left, or one that was here before it began."""
        try:
            size = socket_of(leg).sock.recv_into(self._buffer)
        except OSError:
            return
        self._onward.pass_on(leg, self._view[:size])

    def _pass_back_next(self, media_socket: MediaSocket) -> None:
        """Deal with the next packet of a latched source that goes on to a port of this relay."""
        try:
            size, _, self._onward.hops = hops.receive(media_socket.sock, self._buffer)
        except OSError:
            return
        leg, packet = media_socket.legs[0], self._view[:size]
        self._onward.pass_on(leg.rtcp if leg.rtcp is not None and _is_rtcp(packet) else leg, packet)

    def _demux_next(self, rtp: Leg, rtcp: Leg) -> None:
        """Deal with the next packet from an end that sends RTP and RTCP to one port."""
        try:
            size = socket_of(rtp).sock.recv_into(self._buffer)
        except OSError:
            return
        packet = self._view[:size]
        self._onward.pass_on(rtcp if _is_rtcp(packet) else rtp, packet)

    def _judge(self, media_socket: MediaSocket, source: Endpoint, packet: memoryview) -> None:
        learned: list[Leg] = []
        leg = self._find_leg(media_socket, source, learned)
        if leg is None:
            self._onward.drop(media_socket.legs[0], Drop.SOURCE_MISMATCH, len(packet))
        elif leg.rtcp is not None and _is_rtcp(packet):
            self._onward.pass_on(leg.rtcp, packet)
        else:
            self._onward.pass_on(leg, packet)
        # only now: latching reads what else is queued, into the same buffer and behind this packet
        for changed in learned:
            self.source_changed(changed)

    def _find_leg(self, media_socket: MediaSocket, source: Endpoint, learned: list[Leg]) -> Leg | None:
        """The leg that takes a packet from `source`; adds to `learned` those whose source changed."""
        legs = media_socket.legs
        if len(legs) > 1:
            legs = _by_fit(legs, source)
        for leg in legs:
            before = (leg.source, leg.state)
            admitted = leg.admit(source, now=self._poll.now)
            if (leg.source, leg.state) != before:
                learned.append(leg)
            if admitted:
                # media that came before their own answer passed for another's until now
                learned += [other for other in legs if other is not leg and other.give_up(source)]
                return leg
        return None


def _sole_latched_source(media_socket: MediaSocket) -> Endpoint | None:
    """The source of the only leg at a socket, if it is latched."""
    legs = media_socket.legs
    return legs[0].source if len(legs) == 1 and legs[0].latched else None


def _by_fit(legs: tuple[Leg, ...], source: Endpoint) -> tuple[Leg, ...]:
    """The legs of a forked request: who announced `source`, who is known by it, then as well as it fits."""

    def fit(leg: Leg) -> tuple[bool, bool, int]:
        how = leg.fits(source)
        return how is Rank.EXACT, leg.source == source, how or 0

    return tuple(sorted(legs, key=fit, reverse=True))


def _is_rtcp(packet: memoryview) -> bool:
    """Whether it is RTCP and not RTP: by its second byte (RFC 5761 4)."""
    return len(packet) > 1 and 192 <= packet[1] <= 223
