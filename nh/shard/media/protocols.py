"""Protocols beside the media: packets of ICE and DTLS go to the objects of the ends that speak them.

A stage of the media pipeline (nh.shard.media.pipeline) for the sockets of such ends; others have none of it.
STUN is answered at once, as far as a batch of packets has few of it. A step of a DTLS handshake takes as long
as a hundred packets, so these wait in a queue (nh.shard.media.protocol_queue), as STUN beyond the few does,
and each turn of the loop works off a part: a thousand browsers that come at once do not delay other media.
"""

import functools
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from nh.calls.drop import Drop
from nh.calls.latching.claims import read_claim
from nh.calls.latching.source import SourcePolicy
from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.protocols.packet_protocol import DtlsProtocol, PacketProtocol
from nh.dtls.problem import Problem
from nh.ice.agent import CheckResult
from nh.ice.stun import is_stun
from nh.logs.throttle import RateLimitedLogger
from nh.loop import Loop, Timer
from nh.shard.media.early_dtls import EarlyDtls
from nh.shard.media.poll import FAILURES_S, MediaPoll
from nh.shard.media.protocol_queue import ProtocolQueue, Step
from nh.shard.media.protocol_timers import STEPS_A_TURN, ProtocolTimers
from nh.shard.media.sockets.addresses import socket_address
from nh.shard.media.sockets.media_socket import MediaSocket

logger = logging.getLogger(__name__)

MEDIA_FROM: Final = 64
"""The first byte of STUN and DTLS is lower (RFC 7983 7)."""

CHECKS_A_TURN: Final = 16
"""Packets of STUN that are answered in one batch of packets, and of those that wait, in one turn of the loop:
a check that shows a new path is saved before its answer, and takes 0.2 ms."""

_STUN_BELOW: Final = 4
_DTLS: Final = range(20, 64)


class EndProtocols:
    """Carries out the protocols of all ends of a relay.

    Args:
        poll: has the time.
        apply: called with legs whose source or keys changed, outside of a batch of packets.
        save: called with a leg that a check has changed, before the end gets its answer.
        drop: called with a leg at whose socket too many packets wait, the reason, and the bytes of the one
            that is lost. Its sender repeats it.
        refuse: called with a leg, the source of a packet that its end did not send, and its bytes.

    Attributes:
        checks: packets of STUN, by what became of them.
        handshakes: those of DTLS that have ended, by what was wrong; None: nothing.
    """

    def __init__(
        self,
        poll: MediaPoll,
        apply: Callable[[Sequence[Leg]], None],
        save: Callable[[Leg], None],
        drop: Callable[[Leg, Drop, int], None],
        refuse: Callable[[Leg, Endpoint, int], None],
    ) -> None:
        self._poll = poll
        self._apply = apply
        self._save = save
        self._drop = drop
        self._refuse = refuse
        self.checks = dict.fromkeys(CheckResult, 0)
        self.handshakes: Counter[Problem | None] = Counter()
        self._loop: Loop | None = None
        self._waiting: ProtocolQueue[MediaSocket] = ProtocolQueue()
        self._unanswered: ProtocolQueue[MediaSocket] = ProtocolQueue()
        self._batch_at = 0.0
        self._answered = 0
        self._early = EarlyDtls()
        # each packet of an end may meet the bug
        self._failures = RateLimitedLogger(logger, time.monotonic, FAILURES_S)
        self._turn: Timer | None = None
        self._timers = ProtocolTimers(self._now, self._on_due)

    def attach(self, loop: Loop) -> None:
        """Let time pass, and work off what waits."""
        self._loop = loop
        self._timers.attach(loop)
        self._begin_turn()

    def detach(self) -> None:
        """Stop both."""
        self._timers.detach()
        if self._turn is not None:
            self._turn.cancel()
        self._loop = self._turn = None

    def watch(self, media_socket: MediaSocket) -> None:
        """Follow the legs at a socket, whose protocols are new, or changed otherwise than by packets."""
        for packet, source in self._early.take(media_socket):
            self._wait(self._waiting, media_socket, packet, source)
        for leg in media_socket.legs:
            if leg.rtp is not None and leg.announced == leg.rtp.announced:
                continue  # its end has RTCP at the port of RTP: nh begins nothing here
            for protocol in leg.protocols:
                self._timers.arm(leg, protocol)

    def forget(self, media_socket: MediaSocket) -> None:
        """Drop what waits for a socket that is about to be closed."""
        self._early.forget(media_socket)

    def receive(self, media_socket: MediaSocket, packet: memoryview, source: Endpoint) -> list[Leg] | None:
        """Handle a packet that is meant for the protocols.

        Args:
            media_socket: where it came.
            packet: see are_meant().
            source: where it came from.

        Returns:
            The legs whose source or keys changed; None if no leg takes the packet.
        """
        if packet[0] in _DTLS:
            return [] if self._take_dtls(media_socket, packet, source) else None
        if packet[0] < _STUN_BELOW:
            if not any(leg.ice is not None for leg in media_socket.legs):
                return None
            if self._may_answer():
                return self._answer_check(media_socket, bytes(packet), source)
            self._wait(self._unanswered, media_socket, bytes(packet), source)
            return []
        return None

    def _take_dtls(self, media_socket: MediaSocket, packet: memoryview, source: Endpoint) -> bool:
        """Let a packet of DTLS wait for its turn, or for an answer; returns False if no leg takes it."""
        if any(_may_speak_dtls(leg, source) for leg in media_socket.legs):
            self._wait(self._waiting, media_socket, bytes(packet), source)
            return True
        if not self._early.expects(media_socket, source):
            return False
        if not self._early.keep(media_socket, packet, source):
            self._drop(media_socket.legs[-1], Drop.PROTOCOL_OVERFLOW, len(packet))
        return True

    def _may_answer(self) -> bool:
        """Whether one more check may be answered in this batch of packets."""
        if self._batch_at != self._poll.now:
            self._batch_at, self._answered = self._poll.now, 0
        self._answered += 1
        return self._answered <= CHECKS_A_TURN

    def _answer_check(self, media_socket: MediaSocket, packet: bytes, source: Endpoint) -> list[Leg]:
        """Give a packet of STUN to the end that its user name is of, of several at a socket."""
        ends = [(leg, leg.ice) for leg in _by_fit(media_socket.legs, source) if leg.ice is not None]
        if not ends:
            return []  # it has waited, and the call has ended
        known = (end for end in ends if end[1].knows(packet)) if len(ends) > 1 else iter(ends)
        leg, ice = next(known, ends[0])
        local = (media_socket.address, media_socket.port) if leg.candidates else None
        self.checks[ice.receive(packet, source, local=local, now=self._poll.now)] += 1
        changed = ice.take_changed()
        if changed:
            leg.follow_ice()
            self._save(leg)
        self._finish(leg, ice, media_socket)
        return [leg] if changed else []

    # --- turns and time -------------------------------------------------------------------------------

    def _wait(
        self, queue: ProtocolQueue[MediaSocket], media_socket: MediaSocket, packet: bytes, source: Endpoint
    ) -> None:
        if queue.add(Step(media_socket, packet, source)):
            self._begin_turn()
        else:
            self._drop(media_socket.legs[-1], Drop.PROTOCOL_OVERFLOW, len(packet))

    def _begin_turn(self) -> None:
        if (self._waiting or self._unanswered) and self._turn is None and self._loop is not None:
            self._turn = self._loop.call_later(0, self._work)

    def _work(self) -> None:
        self._turn = None
        self._answer_waiting()
        now = self._now()
        for _ in range(min(STEPS_A_TURN, len(self._waiting))):
            self._give_to_end(self._waiting.take(), now)
        self._begin_turn()

    def _give_to_end(self, step: Step[MediaSocket], now: float) -> None:
        """Give a packet of DTLS to the end that it is from, of several at a socket."""
        media_socket, packet, source = step
        asked: Leg | None = None
        for leg in _by_fit(media_socket.legs, source):
            dtls = leg.dtls
            if dtls is None or not _may_speak_dtls(leg, source):
                continue
            handle = functools.partial(_handle_dtls, leg, dtls, packet, source, now=now)
            if self._carry_out(leg, dtls, handle):
                return
            asked = asked or leg
        if asked is not None:
            self._refuse(asked, source, len(packet))

    def _answer_waiting(self) -> None:
        for _ in range(min(CHECKS_A_TURN, len(self._unanswered))):
            media_socket, packet, source = self._unanswered.take()
            try:
                if changed := self._answer_check(media_socket, packet, source):
                    self._apply(changed)
            except Exception:  # as in _carry_out()
                self._failures.log(
                    logging.ERROR,
                    "a check at %s could not be answered: it is lost",
                    media_socket.local,
                    exc_info=True,
                )

    def _on_due(self, leg: Leg, protocol: PacketProtocol) -> None:
        self._carry_out(leg, protocol, functools.partial(protocol.on_timer, now=self._now()))

    def _carry_out(self, leg: Leg, protocol: PacketProtocol, step: Callable[[], bool | None]) -> bool:
        """Take a step of a protocol, and apply what it changes; returns False if the step does."""
        try:
            if step() is False:
                return False
            # first, so that it is saved: once the end has the last flight, only a handshake makes new keys
            if protocol.take_changed():
                self._apply([leg])
            self._finish(leg, protocol)
        except Exception:
            # a bug that one end meets must not keep the others from being served
            self._failures.log(
                logging.ERROR,
                "what an end said at %s could not be handled: it is lost",
                leg.socket.local,
                exc_info=True,
            )
        return True

    def _finish(self, leg: Leg, protocol: PacketProtocol, answering: MediaSocket | None = None) -> None:
        """Send what a protocol has to say.

        Args:
            answering: the socket that it is sent from; None: that of the pair of its destination.
        """
        for payload, destination in protocol.take_output():
            self._send(leg, payload, destination or leg.destination, answering)
        self._timers.arm(leg, protocol)
        if leg.dtls is not None:
            self.handshakes.update(leg.dtls.take_results())

    def _send(
        self, leg: Leg, payload: bytes, destination: Endpoint | None, answering: MediaSocket | None
    ) -> None:
        if destination is None:
            return
        media_socket = answering or leg.socket_towards(destination)
        assert isinstance(media_socket, MediaSocket)
        try:
            media_socket.sendto(payload, socket_address(destination))
        except OSError as error:
            # as if it were lost on the way: the end, or a timer, repeats it
            logger.debug("a packet from %s to %s was not sent: %s", media_socket.local, destination, error)

    def _now(self) -> float:
        return max(self._poll.now, self._loop.now()) if self._loop is not None else self._poll.now


def are_meant(media_socket: MediaSocket, packet: memoryview) -> bool:
    """Whether a packet is for the protocols, and not for the other end.

    Where ICE of an end ends here and its SRTP does not, DTLS and ZRTP are between the ends, as media are.

    Args:
        media_socket: where it came.
        packet: of any length.
    """
    if not len(packet) or packet[0] >= MEDIA_FROM or not media_socket.has_protocols:
        return False
    return is_stun(packet) or not any(_passes(leg, packet) for leg in media_socket.legs)


def _passes(leg: Leg, packet: memoryview) -> bool:
    return leg.security is None and read_claim(packet, leg.terms.carried) is not None


def _handle_dtls(leg: Leg, dtls: DtlsProtocol, packet: bytes, source: Endpoint, *, now: float) -> bool:
    """Give a packet to the DTLS of a leg; without ICE, the end is where it finishes a handshake.

    Returns:
        See DtlsProtocol.receive().
    """
    # an asymmetric end sends from anywhere
    answers = source == leg.destination or leg.terms.policy is SourcePolicy.ASYMMETRIC
    taken = dtls.receive(packet, source, validated=leg.guarded, answers=answers, now=now)
    if not leg.guarded and dtls.take_proven():
        leg.admit(source, memoryview(packet), now=now)
    return taken


def _may_speak_dtls(leg: Leg, source: Endpoint) -> bool:
    """Whether DTLS from `source` may be for a leg's end. With ICE, a check has to come before."""
    return leg.dtls is not None and (leg.ice is None or leg.ice.validates(source))


def _by_fit(legs: Sequence[Leg], source: Endpoint) -> Sequence[Leg]:
    """The legs at a socket, those first that `source` fits best, the newest first of equals."""
    if len(legs) == 1:
        return legs
    return sorted(legs, key=lambda leg: (leg.fits(source) or 0, legs.index(leg)), reverse=True)
