"""The path in the kernel, as a shard uses it: which directions go there, and when they come back.

A direction moves into the kernel when its source is latched and its destination is known. A change to either
(a re-INVITE, relatching, a hold, the end) changes or removes the flow before the command that caused it is
answered. What the kernel does not take arrives at the socket as ever, so a
direction is never without a path.

It knows sockets, legs and flows; when to look is Forwarding's business.
"""

import dataclasses
import itertools
import logging
from typing import Final

from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.source import SourcePolicy
from nh.errors import KernelPathUnavailable, KernelTableFull
from nh.fastpath import layout
from nh.fastpath.flows import FlowTable
from nh.fastpath.netlink.route_watch import RouteWatch
from nh.fastpath.netlink.routes import NoRoute, Route, Routes
from nh.loop import Loop
from nh.shard.media.kernel_flow import Flow
from nh.shard.media.sockets import MediaSocket, socket_of

logger = logging.getLogger(__name__)

FULL: Final = "the kernel's table of flows is full"
"""Why a direction waits for another one to end."""

MAX_KNOWN_ROUTES: Final = 4096
"""Most routes that are remembered until routing changes."""

MAX_RETRIED: Final = 200
"""Most directions that are tried again in one sweep: a refusal that lasts must not cost more than that."""

MAX_SAID: Final = 16
"""Most different warnings in a shard's life."""


class KernelPath:
    """Moves directions into the kernel and back.

    Arguments:
        flows: the shard's flows.
        routes: where packets leave the host.

    `refused` counts the directions that found no room. watch() has to be called before anything is relayed.
    """

    def __init__(self, flows: FlowTable, routes: Routes) -> None:
        self.refused = 0
        self._flows = flows
        self._routes = routes
        self._route_watch: RouteWatch | None = None
        self._ended: list[Flow] = []
        self._routed: dict[MediaSocket, None] = {}  # whose way depends on routes
        self._waiting: dict[MediaSocket, None] = {}  # for room, or for the kernel to be in a better mood
        self._stale: list[MediaSocket] = []
        self._known_routes: dict[tuple[str, str], Route] = {}
        self._said: set[str] = set()

    @property
    def flows(self) -> int:
        """How many directions are in the kernel."""
        return len(self._flows)

    @property
    def totals(self) -> tuple[int, int]:
        """Packets and bytes of all directions that there ever were."""
        return self._flows.totals

    def add_carry_over(self, packets: int, size_bytes: int) -> None:
        """Count what was relayed before as well."""
        self._flows.add_carry_over(packets, size_bytes)

    def watch(self, loop: Loop) -> None:
        """Begin: follow the host's routes, and remove what a predecessor relayed and no call took over."""
        self._flows.remove_stale_flows()
        self._route_watch = RouteWatch(loop, self.routes_changed)

    def update(self, media_socket: MediaSocket) -> bool:
        """What arrives at a socket, or where it goes, may have changed: let the kernel do as the legs say.

        Returns whether the kernel relays from now on what it did not before: then packets that wait at the
        socket are older than those that the kernel takes.
        """
        flow = media_socket.flow
        way = self._find_way(media_socket)
        if flow is not None and (isinstance(way, str) or flow.leg is not media_socket.legs[0]):
            self._end(media_socket, flow)
            flow = None
        why = way if isinstance(way, str) else self._carry_out(media_socket, flow, way)
        for leg in media_socket.legs:
            leg.not_offloaded = why
        return flow is None and media_socket.flow is not None

    def forget(self, media_socket: MediaSocket) -> None:
        """A socket is about to be closed."""
        if media_socket.flow is not None:
            self._end(media_socket, media_socket.flow)
        self._routed.pop(media_socket, None)
        self._waiting.pop(media_socket, None)

    def sweep(self) -> None:
        """Count what was on its way when flows ended, and let others have their room."""
        ended, self._ended = self._ended, []
        for flow in ended:
            if flow.clear():
                self._flows.free_index(flow.told.counter_index)
            else:
                self._say_once("flows that ended are still in the kernel, which refuses to remove them")
                self._ended.append(flow)
        for media_socket in list(itertools.islice(self._waiting, min(self._flows.room, MAX_RETRIED))):
            del self._waiting[media_socket]
            self._stale.append(media_socket)

    def routes_changed(self) -> None:
        """Packets may leave the host another way: look at every direction anew."""
        self._routes.forget_links()
        self._known_routes.clear()
        self._stale = list(self._routed)

    def take_stale(self, most: int) -> list[MediaSocket]:
        """The next sockets, `most` of them at most, that update() has to look at."""
        taken, self._stale = self._stale[:most], self._stale[most:]
        return [media_socket for media_socket in taken if media_socket in self._routed]

    def close(self) -> None:
        """Leave nothing in the kernel."""
        if self._route_watch is not None:
            self._route_watch.close()
        self.sweep()
        try:
            self._flows.close()
        except KernelPathUnavailable as refusal:
            self._say_once(f"flows are left in the kernel: {refusal}")
        self._routes.close()

    def _find_way(self, media_socket: MediaSocket) -> layout.FlowEntry | str:
        """What the kernel should do (the counter index is still to come), or why it cannot."""
        self._routed.pop(media_socket, None)
        self._waiting.pop(media_socket, None)
        if len(media_socket.legs) != 1:
            return "several ends send to this port" if media_socket.legs else ""
        leg = media_socket.legs[0]
        source, destination = leg.source, leg.onward.destination
        if source is None or destination is None or not media_socket.connected:
            return _not_latched(leg)
        if obstacle := _obstacle(leg, source, destination):
            return obstacle
        out = socket_of(leg.onward)
        self._routed[media_socket] = None
        route = self._find_route(destination.address, out.local.address)
        if isinstance(route, NoRoute):
            if not route.sure:
                self._waiting[media_socket] = None
            return f"{destination.address}: {route.why}"
        return layout.FlowEntry(
            source=source,
            out=out.local,
            target=destination,
            ifindex=0 if route.local else route.ifindex,
            counter_index=0,
            mtu_bytes=route.mtu_bytes,
            tos=out.dscp << 2,
            shard=self._flows.shard,
        )

    def _carry_out(self, media_socket: MediaSocket, flow: Flow | None, way: layout.FlowEntry) -> str:
        """Begin or change a flow; returns why that is not possible, "" if it is."""
        try:
            if flow is None:
                self._begin(media_socket, way)
            else:
                flow.change(way)
        except KernelTableFull:
            self._say_once(f"{FULL}: further directions stay in user space; raise kernel_flows")
            self.refused += media_socket.legs[0].not_offloaded != FULL
            self._waiting[media_socket] = None
            return FULL
        except KernelPathUnavailable as refusal:
            self._say_once(f"a direction stays in user space: {refusal}")
            if flow is not None:
                self._end(media_socket, flow)
            self._waiting[media_socket] = None
            return str(refusal)
        return ""

    def _find_route(self, destination: str, source: str) -> Route | NoRoute:
        known = self._known_routes.get((destination, source))
        if known is not None:
            return known
        route = self._routes.find(destination, source)
        if isinstance(route, Route):
            if len(self._known_routes) >= MAX_KNOWN_ROUTES:
                self._known_routes.clear()
            self._known_routes[destination, source] = route
        return route

    def _begin(self, media_socket: MediaSocket, way: layout.FlowEntry) -> None:
        left = self._flows.adopt_stale_flow(media_socket.local)
        if left is not None:
            flow = Flow(self._flows, media_socket.local, media_socket.legs[0], left, left=True)
            media_socket.flow = flow
            flow.change(way)
            return
        index = self._flows.take_index()
        told = dataclasses.replace(way, counter_index=index)
        try:
            media_socket.flow = Flow(self._flows, media_socket.local, media_socket.legs[0], told)
        except KernelPathUnavailable:
            self._flows.free_index(index)
            raise

    def _end(self, media_socket: MediaSocket, flow: Flow) -> None:
        flow.end()
        media_socket.flow = None
        self._ended.append(flow)

    def _say_once(self, what: str) -> None:
        if what not in self._said and len(self._said) < MAX_SAID:
            self._said.add(what)
            logger.warning("%s", what)


def _not_latched(leg: Leg) -> str:
    """Why nobody knows for good where packets come from, or where they go."""
    if leg.policy in (SourcePolicy.HANDOVER, SourcePolicy.ASYMMETRIC):
        return "its policy never latches"
    if not leg.latched:
        return "its source is not latched yet"
    if leg.onward.destination is None:
        return "the other end does not receive, or nobody knows yet where it is"
    return "the host has no route to its source"


def _obstacle(leg: Leg, source: Endpoint, destination: Endpoint) -> str:
    """What about a latched direction is beyond the kernel's program; "" if nothing is."""
    if leg.blocked:
        return "its end is blocked"
    if leg.rtcp is not None:
        return "RTCP comes to the same port and has to be told from RTP"
    if layout.family(source.address) != layout.family(destination.address):
        return "it goes from one IP version to the other"
    return ""
