"""Forwarding: applies to sockets, kernel flows and readers what sessions and packets change at the legs.

Packets are served in four steps. Readers collect a packet, decide by the rules of the domain, and send it
(nh.shard.media.pipeline). What a packet changed, such as a leg that has latched, is applied here at the end
of the batch: the socket is connected, a kernel flow begins or changes, and the plans of the sockets concerned
are compiled anew (nh.shard.media.paths). Applying never runs inside a reader, so nothing is re-entered.

To connect a socket takes as long as some packets. So a batch of packets that many legs latch with is followed
by some of that work, and later turns of the loop do the rest (nh.shard.media.in_turns): packets are admitted
by their source until then.

Until activate(), another process may still use the sockets of restored calls. They are left as they are,
neither connected nor read, and kernel flows continue. activate() brings all of them into the state that their
legs want.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from nh.calls.leg import Leg
from nh.loop import Loop
from nh.shard.media.connector import Connector
from nh.shard.media.in_turns import InTurns
from nh.shard.media.kernel.path import KernelPath
from nh.shard.media.paths import Paths
from nh.shard.media.pipeline.egress import Egress
from nh.shard.media.pipeline.fast_readers import NoteLeg
from nh.shard.media.pipeline.plan import ENOUGH_PACKETS, legs_at, peer_for
from nh.shard.media.pipeline.readers import Readers
from nh.shard.media.poll import MediaPoll
from nh.shard.media.protocols import EndProtocols
from nh.shard.media.sockets.loop_guard import LocalPorts
from nh.shard.media.sockets.media_socket import MediaSocket, socket_of, sockets_of
from nh.shard.media.totals import TrafficTotals

logger = logging.getLogger(__name__)

LOOK_AGAIN_S: Final = 2.0
"""How long after one of its first packets a leg is asked again whether the end that it sends to is silent."""


class Forwarding:
    """What changes at the legs of one relay, applied to their sockets.

    Args:
        poll: watches the sockets.
        traffic: counts packets and drops.
        local_ports: the media ports of this relay (nh.shard.media.sockets.loop_guard).
        kernel: moves directions into the kernel; None: all packets stay in user space.
        kernel_off: why there is no path in the kernel, for `nh calls`.
        source_changed: called with the call-id and the leg whose source or state changed.
        path_changed: called with the call-id and each leg at a socket whose packets went into the kernel, or
            out of it.
        opened_beside: called with a socket beside which another one has been opened.
        note_leg: see nh.shard.media.pipeline.fast_readers.NoteLeg.

    Attributes:
        protocols: what ends say beside the media.
    """

    def __init__(
        self,
        poll: MediaPoll,
        traffic: TrafficTotals,
        local_ports: LocalPorts,
        *,
        kernel: KernelPath | None,
        kernel_off: str,
        source_changed: Callable[[bytes, Leg], None],
        path_changed: Callable[[bytes, Leg], None],
        opened_beside: Callable[[MediaSocket], None],
        note_leg: NoteLeg,
    ) -> None:
        self._active = False  # until activate()
        self._poll = poll
        self._user_space_only = kernel is None
        self._kernel_off = kernel_off
        self._source_changed = source_changed
        self._changed_legs = InTurns(self._apply_one)  # by packets, and by time
        self._outdated = InTurns(self._refresh_one)  # sockets that are to be connected, or to get a flow
        egress = Egress(traffic, local_ports, self._save)
        self.protocols = EndProtocols(poll, self.apply, self._save, egress.drop, egress.refuse)
        readers = Readers(
            poll,
            traffic,
            egress,
            self.protocols,
            self._apply_after_batch,
            caught_up=lambda each: self._paths.plan(each),  # noqa: PLW0108  they are made below
            save=self._save,
            note_leg=self._note,
        )
        self._paths = Paths(
            poll,
            readers,
            Connector(poll, readers, opened_beside),
            self.protocols,
            local_ports,
            kernel=kernel,
            path_changed=path_changed,
        )
        self._note_leg = note_leg

    def attach(self, loop: Loop) -> None:
        """Have turns on `loop` from now on, for protocols of ends and for what packets and time change."""
        self.protocols.attach(loop)
        self._changed_legs.attach(loop)
        self._outdated.attach(loop)

    def detach(self) -> None:
        """Leave the loop."""
        self.protocols.detach()
        self._changed_legs.detach()
        self._outdated.detach()

    # --- sockets and sessions -------------------------------------------------------------------------

    def open(self, media_socket: MediaSocket) -> None:
        """Watch a new socket; no leg receives there yet."""
        self._paths.open(media_socket)

    def close(self, media_socket: MediaSocket) -> None:
        """Stop watching a socket. To be called before it is closed."""
        self._outdated.discard(media_socket)
        self.protocols.forget(media_socket)
        self._paths.close(media_socket)

    def start(self, legs: Sequence[Leg]) -> None:
        """Let the legs of a session receive, beside the legs that share their sockets."""
        for leg in legs:
            leg.not_offloaded = self._kernel_off
            if leg.rare is None and leg.bundled_on is None:  # as nearly all
                socket_of(leg).join(leg)
                continue
            for media_socket in sockets_of((leg,)):
                if leg.receives_at(media_socket):
                    media_socket.join(leg)
        self._legs_changed(legs, sockets_of(legs))

    def place(self, legs: Sequence[Leg]) -> None:
        """Let legs receive at their own sockets, or with the leg that their media are bundled on."""
        moved = False
        for leg in legs:
            if leg.rare is None and leg.bundled_on is None and socket_of(leg).leg is leg:
                continue  # as nearly all
            for media_socket in sockets_of((leg,)):
                receives = leg.receives_at(media_socket)
                if (leg in media_socket.legs) is not receives:
                    others = tuple(other for other in media_socket.legs if other is not leg)
                    media_socket.legs = (*others, leg) if receives else others
                    moved = True
        if moved:
            self._legs_changed(legs, sockets_of(legs))

    def stop(self, legs: Sequence[Leg]) -> None:
        """Let the legs of a session receive no more; legs that share their sockets go on."""
        media_sockets = sockets_of(legs)
        for media_socket in media_sockets:
            media_socket.leave(legs)
        self._legs_changed(legs, media_sockets)

    def _legs_changed(self, legs: Sequence[Leg], media_sockets: Collection[MediaSocket]) -> None:
        """Follow the legs of a session that came to their sockets, or left them.

        Of a forked offer, hundreds of sockets send through one. They are looked at only if that is connected
        now or no longer is, if they may be in the kernel, or if media are bundled.

        Args:
            legs: of the session.
            media_sockets: theirs.
        """
        if self._wait_for_first(legs, media_sockets):
            return
        if self._active and self._user_space_only and not _bundled(legs):
            peers = [each.peer for each in media_sockets]
            self.apply(self._paths.update(media_sockets))
            if peers == [each.peer for each in media_sockets]:
                return
        self.apply(self._refresh(media_sockets))

    # --- applying what changed ------------------------------------------------------------------------

    def apply(self, legs: Iterable[Leg]) -> None:
        """Bring sockets in line with legs whose source or state changed, those that send to them too."""
        changed = list(legs)
        while changed:
            found = self._refresh(sockets_of(changed))
            for leg in changed:
                self._save(leg)
            changed = found

    def _save(self, leg: Leg) -> None:
        self._source_changed(socket_of(leg).call_id, leg)

    def renew(self, legs: Sequence[Leg]) -> None:
        """Bring sockets in line with legs that new signalling has changed.

        That a leg without a source goes on without one is no event: its command is one already.
        """
        media_sockets = sockets_of(legs)
        found = [] if self._wait_for_first(legs, media_sockets) else self._refresh(media_sockets)
        for leg in legs:
            if leg.source is not None:
                self._save(leg)
        self.apply(found)

    def _wait_for_first(self, legs: Sequence[Leg], media_sockets: Collection[MediaSocket]) -> bool:
        """Whether the next packet of each socket of a session makes its plan, as signalling left them.

        So there is nothing to do for them, unless a leg has latched, or has a timer. Nor is there for
        others: without bundles, all send through the sockets of their own sessions.

        Args:
            legs: of the session.
            media_sockets: theirs.
        """
        if not self._active or _bundled(legs):
            return False
        return self._paths.wait_for_first(media_sockets)

    def activate(self, media_sockets: Sequence[MediaSocket]) -> None:
        """Bring sockets into the state that their legs want, whatever state another process left them in.

        Those that this process has bound anew are open to all sources, and have no flow: so they are read at
        once, and turns of the loop do the rest.

        Args:
            media_sockets: all sockets that a leg receives at.
        """
        is_first, self._active = not self._active, True
        self._outdated.clear()
        changed: list[Leg] = []
        for media_socket in media_sockets:
            if is_first and not media_socket.adopted and media_socket.flow is None:
                self._outdated.add([media_socket])
                continue
            changed += self._take_over(media_socket)
        for media_socket in media_sockets:
            try:
                self._paths.set_reader(media_socket)
            except Exception:
                # a bug that one socket meets must not keep the others from being served
                logger.exception("the media socket at %s could not be set up", media_socket.local)
        self.apply(changed)

    def _take_over(self, media_socket: MediaSocket) -> list[Leg]:
        try:
            return self._paths.take_over(media_socket)
        except Exception:
            # as in activate(), which sets its reader next
            logger.exception("the media socket at %s could not be taken over", media_socket.local)
            return []

    def route_changed(self, media_socket: MediaSocket) -> None:
        """Decide again whether the kernel forwards for a socket: routes or its room changed."""
        self.apply(self._refresh([media_socket]))

    def _note(self, leg: Leg, now: float) -> None:
        """Note a leg (see NoteLeg), and connect the socket that its packets leave from to a silent end."""
        self._note_leg(leg, now)
        towards = leg.egress
        out = socket_of(towards)
        if out.peer is not None or towards.latched or leg.payload_types is None or leg.offload is not None:
            return
        if peer_for(out.legs, out, offloaded=out.flow is not None) is not None:
            if self._outdated.add([out]):
                self._poll.call_after_batch(self._outdated.turn)
        elif leg.packets < ENOUGH_PACKETS:
            leg.note_due = min(leg.note_due, now + LOOK_AGAIN_S)

    def apply_in_turns(self, legs: Sequence[Leg]) -> None:
        """Bring sockets in line with legs that have changed, as apply(), in turns of the loop."""
        if self._changed_legs.add(legs):
            self._changed_legs.turn()

    def _apply_after_batch(self, legs: Sequence[Leg]) -> None:
        if self._changed_legs.add(legs):
            self._poll.call_after_batch(self._changed_legs.turn)

    def _apply_one(self, leg: Leg) -> None:
        if socket_of(leg).fileno() < 0:  # its call has ended meanwhile
            return
        try:
            self.apply((leg,))
        except Exception:
            # a bug that one socket meets must not keep the others from being served
            logger.exception("the media socket at %s could not follow its source", leg.socket.local)

    def _refresh_one(self, media_socket: MediaSocket) -> None:
        try:
            self.route_changed(media_socket)
        except Exception:
            logger.exception("the media socket at %s could not be connected", media_socket.local)

    def _refresh(self, media_sockets: Iterable[MediaSocket]) -> list[Leg]:
        """Decide anew how the packets of sockets are forwarded, and of those that lead through them: in the
        kernel or not, at a connected socket or not, and by which reader.

        Returns:
            The legs that packets changed that had waited at a socket; pass them to apply().
        """
        if not self._active:
            for media_socket in media_sockets:
                self._paths.update_inherited_flow(media_socket)
            return []
        return self._paths.update(_with_opposites(media_sockets))


def _bundled(legs: Sequence[Leg]) -> bool:
    for each in legs:  # noqa: SIM110 -- a generator takes a call for each leg
        if each.bundle or each.bundled_on:
            return True
    return False


def _with_opposites(media_sockets: Iterable[MediaSocket]) -> dict[MediaSocket, None]:
    """The sockets, and those whose packets are sent through them."""
    paths = dict.fromkeys(media_sockets)
    legs = [leg for media_socket in paths for each in media_socket.legs for leg in legs_at(each)]
    return paths | sockets_of([opposite for leg in legs for opposite in (leg.other, leg.egress)])
