"""Forwarding: keeps sockets, kernel flows and readers in line with what the legs say.

Packets are served in four steps. Readers collect a packet, decide by the rules of the domain, and send it
(nh.shard.media.readers). What a packet changed, such as a leg that has latched, is applied here at the end of
the batch: the socket is connected, a kernel flow begins or changes, and the plans of the sockets concerned
are compiled anew. Applying never runs inside a reader, so nothing is re-entered.

Packets that waited at a socket before it was connected came from any source. apply() serves them by their
source, in their order, before the socket gets a reader that leaves the source to the kernel.

Until activate(), another process may still use the sockets of restored calls. They are left as they are,
neither connected nor read, and kernel flows continue. activate() brings all of them into the state that their
legs want.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

from nh.calls.leg import Leg
from nh.calls.session import Pair
from nh.shard.media.egress import Egress
from nh.shard.media.kernel_path import KernelPath
from nh.shard.media.loop_guard import LocalPorts
from nh.shard.media.pipeline import NO_SESSION, plan_for, sole_latched_source
from nh.shard.media.poll import MediaPoll
from nh.shard.media.readers import Readers
from nh.shard.media.sockets import MediaSocket, socket_of
from nh.shard.media.totals import TrafficTotals

logger = logging.getLogger(__name__)


class Forwarding:
    """The readers of all media sockets of one relay.

    Args:
        poll: watches the sockets.
        traffic: counts packets and drops.
        local_ports: the media ports of this relay (nh.shard.media.loop_guard).
        kernel: moves directions into the kernel; None: all packets stay in user space.
        kernel_off: why there is no path in the kernel, for `nh calls`.
        source_changed: called with the call-id and the leg whose source or state changed.
    """

    def __init__(
        self,
        poll: MediaPoll,
        traffic: TrafficTotals,
        local_ports: LocalPorts,
        *,
        kernel: KernelPath | None = None,
        kernel_off: str = "",
        source_changed: Callable[[bytes, Leg], None] = lambda _call_id, _leg: None,
    ) -> None:
        self._active = False  # until activate()
        self._poll = poll
        self._local_ports = local_ports
        self._kernel = kernel
        self._kernel_off = kernel_off
        self._source_changed = source_changed
        self._changed_legs: dict[Leg, None] = {}  # by packets of the current batch
        self._readers = Readers(poll, traffic, Egress(traffic, local_ports), self._apply_after_batch)

    # --- sockets and sessions -------------------------------------------------------------------------

    def open(self, media_socket: MediaSocket) -> None:
        """Watch a new socket; no leg receives there yet."""
        self._poll.add(media_socket.fd, self._readers.compile(media_socket, NO_SESSION))

    def close(self, media_socket: MediaSocket) -> None:
        """Stop watching a socket. To be called before it is closed."""
        if self._kernel is not None:
            self._kernel.forget(media_socket)
        self._poll.remove(media_socket.fd)

    def start(self, pair: Pair) -> None:
        """Let both legs of `pair` receive, beside the legs that share their sockets."""
        for leg in (pair.from_, pair.to):
            media_socket = socket_of(leg)
            media_socket.legs += (leg,)
        self._legs_changed(pair)

    def stop(self, pair: Pair) -> None:
        """Let neither leg of `pair` receive any more; legs that share their sockets go on."""
        for leg in (pair.from_, pair.to):
            media_socket = socket_of(leg)
            media_socket.legs = tuple(other for other in media_socket.legs if other is not leg)
        self._legs_changed(pair)

    def _legs_changed(self, pair: Pair) -> None:
        media_sockets = [socket_of(pair.from_), socket_of(pair.to)]
        if self._active:
            for media_socket in media_sockets:
                media_socket.disconnect()
        self.apply(self._refresh(media_sockets))

    # --- applying what changed ------------------------------------------------------------------------

    def apply(self, legs: Iterable[Leg]) -> None:
        """Bring sockets in line with legs whose source or state changed, those that send to them too."""
        changed = list(legs)
        while changed:
            media_sockets: dict[MediaSocket, None] = {}
            for leg in changed:
                media_socket = socket_of(leg)
                media_sockets[media_socket] = None
                if self._active and not leg.latched:
                    media_socket.disconnect()
            found = self._refresh(media_sockets)
            for leg in changed:
                self._source_changed(socket_of(leg).call_id, leg)
            changed = found

    def activate(self, media_sockets: Sequence[MediaSocket]) -> None:
        """Bring sockets into the state that their legs want, whatever state another process left them in.

        Args:
            media_sockets: all sockets that a leg receives at.
        """
        self._active = True
        for media_socket in media_sockets:
            # connect(2) replaces the peer of a socket, with no moment in between
            if not self._connect(media_socket):
                media_socket.connected = True
                media_socket.disconnect()
        # packets that wait may be sent through any of the sockets
        for media_socket in media_sockets:
            try:
                changed = self._readers.serve_waiting(media_socket) if media_socket.connected else []
                # the sockets that send through this one are in the list, too
                self.apply(changed + self._update_path(media_socket))
            except Exception:
                # a bug that one socket meets must not keep the others from being served
                logger.exception("the media socket at %s could not be set up", media_socket.local)

    def route_changed(self, media_socket: MediaSocket) -> None:
        """Decide again whether the kernel forwards for a socket: routes or its room changed."""
        self.apply(self._update_path(media_socket))

    def _update_path(self, media_socket: MediaSocket) -> list[Leg]:
        """Decide anew how the packets of a socket are forwarded: by which reader, and whether in the kernel.

        Returns:
            See _refresh().
        """
        if self._kernel is None:
            for leg in media_socket.legs:
                leg.not_offloaded = self._kernel_off
            flow_begins = False
        else:
            flow_begins = self._kernel.update(media_socket)
        plan = plan_for(media_socket.legs, connected=media_socket.connected, local_ports=self._local_ports)
        media_socket.read_ttl(plan.reads_ttl)
        self._poll.set_reader(media_socket.fd, self._readers.compile(media_socket, plan))
        # the packets that wait are older than those that the kernel forwards from now on
        return self._readers.serve_waiting(media_socket) if flow_begins else []

    def _apply_after_batch(self, legs: Sequence[Leg]) -> None:
        if not self._changed_legs:
            self._poll.call_after_batch(self._apply_batch)
        self._changed_legs.update(dict.fromkeys(legs))

    def _apply_batch(self) -> None:
        legs, self._changed_legs = self._changed_legs, {}
        for leg in legs:
            try:
                self.apply((leg,))
            except Exception:
                # a bug that one socket meets must not keep the others from being served
                logger.exception("the media socket at %s could not follow its source", leg.socket.local)

    def _refresh(self, media_sockets: Iterable[MediaSocket]) -> list[Leg]:
        """Connect sockets whose source has latched, and update their paths and those that lead through them.

        Returns:
            The legs that packets changed that had waited at a socket; pass them to apply().
        """
        changed: list[Leg] = []
        paths: dict[MediaSocket, None] = {}
        for media_socket in media_sockets:
            if not self._active:
                if self._kernel is not None and sole_latched_source(media_socket.legs) is not None:
                    # the flow does the same already, or did so for the process that had the socket before
                    self._kernel.update(media_socket)
                continue
            if not media_socket.connected and self._connect(media_socket):
                changed += self._readers.serve_waiting(media_socket)
            paths[media_socket] = None
            for leg in media_socket.legs:
                paths[socket_of(leg.other)] = None
                if leg.rtcp is not None:
                    paths[socket_of(leg.rtcp.other)] = None
        for media_socket in paths:
            changed += self._update_path(media_socket)
        return changed

    def _connect(self, media_socket: MediaSocket) -> bool:
        """Connect a socket to the latched source of its only leg.

        Returns:
            Whether it is connected now.
        """
        source = sole_latched_source(media_socket.legs)
        return source is not None and media_socket.connect(source)
