"""Latching: which sources a leg admits, and when it latches onto one (RFC 7362).

The rules are the tables of nh.calls.latching.rules. The relay carries out what is decided here
(nh.shard.media). No I/O, no clock: `now` is an argument.
"""

import math
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from nh.calls.latching.claims import read_claim
from nh.calls.latching.rules import POLICIES, RULES, Decision, Facts
from nh.calls.latching.source import Rank, rank
from nh.calls.latching.state import LatchState, SourceState
from nh.calls.latching.terms import LegTerms
from nh.calls.media import Endpoint


class Latch(LatchState):
    """Decides by the rules whose packets a leg admits; what it knows is LatchState's."""

    __slots__ = ()

    @property
    def latched(self) -> bool:
        """Whether the source is fixed."""
        return self.state is SourceState.LATCHED

    @property
    def latches(self) -> bool:
        """Whether the policy ever fixes a source."""
        return POLICIES[self.terms.policy].latches

    def fits(self, source: Endpoint) -> Rank | None:
        """How well `source` matches; None if the policy never admits it."""
        how = rank(source, self.announced, self.known_at)
        return how if how >= POLICIES[self.terms.policy].least else None

    def admit(self, source: Endpoint, packet: memoryview, *, now: float) -> bool:
        """Whether a packet from `source` belongs to this leg; the leg learns from it.

        Args:
            source: where the packet came from.
            packet: the packet, of any length.
            now: monotonic seconds.
        """
        if source == self.source and self.rank is not None:  # the first rule, for nearly all packets
            self._latch_if_due(now)
            return True
        facts = Facts(self, source, read_claim(packet, self.terms.carried), now)
        decision = next(rule.decision for rule in RULES if rule.holds(facts))
        if decision is Decision.TAKE:
            self._take(facts)
        return decision is not Decision.REFUSE

    def learn_again(
        self,
        *,
        announced: Endpoint | None,
        terms: LegTerms,
        signalled_from: str,
        window_ends: float,
        ice_ufrag: str = "",
    ) -> None:
        """Apply new signalling.

        An end that says the same again keeps its source, as does one that announces where it is: nothing is
        opened for others. One that announces another endpoint is learned again: another port of an IP address
        is expected behind the NAT that the end has been found behind. So is one that signals from elsewhere,
        or that restarts its ICE, and its source stays until a packet comes.
        """
        # an end on hold by 0.0.0.0 says nothing of where it is
        moved = announced not in (self.announced, None)
        restarted = bool(ice_ufrag) and ice_ufrag != self.ice_ufrag
        there = self.rank is not None and announced == self.source
        same = there or (not moved and signalled_from == self.signalled_from)
        if moved:
            met_at = self._address_behind(announced)
            if met_at or self.rare is not None:
                self.met_at = met_at
            # a stream that has moved keeps its rank: what counts is where it comes from
            direct = self.rank is not None and self.source == self.announced
            if direct or self.rare is not None:
                self.direct = direct
            if announced != self.source:
                self.source = None
        self.announced = announced
        self.terms = terms
        self.signalled_from = signalled_from
        if restarted:
            self.ice_ufrag = ice_ufrag
        if there:
            self.source, self.rank = announced, Rank.EXACT
        known = same and not restarted and self.rank is not None and self.rank >= POLICIES[terms.policy].least
        if known and self.latches:
            if there:
                self.state = SourceState.LATCHED
            return
        self.window_ends = window_ends
        self._unlatch()

    def close_window(self, *, now: float) -> bool:
        """Latch onto the source if the window is over (monotonic seconds).

        Returns:
            Whether the leg latched just now.
        """
        # without a rank, the source is from before the last signalling: no packet has confirmed it
        if self.latched or self.rank is None:
            return False
        self._latch_if_due(now)
        return self.latched

    def release(self, source: Endpoint) -> bool:
        """Give up `source`, which another leg of the same socket matches better.

        Returns:
            Whether it was this leg's source.
        """
        if self.source != source or self.replaced:
            return False
        self.source = None
        self._unlatch()
        return True

    def _address_behind(self, announced: Endpoint | None) -> str:
        """Where the media of an end come from that announces another port; "" if that is not sure."""
        before, source = self.announced, self.source
        if before is None or announced is None or before.address != announced.address:
            return ""
        return source.address if source is not None and self.latched else ""

    def _unlatch(self) -> None:
        self.rank = None
        self.state = SourceState.LATCHING
        if self.rare is not None:
            self.trials = None

    def _latch_if_due(self, now: float) -> None:
        if now >= self.window_ends and self.latches:
            self.state = SourceState.LATCHED

    def _take(self, facts: Facts) -> None:
        rules, how = facts.rules, facts.rank
        if facts.source != self.source:
            self.leave_streams(facts.claim)
        # the announced endpoint is stored once, not as an equal copy
        self.source = self.announced if how is Rank.EXACT else facts.source
        held = self.rank if facts.goes_on() else None
        self.rank = how if held is None else max(how, held)
        self.trials = None
        if rules.latches and (how is Rank.EXACT or not rules.improves or facts.now >= self.window_ends):
            self.state = SourceState.LATCHED


AnyLatch = TypeVar("AnyLatch", bound=Latch)


class Admission(NamedTuple, Generic[AnyLatch]):
    """The decision about one packet.

    Attributes:
        leg: the leg that the packet belongs to; None: its source matches no leg.
        changed: the legs whose source or state is another now.
    """

    leg: AnyLatch | None
    changed: Sequence[AnyLatch] = ()


def admit(
    legs: Sequence[AnyLatch], source: Endpoint, packet: memoryview, *, now: float
) -> Admission[AnyLatch]:
    """Decide which of the legs at one socket a packet from `source` belongs to.

    Several legs share a socket where a request was forked: each answer has its own leg.

    Args:
        legs: the legs that receive at the socket, at least one.
        source: where the packet came from.
        packet: the packet, of any length.
        now: monotonic seconds.
    """
    changed: list[AnyLatch] = []
    for leg in legs if len(legs) == 1 else _by_fit(legs, source):
        before = (leg.source, leg.state)
        admitted = leg.admit(source, packet, now=now)
        if (leg.source, leg.state) != before:
            changed.append(leg)
        if admitted:
            # early media of this leg may have passed for another's until now
            changed += [other for other in legs if other is not leg and other.release(source)]
            return Admission(leg, changed)
    return Admission(None, changed)


def _by_fit(legs: Sequence[AnyLatch], source: Endpoint) -> Sequence[AnyLatch]:
    """The legs in the order of preference.

    Those come first that know the source, or whose end has announced it (the last one of these): the current
    ones, then those that the source has left. Of the others, the current ones come first.
    """

    def preference(leg: AnyLatch) -> tuple[bool, bool, bool, float, bool, int]:
        how, known, current = leg.fits(source), leg.source == source, not leg.replaced
        exact = how is Rank.EXACT
        announced_at = leg.signalled if exact else -math.inf
        return current and (known or exact), leg.left and known, current, announced_at, known, how or 0

    return sorted(legs, key=preference, reverse=True)
