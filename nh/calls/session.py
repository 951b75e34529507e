"""A session: the two socket groups of one transaction, joined (Net::SIP::NATHelper::Session).

What the FROM end sends arrives at the sockets of the TO end's group, and the other way round: the ports of
each group were announced to the opposite end. No I/O; the media plane starts and stops the legs.
"""

from typing import Final, NamedTuple

import msgspec

from nh.calls.latching.claims import carried_by
from nh.calls.latching.source import SourcePolicy
from nh.calls.latching.terms import leg_terms
from nh.calls.leg import Leg
from nh.calls.media import Side
from nh.calls.pairing import pair_sockets, payload_types
from nh.calls.settings import RelaySettings
from nh.calls.sockets.group import SocketGroup
from nh.errors import SocketCountMismatch
from nh.ip_address import UNSPECIFIED

NO_PARAM: Final[dict[str, str]] = {}
"""The data of a proxy that gives none: thousands of sessions share it, and none changes it."""


_pack_param: Final = msgspec.msgpack.Encoder().encode
_unpack_param: Final = msgspec.msgpack.Decoder(dict[str, str]).decode


class Pair(NamedTuple):
    """The two legs of one component of one medium."""

    medium: int
    component: int
    from_: Leg
    to: Leg


class Session:
    """Media between the two ends of one transaction.

    Args:
        id: number of the session, unique in the relay.
        group_from, group_to: the sockets for the request's and the response's SDP.
        param: data of the proxy, which the session information returns.
        policies: source policies for the FROM end and the TO end.
        latch_window_s: seconds in which a better source takes over.
        relatch_s: silence after which another source of the same IP address takes over; 0: none does.
        now: monotonic seconds.

    Attributes:
        created: monotonic seconds of its construction; where an offer made it, of the first answer.
        legs: for each socket pair in turn, the leg for what the FROM end sends, then that of the TO end.
        last_active: monotonic seconds of the latest packet from either end, as of the latest note(), of the
            start, or of the latest renewal.
        on_hold: whether there are media, but none that both ends want to receive.
        packed_param: `param` as MessagePack, a third of what the strings would take; b"": there are none.
        replaced_at: monotonic seconds at which a newer session replaced this one, or None.

    Raises:
        SocketCountMismatch: the groups differ in their number of sockets.
    """

    __slots__ = (
        "created",
        "group_from",
        "group_to",
        "id",
        "last_active",
        "legs",
        "on_hold",
        "packed_param",
        "replaced_at",
    )

    def __init__(
        self,
        *,
        id: int,  # Net::SIP's word
        group_from: SocketGroup,
        group_to: SocketGroup,
        param: dict[str, str],
        policies: tuple[SourcePolicy, SourcePolicy],
        latch_window_s: float,
        now: float,
        relatch_s: float = 0.0,
    ) -> None:
        if len(group_from.sockets) != len(group_to.sockets):
            raise SocketCountMismatch(
                f"the request's media have {len(group_from.sockets)} sockets, "
                f"the response's {len(group_to.sockets)}: they cannot be paired"
            )
        self.id = id
        self.group_from = group_from
        self.group_to = group_to
        self.packed_param = _pack_param(param) if param else b""
        self.created = now
        self.last_active = now
        self.replaced_at: float | None = None
        self.legs = pair_sockets(
            group_from, group_to, policies, window_ends=now + latch_window_s, relatch_s=relatch_s
        )
        self.secure()
        self.on_hold = _on_hold(group_from, group_to)
        group_from.attach()
        group_to.attach()

    @property
    def param(self) -> dict[str, str]:
        """The data of the proxy."""
        return _unpack_param(self.packed_param) if self.packed_param else NO_PARAM

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The legs, paired, by medium and component."""
        places = zip(self.group_from.components, self.legs[::2], self.legs[1::2], strict=True)
        return tuple([Pair(*place, from_, to) for place, from_, to in places])

    @property
    def untouched(self) -> bool:
        """Whether no packet has ever come to its legs, so there is nothing to count: as of a call that is
        not answered."""
        for leg in self.legs:  # noqa: SIM110 -- a generator takes a call for each leg
            if not leg.untouched:
                return False
        return True

    def known(self, side: Side) -> bool:
        """Whether the media of the end on `side` are known; for sessions of ng.

        An offer makes the session before the answer, with 0.0.0.0 and port 0 for media of the other end. A
        medium that an end rejects has no sockets in ng, so it is in no session.
        """
        group = self.group_from if side is Side.FROM else self.group_to
        media = group.media
        for place in group.components:
            medium = media[place.medium]
            if medium.port or medium.address not in UNSPECIFIED:
                return True
        return not group.components

    def note(self, *, now: float) -> bool:
        """Note which legs are alive (monotonic seconds).

        Returns:
            Whether packets came since the last call.
        """
        before = self.last_active
        for leg in self.legs:
            if leg.packets or leg.offload is not None:
                leg.note(now=now)
            if leg.last_seen is not None:
                self.last_active = max(self.last_active, min(leg.last_seen, now))
        return self.last_active != before

    def expires_at(self, rules: RelaySettings) -> float:
        """Monotonic seconds at which it expires if no packet comes; once replaced, in any case."""
        if self.replaced_at is not None:
            return self.replaced_at + rules.replaced_s
        return self.last_active + (rules.hold_s if self.on_hold else rules.silent_s)

    def renew(self, side: Side, *, policy: SourcePolicy, latch_window_s: float, now: float) -> None:
        """Apply new signalling of the end on `side`, whose group has the new media already.

        Args:
            side: the end.
            policy: its source policy.
            latch_window_s: seconds in which a better source takes over.
            now: monotonic seconds.
        """
        # a session that was silent on hold has the full time for its first packet
        self.last_active = now
        group = self.group_from if side is Side.FROM else self.group_to
        media = group.media
        window_ends = now + latch_window_s  # one number for all legs
        checked = group.is_checked
        for place, leg in zip(group.components, self.legs[side::2], strict=True):
            medium = media[place.medium]
            carried = carried_by(medium, place.component)
            leg.renew(
                announced=medium.endpoint(place.component),
                terms=leg_terms(policy, carried, leg.terms.relatch_s, medium.active),
                signalled_from=medium.signalled_from,
                window_ends=window_ends,
                ice_ufrag="" if checked else medium.ice_ufrag,
            )
        for leg, types in zip(self.legs, payload_types(self.group_from, self.group_to), strict=True):
            leg.set_payload_types(types)
        self.secure()
        self.on_hold = _on_hold(self.group_from, self.group_to)

    def secure(self) -> bool:
        """Give the legs the security and the ICE that the groups of their ends have now.

        Returns:
            Whether a leg changed.
        """
        if not self._may_be_secured:  # as in nearly all sessions
            return False
        changed = False
        for side, group in ((Side.FROM, self.group_from), (Side.TO, self.group_to)):
            for place, leg in zip(group.components, self.legs[side::2], strict=True):
                security = group.security
                if security is not None:
                    security = security.of_component(place.component)
                changed = changed or leg.security is not security
                leg.security = security
                changed = leg.use_ice(group.ice) or changed
        return changed

    @property
    def _may_be_secured(self) -> bool:
        """Whether an end has security or ICE, or its legs have what it had before."""
        for group in (self.group_from, self.group_to):
            if group.security or group.ice:
                return True
        for leg in self.legs[:2]:  # noqa: SIM110 -- see untouched; those of an end are alike
            if leg.security or leg.ice:
                return True
        return False

    def inherit(self, before: "Session") -> None:
        """Let ends that announce the same again keep their sources; this session replaces `before`.

        The ids name the ends: in Net::SIP's model either end may send the request.
        """
        known = {
            (group.id, place): leg
            for side, group in ((Side.FROM, before.group_from), (Side.TO, before.group_to))
            for place, leg in zip(group.components, before.legs[side::2], strict=True)
        }
        for side, group in ((Side.FROM, self.group_from), (Side.TO, self.group_to)):
            for place, leg in zip(group.components, self.legs[side::2], strict=True):
                if (group.id, place) in known:
                    leg.inherit(known[group.id, place])

    def use_from(self, group: SocketGroup, *, now: float) -> None:
        """Use another group with the same sockets for the FROM end (monotonic seconds)."""
        self.group_from.detach(since=now)
        self.group_from = group
        group.attach()

    def set_replaced(self, at: float | None) -> None:
        """Record that a newer session replaced this one at `at` (monotonic seconds); None: it is current."""
        self.replaced_at = at
        for leg in self.legs:
            leg.replaced = at is not None

    def set_mux(self, *, from_muxes: bool, to_muxes: bool) -> bool:
        """Set which end sends RTCP on its RTP ports (RFC 5761). If both do, no packet has to be
        demultiplexed.

        Returns:
            Whether a leg changed.
        """
        changed = False
        for side, muxes in ((Side.FROM, from_muxes and not to_muxes), (Side.TO, to_muxes and not from_muxes)):
            legs = self.legs[side::2]
            for rtp, rtcp in zip(legs[::2], legs[1::2], strict=False):
                changed = changed or (rtp.rtcp is not None) is not muxes
                rtp.rtcp = rtcp if muxes else None
        return changed

    def unlink(self) -> None:
        """Remove the references between the legs of an ended session.

        Without the cycle the session is freed at once. The cyclic garbage collector would delay all packets.
        """
        for leg in self.legs:
            del leg.other
            leg.rtcp = leg.rtp = None
            if leg.bundle is not None or leg.bundled_on is not None:
                leg.leave_bundle()


def _on_hold(group_from: SocketGroup, group_to: SocketGroup) -> bool:
    """Whether there are media, but none that both ends want to receive."""
    media_from, media_to = group_from.media, group_to.media
    for one, other in zip(group_from.components, group_to.components, strict=True):
        if media_from[one.medium].wanted and media_to[other.medium].wanted:
            return False
    return bool(group_from.sockets)
