"""Paths: how the packets of each media socket go, as its legs say.

The kernel forwards them, or they come to the socket: connected to their source or open to all, and to the
reader that its plan is compiled into (nh.shard.media.pipeline.plan, nh.shard.media.pipeline.readers).

Packets that waited at a socket before it was connected came from any source. They are admitted by it, in
their order, until the socket gets a reader that leaves the source to the kernel.
"""

import math
from collections.abc import Callable, Collection
from typing import Final

from nh.calls.leg import Leg
from nh.shard.media.connector import Connector
from nh.shard.media.kernel.path import KernelPath
from nh.shard.media.pipeline.fast_readers import SocketReader
from nh.shard.media.pipeline.plan import plan_for, sole_latched_source
from nh.shard.media.pipeline.readers import Readers
from nh.shard.media.poll import MediaPoll
from nh.shard.media.protocols import EndProtocols
from nh.shard.media.sockets.loop_guard import LocalPorts
from nh.shard.media.sockets.media_socket import MediaSocket

SERVED_BEFORE_FLOW: Final = 64
"""Most packets that are served when a flow begins that they are older than, so that they stay in order. More
are served in later turns: the socket is flooded, or many are."""


class Paths:
    """The paths of all media sockets of one relay.

    Args:
        poll: watches the sockets.
        readers: compiles the plans.
        connector: connects the sockets.
        protocols: what ends say beside the media.
        local_ports: the media ports of this relay (nh.shard.media.sockets.loop_guard).
        kernel: moves directions into the kernel; None: all packets stay in user space.
        path_changed: called with the call-id and each leg at a socket whose packets went into the kernel, or
            out of it.
    """

    def __init__(
        self,
        poll: MediaPoll,
        readers: Readers,
        connector: Connector,
        protocols: EndProtocols,
        local_ports: LocalPorts,
        *,
        kernel: KernelPath | None,
        path_changed: Callable[[bytes, Leg], None],
    ) -> None:
        self._poll = poll
        self._readers = readers
        self._connector = connector
        self._protocols = protocols
        self._local_ports = local_ports
        self._kernel = kernel
        self._path_changed = path_changed
        # one bound method each, which all sockets share
        self._drop: Final = readers.drop
        self._read_first: Final = self._plan_and_read

    def open(self, media_socket: MediaSocket) -> None:
        """Watch a new socket; a packet that comes before its first leg makes a plan that drops it."""
        self._poll.add(media_socket.fileno(), self._read_first, media_socket)

    def close(self, media_socket: MediaSocket) -> None:
        """Stop watching a socket. To be called before it is closed."""
        if self._kernel is not None:
            self._kernel.forget(media_socket)
        if media_socket.beside is not None:
            self._poll.remove(media_socket.beside.fileno())
        self._poll.remove(media_socket.fileno())

    def update(self, media_sockets: Collection[MediaSocket]) -> list[Leg]:
        """Decide anew how the packets of sockets are forwarded: in the kernel or not, at a connected socket
        or not, and by which reader.

        Returns:
            The legs that packets changed that had waited at a socket.
        """
        # packets that wait are older than those that the kernel forwards from now on
        waiting = [each for each in media_sockets if self._update_flow(each)]
        for media_socket in media_sockets:
            self._connector.connect_as_wanted(media_socket)
        changed: list[Leg] = []
        for media_socket in waiting:
            changed += self.serve_waiting(media_socket)
        for media_socket in media_sockets:
            self.set_reader(media_socket)
        return changed

    def update_inherited_flow(self, media_socket: MediaSocket) -> None:
        """Go on with the kernel flow that a socket had in the process before; the socket is left as it is."""
        if self._kernel is None:
            return
        had_flow = media_socket.adopted or self._kernel.has_stale_flow(media_socket)
        if had_flow and sole_latched_source(media_socket.legs, media_socket) is not None:
            # the flow does the same already, or did so for the process that had the socket before
            self._kernel.update(media_socket)

    def take_over(self, media_socket: MediaSocket) -> list[Leg]:
        """Bring the flow and the connection of a socket in line with its legs, whatever another process has
        done with it; set_reader() has to follow.

        Returns:
            The legs that packets changed that had waited at the socket.
        """
        # as in update()
        begun = self._kernel is not None and self._kernel.update(media_socket)
        self._connector.connect_anew(media_socket)
        return self.serve_waiting(media_socket) if begun else []

    def wait_for_first(self, media_sockets: Collection[MediaSocket]) -> bool:
        """Let the next packet of each socket make its plan, as signalling has left it then.

        None has a flow in the kernel then, as none of its legs has latched.

        Returns:
            Whether there is nothing else to do for them; False: nothing is done, because one has a plan
            already, or a leg of it has latched, or has a timer.
        """
        new: list[int] = []  # those without a leg before
        get_reader = self._poll.get_reader
        for media_socket in media_sockets:
            fd = media_socket.fileno()
            reader = get_reader(fd)
            if reader is not self._read_first:
                if reader is not self._drop or not media_socket.is_open_to_all:
                    return False
                new.append(fd)
            for leg in media_socket.legs:
                if leg.latched or leg.bundle or (leg.security is not None and _has_timer(leg)):
                    return False
        for fd in new:
            self._poll.set_reader(fd, self._read_first)
        if self._kernel is not None:
            for media_socket in media_sockets:
                self._update_flow(media_socket)
        return True

    def set_reader(self, media_socket: MediaSocket) -> None:
        """Let the packets of a socket go as its legs say from now on.

        Signalling changes a socket several times before the first packet comes, and many get none: the plan
        of a socket that is open to all is made for that packet.
        """
        if media_socket.is_open_to_all and not media_socket.has_protocols:
            media_socket.output = None
            self._poll.set_reader(media_socket.fileno(), self._read_first)
        else:  # its packets may come beside it; protocols have timers
            self.plan(media_socket)

    def plan(self, media_socket: MediaSocket) -> SocketReader:
        """Make the plan of a socket, and its reader."""
        legs, peer = media_socket.legs, media_socket.peer
        by_kernel = peer is not None and not media_socket.older
        connected = by_kernel and peer == sole_latched_source(legs, media_socket)
        plan = plan_for(legs, connected=connected, local_ports=self._local_ports)
        media_socket.read_ttl(plan.reads_ttl)
        if plan.protocols:
            self._protocols.watch(media_socket)
        reader = self._readers.compile(media_socket, plan)
        self._poll.set_reader(media_socket.fileno(), reader)
        return reader

    def serve_waiting(self, media_socket: MediaSocket) -> list[Leg]:
        """Serve the packets that wait at a socket, by its present plan; see Readers.serve_waiting()."""
        self.plan(media_socket)
        return self._readers.serve_waiting(media_socket, media_socket, most=SERVED_BEFORE_FLOW)

    def _update_flow(self, media_socket: MediaSocket) -> bool:
        """Bring the kernel flow of a socket in line with its legs; returns whether one has begun."""
        if self._kernel is None:
            return False
        before = media_socket.flow is not None
        begun = self._kernel.update(media_socket)
        if before is not (media_socket.flow is not None):
            for leg in media_socket.legs:
                self._path_changed(media_socket.call_id, leg)
        return begun

    def _plan_and_read(self, media_socket: MediaSocket) -> None:
        """The reader of a socket without a plan.

        If a bug keeps it from having one, its packets are dropped: one that waited there would keep the poll
        busy.
        """
        self._poll.set_reader(media_socket.fileno(), self._drop)
        self.plan(media_socket)(media_socket)


def _has_timer(leg: Leg) -> bool:
    """Whether something is to be done for the end of a leg at some time, although no packet comes: that of
    ICE sends nothing by itself."""
    return leg.dtls is not None and leg.dtls.timer_at < math.inf
