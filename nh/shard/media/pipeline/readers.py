"""Readers: plans of the media pipeline, compiled into what the poll calls for each packet.

Sockets of one latched leg whose plan is plain, or has SRTP and nothing else, get a reader of `fast_readers`;
ports that RTP shares, one of `shared_ports`. This module has the readers whose packets go stage by stage
(`stages`): one for every other connected socket, one that admits by source, one that drops.
"""

import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from nh.calls.classify import MediaKind, classify
from nh.calls.drop import Drop
from nh.calls.latching.latch import admit
from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.ice.stun import is_stun
from nh.shard.media.pipeline.egress import Egress, sends_all
from nh.shard.media.pipeline.fast_readers import (
    NoteLeg,
    ReaderContext,
    SocketReader,
    forwarding_reader,
    measuring_reader,
    secured_factory,
    source_factory,
)
from nh.shard.media.pipeline.plan import (
    BY_SOURCE,
    PLAIN,
    SECURED,
    SECURED_BY_DTLS,
    SHARED_PORT,
    Admit,
    Plan,
    sole_latched_source,
)
from nh.shard.media.pipeline.shared_ports import has_fast_ways, shared_port_factory
from nh.shard.media.pipeline.srtp import DROPS
from nh.shard.media.pipeline.stages import Stages
from nh.shard.media.poll import MediaPoll
from nh.shard.media.protocols import MEDIA_FROM, EndProtocols, are_meant
from nh.shard.media.sockets import loop_guard
from nh.shard.media.sockets.addresses import endpoint_of, received_address
from nh.shard.media.sockets.media_socket import MediaSocket, connected_socket_of, socket_of
from nh.shard.media.sockets.unreachable import read_unreachable
from nh.shard.media.totals import TrafficTotals
from nh.srtp.refusal import Refusal

MAX_DATAGRAM_BYTES: Final = 65_536


class Readers:
    """Compiles plans, and serves what they leave to it.

    Args:
        poll: has the time.
        traffic: counts packets.
        egress: sends packets and counts drops.
        protocols: get STUN and DTLS of ends that speak it with the relay.
        changed: called with legs whose source or state changed, after the packet that did it was sent.
        caught_up: called with a connected socket once no packet waits there from before; it sets the reader.
        save: called with a leg before its packet is sent, if no other packet shows what this one has.
        note_leg: see NoteLeg.

    Attributes:
        beside: the reader of the socket beside a connected one: it admits by source.
        drop: the reader of a socket where no leg receives.
    """

    def __init__(
        self,
        poll: MediaPoll,
        traffic: TrafficTotals,
        egress: Egress,
        protocols: EndProtocols,
        changed: Callable[[Sequence[Leg]], None],
        *,
        caught_up: Callable[[MediaSocket], object],
        save: Callable[[Leg], None],
        note_leg: NoteLeg,
    ) -> None:
        self._poll = poll
        self._traffic = traffic
        self._egress = egress
        self._stages = Stages(poll, traffic, egress, changed, save=save, note_leg=note_leg)
        self._protocols = protocols
        self._changed = changed
        self._caught_up = caught_up
        self._buffer = bytearray(MAX_DATAGRAM_BYTES)
        self._view = memoryview(self._buffer)
        context = ReaderContext(self._buffer, traffic, poll, egress, self._note_errors, note_leg)
        note_keys, refused = self._stages.note_keys, self._refuse
        self._forward = forwarding_reader(context)
        self._forward_and_measure = measuring_reader(context)
        self._new_by_source = source_factory(context, admit=self._admit_other)
        self._new_secured = secured_factory(context, note_keys=note_keys, refused=refused)
        self._new_shared_port = shared_port_factory(
            context, note_keys=note_keys, refused=refused, process=self._stages.process_alone
        )
        self.beside: Final = self._latch_beside  # one bound method for all sockets
        self.drop: Final = self._drop_next
        self._older: Final = self._admit_older
        self._readers: Final = {
            Admit.NO_SESSION: self.drop,
            Admit.BY_SOURCE: self._latch_next,
            Admit.BY_KERNEL: self._pass_next,
        }

    def compile(self, media_socket: MediaSocket, plan: Plan) -> SocketReader:
        """The reader that carries out `plan` at a socket, one packet a call; its output is set."""
        leg = media_socket.leg
        if media_socket.older:
            media_socket.output = None
            return self._older
        media_socket.output = self._egress.output(leg) if leg is not None and plan == PLAIN else None
        fast = self._fast_reader(media_socket, leg, plan) if leg is not None else None
        return fast or self._readers[plan.admit]

    def _fast_reader(self, media_socket: MediaSocket, leg: Leg, plan: Plan) -> SocketReader | None:
        """The fast reader that carries out `plan`; None: it goes stage by stage."""
        meter = leg.find_meter()
        if plan == PLAIN:
            return self._forward if meter is None else self._forward_and_measure
        if plan == SECURED or (plan == SECURED_BY_DTLS and leg.security is not None):
            return self._new_secured(leg, meter) if sends_all(leg) else None
        if plan in SHARED_PORT and has_fast_ways(leg):
            return self._new_shared_port(leg) if leg.security or not plan.protocols else None
        if plan != BY_SOURCE or meter is None or not leg.latched:
            return None
        source = sole_latched_source(media_socket.legs, media_socket)
        if source is None:
            return None
        send = self._egress.sender(leg)
        return self._new_by_source(leg, send, meter, received_address(source))

    def serve_waiting(self, media_socket: MediaSocket, sock: socket.SocketType, *, most: int) -> list[Leg]:
        """Serve packets that wait at a socket, each by its source, in their order.

        Args:
            media_socket: whose legs get them.
            sock: itself, or the socket beside it.
            most: most packets.

        Returns:
            The legs whose source or state changed.
        """
        self._poll.now = time.monotonic()  # a command may cause this, long after the last batch
        changed: list[Leg] = []
        for _ in range(most):
            legs = self._admit_next(media_socket, sock)
            if legs is None:
                break
            changed += legs
        return changed

    # --- readers --------------------------------------------------------------------------------------

    def _drop_next(self, media_socket: MediaSocket) -> None:
        try:
            size = media_socket.recv_into(self._buffer)
        except OSError:
            self._note_errors(media_socket)
            return
        self._traffic.drop(Drop.NO_SESSION, size)

    def _latch_next(self, media_socket: MediaSocket) -> None:
        if changed := self._admit_next(media_socket, media_socket):
            self._changed(changed)

    def _latch_beside(self, media_socket: MediaSocket) -> None:
        if media_socket.beside is not None and (
            changed := self._admit_next(media_socket, media_socket.beside)
        ):
            self._changed(changed)

    def _admit_older(self, media_socket: MediaSocket) -> None:
        """Serve a packet that may have come before the socket was connected, and so from any source."""
        try:
            size, source, ttl = self._collect(media_socket, media_socket)
        except BlockingIOError:
            media_socket.older = 0
            self._note_errors(media_socket)
        except OSError:
            self._note_errors(media_socket)
        else:
            media_socket.older = max(0, media_socket.older - 1)
            if changed := self._admit(media_socket, size, source, ttl):
                self._changed(changed)
        if not media_socket.older:
            self._caught_up(media_socket)

    def _admit_other(self, media_socket: MediaSocket, size: int, source: Endpoint) -> None:
        if changed := self._admit(media_socket, size, source, 0):
            self._changed(changed)

    def _pass_next(self, media_socket: MediaSocket) -> None:
        ttl = 0
        try:
            if media_socket.reads_ttl:
                size, _, ttl = loop_guard.receive(media_socket, self._buffer)
            else:
                size = media_socket.recv_into(self._buffer)
        except OSError:
            self._note_errors(media_socket)
            return
        if size and self._buffer[0] < MEDIA_FROM and are_meant(media_socket, self._view[:size]):
            self._hand_over(media_socket, self._view[:size])
            return
        opened = self._stages.open(media_socket.legs, self._view[:size])
        if opened is not None:
            packet, (leg,) = opened
            self._stages.process(leg, classify(packet), packet, ttl)

    # --- admission ------------------------------------------------------------------------------------

    def _admit_next(self, media_socket: MediaSocket, sock: socket.SocketType) -> Sequence[Leg] | None:
        """Collect the next packet, and admit it.

        Returns:
            The legs whose source or state changed; None if no packet waits.
        """
        try:
            size, source, ttl = self._collect(media_socket, sock)
        except BlockingIOError:
            self._note_errors(media_socket)
            return None
        except OSError:
            self._note_errors(media_socket)
            return ()
        return self._admit(media_socket, size, source, ttl)

    def _collect(self, media_socket: MediaSocket, sock: socket.SocketType) -> tuple[int, Endpoint, int]:
        """Read the next packet; returns its size, its source and its TTL (0: it is not read)."""
        if media_socket.reads_ttl:
            return loop_guard.receive(sock, self._buffer)
        size, address = sock.recvfrom_into(self._buffer)
        return size, endpoint_of(address), 0

    def _admit(self, media_socket: MediaSocket, size: int, source: Endpoint, ttl: int) -> Sequence[Leg]:
        """Decide by the kind and source of the packet in the buffer, and send it.

        Returns:
            The legs whose source or state changed.
        """
        if not media_socket.legs:
            self._traffic.drop(Drop.NO_SESSION, size)
            return ()
        if size and self._buffer[0] < MEDIA_FROM and are_meant(media_socket, self._view[:size]):
            return self._take_protocol(media_socket, self._view[:size], source)
        opened = self._stages.open(media_socket.legs, self._view[:size])
        if opened is None:
            return ()
        packet, legs = opened
        kind = classify(packet)
        leg, changed = admit(legs, source, packet, now=self._poll.now)
        if leg is None:
            # of several legs, the last is the newest session's
            self._egress.refuse(media_socket.legs[-1], source, size)
        else:
            self._stages.process(leg, kind, packet, ttl)
        return changed

    def _note_errors(self, media_socket: MediaSocket) -> None:
        """Note for the ends that a socket sends to what ICMP says of them."""
        for destination in read_unreachable(media_socket):
            for leg in media_socket.legs:
                if leg.destination == destination:
                    leg.note_unreachable(now=self._poll.now)

    def _take_protocol(
        self, media_socket: MediaSocket, packet: memoryview, source: Endpoint
    ) -> Sequence[Leg]:
        """Give a packet to the protocols of the ends at its socket; one that no end takes is dropped.

        Returns:
            The legs whose source or keys changed.
        """
        changed = self._protocols.receive(media_socket, packet, source)
        if changed is None:
            self._egress.refuse(media_socket.legs[-1], source, len(packet))
            return ()
        return changed

    def _hand_over(self, media_socket: MediaSocket, packet: memoryview) -> None:
        """The same at a connected socket."""
        assert media_socket.peer is not None, "its plan says BY_KERNEL"
        if changed := self._take_protocol(media_socket, packet, media_socket.peer):
            self._changed(changed)

    def _refuse(self, leg: Leg, packet: memoryview, refusal: Refusal) -> None:
        """What becomes of a packet at a connected socket that no key opens."""
        if are_meant(socket_of(leg), packet):
            self._hand_over(connected_socket_of(leg), packet)
        elif is_stun(packet):
            self._stages.process(leg, MediaKind.RTP, packet, 0)
        else:
            self._egress.drop(leg, DROPS[refusal], len(packet))
