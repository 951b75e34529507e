"""The path in the kernel, as a shard uses it: which directions go there, and when they come back.

A direction moves into the kernel when its source is latched and its destination is known. A change to either
(a re-INVITE, relatching, a hold, the end) changes or removes the flow before the command that caused it is
answered. Packets that the kernel does not take arrive at the socket, so a direction always has a path.

The module knows sockets, legs and flows; nh.shard.media.paths decides when it is called, and which directions
can be in the kernel at all is `offload_rules`.
"""

import itertools
import logging
import time
from collections.abc import Sequence
from typing import Final, cast

from nh.calls.leg import Leg
from nh.calls.rtcp_reports import reads_rtcp
from nh.errors import KernelPathUnavailable, KernelTableFull
from nh.fastpath import layout
from nh.fastpath.flows import FlowTable
from nh.fastpath.moving_flows import MovingFlows
from nh.fastpath.netlink.routes import NoRoute, Routes
from nh.logs.throttle import OnceLogger
from nh.loop import Loop
from nh.shard.media.kernel.flow import KernelFlow
from nh.shard.media.kernel.moves import Moves
from nh.shard.media.kernel.offload_rules import find_obstacle, why_not_latched
from nh.shard.media.kernel.route_cache import RouteCache
from nh.shard.media.kernel.stale_flows import StaleFlows
from nh.shard.media.sockets.media_socket import MediaSocket, socket_of

logger = logging.getLogger(__name__)

FULL: Final = "the kernel's table of flows is full"
"""Why a direction waits for another flow to end."""

MAX_RETRIED: Final = 200
"""Most directions that are retried in one sweep, so that a lasting refusal costs little."""

FEW_LOOKS_A_SECOND: Final = 40
"""Most looks at flows that housekeeping does, in a millisecond each time; more have turns of their own."""

SHARE_AT_ONCE: Final = 0.025
"""The part of all flows that a poll looks at before it asks whether that was much: after a pause, or in a new
process, all of them may ask for a look."""

MAX_WARNINGS: Final = 16
"""Most different warnings that a shard logs in its life."""


class KernelPath:
    """Moves directions into the kernel and back.

    Call watch() before anything is relayed.

    Args:
        flows: the flows of the shard.
        routes: the routing of the host: where packets leave it.

    Attributes:
        without_room: directions that found no room in the flow table.
    """

    def __init__(self, flows: FlowTable, routes: Routes) -> None:
        self.without_room = 0
        self._flows = flows
        self._routes = RouteCache(routes, lambda: flows.counters.too_big_messages)
        self._ended: list[KernelFlow] = []
        self._routed: dict[MediaSocket, None] = {}  # whose flow depends on a route
        self._waiting: dict[MediaSocket, None] = {}  # for room, or to be retried after a refusal
        self._to_end: list[KernelFlow] = []  # of sockets that were closed while flows are held
        self._stale: list[MediaSocket] = []
        self._moves: Moves | None = None
        self._moves_refused = 0
        self._looks_a_second = 0.0
        self._warnings = OnceLogger(logger, MAX_WARNINGS)
        self._stale_flows = StaleFlows(flows, self._warn_once)

    @property
    def flows(self) -> int:
        """Number of directions that the kernel forwards."""
        return len(self._flows)

    @property
    def refused(self) -> int:
        """How many changes of flows, and questions for them, the kernel has refused."""
        return self._flows.refused + self._moves_refused

    @property
    def is_blind(self) -> bool:
        """Whether the kernel may forward for legs without telling them, so that they seem to be silent: the
        flows of the process before cannot be found, or are not all adopted yet."""
        return self._stale_flows.may_be_unheard

    @property
    def totals(self) -> tuple[int, int]:
        """Packets and bytes of all flows, ended ones included."""
        return self._flows.counters.totals

    def add_carry_over(self, packets: int, size_bytes: int) -> None:
        """Add to the totals what the kernel forwarded for the shard process before."""
        self._flows.counters.add_carry_over(packets, size_bytes)

    def watch(self, loop: Loop) -> None:
        """Follow the host's routes, and remove flows of the process before that no call adopted.

        Where the routes cannot be followed, all directions are in user space until sweep() can do it.
        """
        self._stale_flows.remove()
        self._routes.watch(loop, self.routes_changed)
        if self._routes.unwatched:
            self._warn_once(f"media stay in user space, and nh tries again: {self._routes.unwatched}")
            self.routes_changed()  # there may be adopted flows

    def find_stale_flows(self) -> None:
        """Find the flows of the process before; see FlowTable. If the kernel refuses, sweep() tries again."""
        self._flows.find_stale_flows()

    def move_from(self, flows: MovingFlows) -> None:
        """Go on from the flows of the run before, which are in other maps; before anything is relayed.

        Args:
            flows: closed by the first sweep(), when all restored calls are relayed.
        """
        self._moves = Moves(flows, self._flows.counters.add_carry_over, self._on_move_refused)

    def has_stale_flow(self, media_socket: MediaSocket) -> bool:
        """Whether the process before left a flow at the socket that is not adopted yet."""
        return self._flows.has_stale_flow(media_socket.local)

    def hold(self) -> None:
        """Leave all flows as they are from now on: another process is to go on with those that it finds.

        One that began would be unknown to it, and would use a counter that is free in its books.
        """
        self._flows.hold()

    def release(self) -> None:
        """The flows are this process's again, after hold().

        Each socket needs an update(), which writes its flow again: the other process may have removed it.
        """
        self._flows.release()
        while self._to_end:
            flow = self._to_end.pop()
            flow.end()
            self._ended.append(flow)

    def update(self, media_socket: MediaSocket) -> bool:
        """Make the flow of a socket what its legs say: begin it, change it or end it.

        Returns:
            Whether a flow has begun: packets that wait at the socket are older than those that the flow
                forwards.
        """
        if self._flows.held:
            return False
        if self._moves is None:
            return self._update(media_socket)
        begin = self._moves.begin(media_socket)
        begun = self._update(media_socket)
        self._moves.end(media_socket, begin, _flow_of(media_socket))
        return begun

    def _update(self, media_socket: MediaSocket) -> bool:
        flow, legs = _flow_of(media_socket), media_socket.legs
        entry = self._entry_for(media_socket, legs)
        if flow is not None and (isinstance(entry, str) or not flow.fits(legs[0])):
            self._end(media_socket, flow)
            flow = None
        why = entry if isinstance(entry, str) else self._carry_out(media_socket, flow, entry)
        for leg in legs:
            leg.not_offloaded = why
        return flow is None and media_socket.flow is not None

    def forget(self, media_socket: MediaSocket) -> None:
        """End the flow of a socket that is about to be closed."""
        flow = _flow_of(media_socket)
        if flow is not None:
            self._end(media_socket, flow)
        self._routed.pop(media_socket, None)
        self._waiting.pop(media_socket, None)

    def sweep(self) -> None:
        """Count what ended flows still forwarded, free their counter indexes, mark flows, and try again what
        the system has refused."""
        if self._moves is not None:
            self._moves.close()
            self._moves = None
        if self._flows.held:
            return
        ended, self._ended = self._ended, []
        for flow in ended:
            if flow.clear():
                self._flows.counters.free_index(flow.entry.counter_index)
            else:
                self._warn_once(
                    "flows that ended still forward: the kernel refuses to remove them; nh retries"
                )
                self._ended.append(flow)
        if self._stale_flows.sweep(now=time.monotonic()):
            self._stale += self._waiting  # all at once: their flows are removed soon
            self._waiting.clear()
        self._flows.update_markers()
        self._watch_again()
        for media_socket in list(
            itertools.islice(self._waiting, min(self._flows.counters.room, MAX_RETRIED))
        ):
            del self._waiting[media_socket]
            self._stale.append(media_socket)

    def _watch_again(self) -> None:
        """Follow the routes, if that was impossible before."""
        if self._routes.unwatched:
            self._routes.watch_again()
            if not self._routes.unwatched:
                self.routes_changed()

    def poll(self, *, since_s: float, round_s: float, now: float) -> None:
        """Look at flows that ask for it (KernelFlow.look), in one part of a round over all.

        Args:
            since_s: seconds since the last call, at most `round_s`.
            round_s: the time of a round.
            now: monotonic seconds.
        """
        left, looks = since_s / round_s, 0
        while left > 0 and looks <= FEW_LOOKS_A_SECOND * since_s:  # the next call goes on from there
            share = min(left, SHARE_AT_ONCE)
            left -= share
            for flow in self._flows.counters.find_due(share):
                flow.look(now=now)
                looks += 1
        self._looks_a_second = looks / since_s

    @property
    def has_to_poll(self) -> bool:
        """Whether poll(), or take_stale(), has so much to do that it needs turns of its own."""
        return bool(self._stale) or self._looks_a_second > FEW_LOOKS_A_SECOND

    def routes_changed(self) -> None:
        """Look up the route of every direction again: routing has changed."""
        self._routes.forget()
        self._stale = list(self._routed)

    def take_stale(self, most: int) -> list[MediaSocket]:
        """The next sockets, at most `most`, that need an update()."""
        now = time.monotonic()
        if self._routed and self._routes.path_mtus_changed(now=now):
            self.routes_changed()
        if self._routes.path_mtus_forgotten(now=now):
            self._flows.doubt()
            self._stale = list(self._routed)
        taken, self._stale = self._stale[:most], self._stale[most:]
        return [media_socket for media_socket in taken if media_socket in self._routed]

    def close(self) -> None:
        """Remove all flows from the kernel."""
        self._routes.close()
        self.sweep()
        try:
            self._flows.close()
        except KernelPathUnavailable as refusal:
            self._warn_once(f"flows are left in the kernel and still forward: {refusal}")

    def _entry_for(self, media_socket: MediaSocket, legs: Sequence[Leg]) -> layout.FlowEntry | str:
        """The flow table entry for a socket with these legs, without its counter index, or why there is
        none."""
        self._routed.pop(media_socket, None)
        self._waiting.pop(media_socket, None)
        if len(legs) != 1:
            return "several ends send to this port" if legs else ""
        leg = legs[0]
        source = leg.source if leg.latched else None
        destination = None if source is None else leg.egress.destination
        if source is None or destination is None:
            return why_not_latched(leg)
        if obstacle := find_obstacle(leg, source, destination):
            return obstacle
        out = socket_of(leg.egress)
        self._routed[media_socket] = None
        tos = out.dscp << 2
        route = self._routes.find(destination.address, out.local.address, tos)
        if unknown := self._stale_flows.unknown:
            self._waiting[media_socket] = None
            return unknown
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
            tos=tos,
            leave_rtcp=leg.payload_types is not None and reads_rtcp(leg),
            shard=self._flows.shard,
        )

    def _carry_out(self, media_socket: MediaSocket, flow: KernelFlow | None, entry: layout.FlowEntry) -> str:
        """Begin or change a flow.

        Returns:
            Why that is not possible, "" if it was done.
        """
        try:
            if flow is None:
                self._begin(media_socket, entry)
            else:
                flow.change(entry)
        except KernelTableFull:
            self._warn_once(f"{FULL}: further directions stay in user space; raise kernel_flows")
            self.without_room += media_socket.legs[0].not_offloaded != FULL
            if flow is not None:
                self._end(media_socket, flow)
            self._waiting[media_socket] = None
            return FULL
        except KernelPathUnavailable as refusal:
            self._warn_once(f"a direction stays in user space until the kernel accepts its flow: {refusal}")
            flow = _flow_of(media_socket)  # it may have been adopted, and is as the process before left it
            if flow is not None:
                self._end(media_socket, flow)
            self._waiting[media_socket] = None
            return str(refusal)
        return ""

    def _begin(self, media_socket: MediaSocket, entry: layout.FlowEntry) -> None:
        leg = media_socket.legs[0]
        stale = self._flows.adopt_stale_flow(media_socket.local)
        if stale is not None:
            flow = KernelFlow(self._flows, media_socket.local, leg, stale, stale=True)
            media_socket.flow = flow
            flow.change(entry)
            return
        index = self._flows.counters.take_index()
        entry = entry._replace(counter_index=index)
        try:
            media_socket.flow = KernelFlow(self._flows, media_socket.local, leg, entry)
        except KernelPathUnavailable:
            self._flows.counters.free_index(index)
            raise

    def _end(self, media_socket: MediaSocket, flow: KernelFlow) -> None:
        media_socket.flow = None
        if self._flows.held:
            self._to_end.append(flow)
            return
        flow.end()
        self._ended.append(flow)

    def _on_move_refused(self, warning: str) -> None:
        self._moves_refused += 1
        self._warn_once(warning)

    def _warn_once(self, warning: str) -> None:
        self._warnings.warn(warning, "%s", warning)


def _flow_of(media_socket: MediaSocket) -> KernelFlow | None:
    """Its flow: no other module makes one."""
    return cast("KernelFlow | None", media_socket.flow)
