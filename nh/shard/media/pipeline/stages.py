"""Stages: what a packet goes through from its reader to the other end, stage by stage.

It is opened, counted, transformed, measured, sealed and sent. Closures of `fast_readers` and
`shared_ports` do the same for nearly all packets, in one function each.
"""

from collections.abc import Callable, Sequence

from nh.calls.bundle import Demultiplexer
from nh.calls.bundling import media_of
from nh.calls.classify import MediaKind, classify
from nh.calls.drop import Drop
from nh.calls.leg import Leg
from nh.calls.rtcp_reports import note_reports
from nh.ice.stun import is_stun
from nh.shard.media.pipeline.egress import Egress
from nh.shard.media.pipeline.fast_readers import NoteLeg
from nh.shard.media.pipeline.srtp import DROPS, open_packet, with_key_of
from nh.shard.media.poll import MediaPoll
from nh.shard.media.totals import TrafficTotals
from nh.srtp.refusal import Refusal, SrtpRefused


class Stages:
    """The stages of all legs of a relay.

    Args:
        poll: has the time.
        traffic: counts packets.
        egress: sends packets and counts drops.
        changed: called with legs whose state changed, after the packet that did it was sent.
        save: called with a leg before its packet is sent, if no other packet shows what this one has.
        note_leg: see NoteLeg.
    """

    def __init__(
        self,
        poll: MediaPoll,
        traffic: TrafficTotals,
        egress: Egress,
        changed: Callable[[Sequence[Leg]], None],
        *,
        save: Callable[[Leg], None],
        note_leg: NoteLeg,
    ) -> None:
        self._poll = poll
        self._traffic = traffic
        self._egress = egress
        self._changed = changed
        self._save = save
        self._note_leg = note_leg

    def open(self, legs: Sequence[Leg], packet: memoryview) -> tuple[memoryview, Sequence[Leg]] | None:
        """The packet without SRTP, and the legs that it may belong to; None: no key opens it; it is counted.

        Ends that answer one offer send to one socket, each with its own key: so the key tells whose a packet
        is, even if all stand behind one NAT. That of the newest session is tried first.
        """
        if is_stun(packet):
            return packet, legs
        refusal: Refusal | None = None
        for security in dict.fromkeys(leg.security for leg in reversed(legs)):
            if security is None:
                continue
            try:
                opened = open_packet(security, packet)
            except SrtpRefused as refused:
                refusal = refusal or refused.reason
            else:
                return opened, legs if len(legs) == 1 else with_key_of(security, legs)
        plain = [leg for leg in legs if leg.security is None]
        if plain:
            return packet, plain
        if refusal is not None:
            self._egress.drop(legs[-1], DROPS[refusal], len(packet))
        return None

    def process_alone(self, leg: Leg, packet: memoryview) -> None:
        """Relay a packet of a leg that its fast reader leaves."""
        self.process(leg, classify(packet), packet, 0)

    def process(self, leg: Leg, kind: MediaKind, packet: memoryview, ttl: int) -> None:
        """Relay a packet that `leg` has admitted: of its medium, or of those that are bundled on it."""
        bundle = leg.bundle
        if bundle is None:
            self._relay(leg, kind, packet, ttl)
            return
        parts = media_of(leg, kind, packet)
        if not parts:
            self._egress.drop(leg, Drop.NO_MEDIUM, len(packet))
        for member, part in parts:
            self._relay(member, kind, part, ttl, bundle)
        self.note_keys(leg)

    def _relay(
        self,
        leg: Leg,
        kind: MediaKind,
        packet: memoryview,
        ttl: int,
        bundle: Demultiplexer[Leg] | None = None,
    ) -> None:
        """Count, transform, measure and send a packet of a leg's medium.

        What the packet has shown of its bundle is saved before: its end sends mids at the beginning only.
        """
        if kind is MediaKind.RTCP and leg.rtcp is not None:
            leg = leg.rtcp
        leg.packets += 1
        leg.bytes += len(packet)
        leg.last_seen = now = self._poll.now
        self._traffic.received_packets += 1
        self._traffic.received_bytes += len(packet)
        for transform in leg.transforms:
            packet = transform(packet)
        for tap in leg.taps:
            tap(packet)
        meter = leg.offload or leg.find_meter()
        if meter is not None and kind is not MediaKind.RTCP:
            # before it is sent: the kernel may measure the answer at once, beside this
            meter.measure(packet, len(packet), now)
        if bundle is not None and bundle.learned:
            bundle.learned = False
            self._save(leg)
        self._send(leg, packet, ttl)
        # after it is sent: a packet in hand is lost if the process is killed
        if kind is MediaKind.RTCP and note_reports(leg, packet, now=now):
            self._changed((leg, leg.other))
        if now >= leg.note_due:
            self._note_leg(leg, now)

    def _send(self, leg: Leg, packet: memoryview, ttl: int) -> None:
        """Send a packet to the other end."""
        send = self._egress.sender(leg, ttl)
        try:
            send(packet)
        except OSError as error:
            self._egress.send_failed(leg, send, packet, error)
        self.note_keys(leg)

    def note_keys(self, leg: Leg) -> None:
        """A successor has to know soon where the keys of SRTP are; at once, if a stream is renumbered."""
        for each in (leg.security, leg.egress.security):
            if each is not None and each.checkpoint_due:
                if each.renumbered:
                    self._save(leg)
                each.clear_checkpoint_due()
                self._changed((leg,))
