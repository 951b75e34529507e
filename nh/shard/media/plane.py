"""The media plane of a shard: sockets, poll, forwarding and the path in the kernel, as the domain uses them.

It implements nh.calls.media_plane.MediaPlane. It also lets time pass for legs: windows end. It knows nothing
of calls or commands.
"""

import logging
import math
import time
from collections.abc import Mapping
from typing import Final

from nh.calls.events import CallObservers
from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.session import Session
from nh.calls.settings import RelaySettings
from nh.calls.sockets.relay_socket import RelaySocket
from nh.dtls.problem import Problem
from nh.ice.agent import CheckResult
from nh.loop import Loop
from nh.reasons import reason
from nh.shard.media.forwarding import Forwarding
from nh.shard.media.kernel.path import KernelPath
from nh.shard.media.leg_memory import LegMemory
from nh.shard.media.leg_notes import LegNotes
from nh.shard.media.poll import MediaPoll
from nh.shard.media.sockets.buffers import MediaBuffers
from nh.shard.media.sockets.errors import exhausted
from nh.shard.media.sockets.loop_guard import LocalPorts
from nh.shard.media.sockets.media_socket import MediaSocket, sockets_of
from nh.shard.media.sockets.opening import adopt_media_socket, close_media_sockets, open_media_sockets
from nh.shard.media.sockets.udp_errors import UdpErrors
from nh.shard.media.totals import TrafficTotals

logger = logging.getLogger(__name__)

ROUND_S: Final = 4.0
"""Time between two looks at a flow, and at the losses of a socket. Showing or ending a session looks, too."""

LOSSES_S: Final = 0.001
"""How long one watch() asks sockets what they lost: of thousands of sessions, a round takes longer."""

ROUTES_PER_POLL: Final = 300
"""Most routes that are looked up again in one watch(): some milliseconds."""


class SocketPlane:
    """Media over UDP sockets.

    Args:
        settings: how to relay.
        local_ports: the media ports of the whole relay.
        kernel: the path in the kernel, which is closed with the plane; None: there is none.
        kernel_off: why there is none, for `nh calls`.
        events: is told of sockets that open and close, of sources that change, and of legs that need a
            snapshot.
        memory: where counters of legs outlive the process, which is closed with the plane; None: nowhere.

    Attributes:
        kernel: see above.
        poll: serves the sockets; its owner has it served on a loop.
        traffic: the totals; collect() brings them up to date.
        inherited: descriptors of sockets from the process before, by where they are bound: adopt_sockets()
            takes them out.
        shares_ports: whether the process before may still have the ports that adopt_sockets() binds.
    """

    def __init__(
        self,
        settings: RelaySettings,
        local_ports: LocalPorts,
        kernel: KernelPath | None = None,
        kernel_off: str = "",
        *,
        events: CallObservers,
        memory: LegMemory | None = None,
    ) -> None:
        self._events = events
        self.kernel = kernel
        self.poll = MediaPoll()
        self.traffic = TrafficTotals()
        self._settings = settings
        self._local_ports = local_ports
        self._buffers = MediaBuffers(self.traffic)
        self._udp_errors = UdpErrors()
        self._losses_due = 0.0
        self._memory = memory
        self._forwarding = Forwarding(
            self.poll,
            self.traffic,
            local_ports,
            kernel=kernel,
            kernel_off=kernel_off,
            source_changed=self._source_changed,
            path_changed=self._path_changed,
            opened_beside=self._buffers.fit_beside,
            note_leg=LegNotes(memory, self._events).note,
        )
        self.inherited: dict[Endpoint, int] = {}
        self.shares_ports = False
        self._running: dict[Session, None] = {}
        self._latching: set[Session] = set()
        self._round: list[Session] = []
        self._round_sessions = 0

    def change_settings(self, settings: RelaySettings) -> None:
        """Use these settings from now on; open sockets keep their code point."""
        self._settings = settings

    def open_sockets(
        self, address: str, base: int, count: int, dscp: int | None = None, call_id: bytes = b""
    ) -> list[RelaySocket]:
        """See MediaPlane. Packets that arrive before a session is active are read and dropped."""
        dscp = self._settings.dscp if dscp is None else dscp
        return self._begin(open_media_sockets(address, base, count, dscp=dscp), address, call_id)

    def adopt_sockets(
        self, address: str, base: int, count: int, dscp: int | None = None, call_id: bytes = b""
    ) -> list[RelaySocket]:
        """See MediaPlane. Sockets that were not inherited are bound anew."""
        dscp = self._settings.dscp if dscp is None else dscp
        sockets: list[MediaSocket] = []
        try:
            for port in range(base, base + count):
                sockets.append(self._adopt(Endpoint(address, port), dscp))
        except BaseException:
            self._discard(sockets)
            raise
        return self._begin(sockets, address, call_id)

    def _adopt(self, local: Endpoint, dscp: int) -> MediaSocket:
        fd = self.inherited.pop(local, None)
        if fd is not None:
            try:
                return adopt_media_socket(fd, local)
            except OSError as exc:
                logger.error(
                    "the inherited socket at %s is unusable: %s; the port is bound anew, packets may be lost",
                    local,
                    reason(exc),
                )
        return open_media_sockets(local.address, local.port, 1, dscp=dscp, shared=self.shares_ports)[0]

    def _begin(self, opened: list[MediaSocket], address: str, call_id: bytes) -> list[RelaySocket]:
        """Watch new sockets.

        Raises:
            SocketsExhausted: the system cannot watch more; all of `opened` are closed.
        """
        self._local_ports.add(address)
        watched: list[RelaySocket] = []
        try:
            for media_socket in opened:
                self._forwarding.open(media_socket)
                watched.append(media_socket)
        except OSError as exc:  # ENOSPC: fs.epoll.max_user_watches, a limit per user; ENOMEM
            self.close_sockets(watched)
            self._discard(opened[len(watched) :])
            shortage = exhausted(exc, "no more sockets can be watched")
            if shortage is None:
                raise
            raise shortage from exc
        for media_socket in opened:
            media_socket.call_id = call_id
        self._events.sockets_opened(call_id, watched)
        return watched

    def close_sockets(self, sockets: list[RelaySocket]) -> None:
        """See MediaPlane."""
        ours = [media_socket for media_socket in sockets if isinstance(media_socket, MediaSocket)]
        for media_socket in ours:
            self._forwarding.close(media_socket)
        self._discard(ours)

    def _source_changed(self, call_id: bytes, leg: Leg) -> None:
        self._events.source_changed(call_id, leg)

    def _path_changed(self, call_id: bytes, leg: Leg) -> None:
        self._events.path_changed(call_id, leg)

    def _discard(self, sockets: list[MediaSocket]) -> None:
        """Close sockets that are not watched."""
        if sockets:
            self._events.sockets_closing(sockets)
            self._buffers.release(sockets)
        close_media_sockets(sockets)

    def start(self, session: Session) -> None:
        """See MediaPlane."""
        if self._memory is not None:  # before readers are made: it may bring a leg's meter
            self._memory.begin(session)
        self._buffers.fit(session)
        self._forwarding.start(session.legs)
        self._running[session] = None
        self._latching.add(session)

    def renew(self, session: Session) -> None:
        """See MediaPlane."""
        self._forwarding.place(session.legs)
        self._forwarding.renew(session.legs)
        self._latching.add(session)

    def stop(self, session: Session) -> None:
        """See MediaPlane."""
        if not session.untouched:
            self.count_lost(session)  # else no buffer was full
        del self._running[session]
        self._latching.discard(session)
        self._forwarding.stop(session.legs)
        if self._memory is not None:
            self._memory.end(session)

    def attach(self, loop: Loop) -> None:
        """Do on `loop` from now on what takes turns of its own; packets are the poll's."""
        self._forwarding.attach(loop)

    def detach(self) -> None:
        """Leave the loop."""
        self._forwarding.detach()

    def activate(self) -> None:
        """Bring every socket into the state that its legs want: another process may have changed it.

        Before the first call, no socket is touched: another process may still use those of restored calls.
        """
        sockets = sockets_of(leg for session in self._running for leg in session.legs)
        self._forwarding.activate(list(sockets))

    def watch(self, *, since_s: float, now: float) -> None:
        """Look at what tells of no change: what sockets lost, flows in the kernel, routes.

        Each call looks at a part, so that thousands of sessions do not delay the packets.

        Args:
            since_s: seconds since the last call, above 0, at most ROUND_S: the time of a round over all.
            now: monotonic seconds.
        """
        if self._round:
            self._count_some_lost(math.ceil(self._round_sessions * since_s / ROUND_S))
        elif self._running and now >= self._losses_due:
            self._losses_due = now + ROUND_S
            if self._udp_errors.grew():
                self._round = list(self._running)
                self._round_sessions = len(self._round)
        if self.kernel is not None:
            self.kernel.poll(since_s=since_s, round_s=ROUND_S, now=now)
            for media_socket in self.kernel.take_stale(ROUTES_PER_POLL):
                self._forwarding.route_changed(media_socket)

    @property
    def has_to_watch(self) -> bool:
        """Whether watch() has so much to look at that it needs turns of its own, beside housekeeping."""
        return bool(self._round) or (self.kernel is not None and self.kernel.has_to_poll)

    def _count_some_lost(self, most: int) -> None:
        """Ask the next few sockets what they lost, in a round over all, if any of the host has lost packets:
        to ask the four of a call takes as long as to relay several packets."""
        until = time.monotonic() + LOSSES_S
        for _ in range(min(most, len(self._round))):
            session = self._round.pop()  # first: a session that fails must not be asked for ever
            if session in self._running:  # it may have ended since the round began
                self.count_lost(session)
            if time.monotonic() >= until:
                break

    @property
    def legs_not_held(self) -> int:
        """How many legs the memory that outlives the process had no place for."""
        return 0 if self._memory is None else self._memory.missing

    @property
    def checks(self) -> Mapping[CheckResult, int]:
        """Packets of STUN of ends that have ICE with the relay, by what became of them."""
        return self._forwarding.protocols.checks

    @property
    def handshakes(self) -> Mapping[Problem | None, int]:
        """Handshakes of DTLS that have ended, by what was wrong; None: nothing."""
        return self._forwarding.protocols.handshakes

    def count_lost(self, session: Session) -> None:
        """Count what the sockets of a session lost for lack of room, up to now."""
        self._buffers.count_lost(session)

    def add_carry_over(self, packets: int, size_bytes: int) -> None:
        """Count what the kernel forwarded for the process before, in flows that no longer exist."""
        if self.kernel is None:
            self.traffic.kernel_packets += packets
            self.traffic.kernel_bytes += size_bytes
        else:
            self.kernel.add_carry_over(packets, size_bytes)

    def collect(self) -> None:
        """Bring the totals up to date with what the kernel forwarded."""
        if self.kernel is not None:
            self.kernel.sweep()
            self.traffic.kernel_packets, self.traffic.kernel_bytes = self.kernel.totals

    def close_windows(self, *, now: float) -> None:
        """Latch all legs whose window is over (monotonic seconds)."""
        closed: list[Leg] = []
        for session in list(self._latching):
            closed += [leg for leg in session.legs if leg.close_window(now=now)]
            # an end that has not sent within its window latches with its first packet
            if all(leg.latched or now >= leg.window_ends for leg in session.legs):
                self._latching.discard(session)
        self._forwarding.apply_in_turns(closed)
        if not self._latching:
            self._latching = set()  # an emptied set is as large as it ever was

    def close(self) -> None:
        """Close the poll, the path in the kernel and the memory. All groups have to be closed before."""
        self.poll.close()
        if self._memory is not None:
            self._memory.close()
        if self.kernel is not None:
            self.kernel.close()
