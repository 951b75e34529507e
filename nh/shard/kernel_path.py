"""The path in the kernel, as a shard uses it: which directions go there, and when they come back.

A direction is moved when its socket takes one settled source and it is known where its packets go. Whatever
changes one of that (a re-INVITE, a source to settle anew, a hold, the end) changes or removes the flow before the
command that did it is answered. What the kernel does not take arrives at the socket as ever, so a direction is never
without a path.

It knows sockets, legs and flows; when to look is Forwarding's business.
"""

import logging
import math
from typing import Final, NamedTuple

from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.errors import KernelPathUnavailable
from nh.fastpath import layout
from nh.fastpath.flows import FlowTable
from nh.fastpath.routes import NoRoute, Route, Routes
from nh.shard.kernel_flow import Flow
from nh.shard.sockets import MediaSocket

logger = logging.getLogger(__name__)

FULL: Final = "the kernel's table of flows is full; raise kernel_flows"
"""Why a direction waits for another one to end."""


class KernelPath:
    """Moves directions into the kernel and back.

    Arguments:
        flows: the shard's flows.
        routes: where packets leave the host.

    `refused` counts the directions that found no room.
    """

    def __init__(self, flows: FlowTable, routes: Routes) -> None:
        self._flows = flows
        self._routes = routes
        self._retired: list[Flow] = []
        self._watched: dict[MediaSocket, None] = {}  # whose way depends on routes
        self._waiting: dict[MediaSocket, None] = {}  # for room
        self._stale: list[MediaSocket] = []
        self.refused = 0

    @property
    def flows(self) -> int:
        """How many directions are in the kernel."""
        return len(self._flows)

    @property
    def totals(self) -> tuple[int, int]:
        """Packets and bytes of all directions that there ever were."""
        return self._flows.totals

    def update(self, media_socket: MediaSocket) -> bool:
        """What arrives at a socket, or where it goes, may have changed: let the kernel do as the legs say.

        Returns whether the kernel relays from now on what it did not before: then packets that wait at the
        socket are older than those that the kernel takes.
        """
        legs, flow = media_socket.legs, media_socket.flow
        way = self._find_way(media_socket)
        if isinstance(way, _Way) and flow is not None and flow.leg is legs[0]:
            way = self._change(flow, way)
            if not way:
                return False
        if flow is not None:
            self._remove(media_socket, flow)
        if isinstance(way, _Way):
            way = self._add(media_socket, way)
        for leg in legs:
            leg.not_offloaded = way
        return media_socket.flow is not None

    def forget(self, media_socket: MediaSocket) -> None:
        """A socket is about to be closed."""
        if media_socket.flow is not None:
            self._remove(media_socket, media_socket.flow)
        self._watched.pop(media_socket, None)
        self._waiting.pop(media_socket, None)

    def sweep(self) -> None:
        """Count what was on its way when flows were removed, and let others have their room."""
        for flow in self._retired:
            flow.collect()
            self._flows.free_slot(flow.slot)
        self._retired.clear()
        if self._waiting and self._flows.room:
            self._stale.extend(self._waiting)
            self._waiting.clear()

    def routes_changed(self) -> None:
        """Packets may leave the host another way: look at every direction anew."""
        self._routes.forget()
        self._stale = list(self._watched)

    def take_stale(self, most: int) -> list[MediaSocket]:
        """The next sockets, `most` of them at most, that update() has to look at."""
        taken, self._stale = self._stale[:most], self._stale[most:]
        return [media_socket for media_socket in taken if media_socket in self._watched]

    def close(self) -> None:
        """Leave nothing in the kernel."""
        self.sweep()
        self._flows.close()
        self._routes.close()
