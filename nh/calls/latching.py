"""Latching: which sources a leg admits, and when it latches onto one (RFC 7362).

The rules of each policy are a row of POLICIES; how well a source matches is nh.calls.source.rank(). The relay
carries out what is decided here (nh.shard.media). No I/O, no clock: `now` is an argument.
"""

import enum
from collections.abc import Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from nh.calls.media import Endpoint
from nh.calls.source import Rank, SourcePolicy, rank


class SourceState(enum.Enum):
    """Whether a leg has latched onto a source (RFC 7362).

    LATCHING: no source yet, or a better one may take over.
    LATCHED: the source is fixed.
    RELATCHING: the source was fixed and fell silent; another port of the same IP may take over.
    """

    LATCHING = "latching"
    LATCHED = "latched"
    RELATCHING = "relatching"


class PolicyRules(NamedTuple):
    """What a policy asks of a source.

    Attributes:
        least: the lowest rank that is admitted.
        improves: whether a source of a higher rank takes over until the window ends; otherwise the leg
            latches onto the first one. An exact match latches at once in either case.
        latches: False: every source is admitted at any time, the latest is the source.
    """

    least: Rank
    improves: bool = False
    latches: bool = True


POLICIES: Final = {
    SourcePolicy.HEURISTIC: PolicyRules(Rank.ANY, improves=True),
    SourcePolicy.FIRST: PolicyRules(Rank.ANY),
    SourcePolicy.ANNOUNCED: PolicyRules(Rank.SAME_IP),
    SourcePolicy.STRICT: PolicyRules(Rank.EXACT),
    SourcePolicy.HANDOVER: PolicyRules(Rank.ANY, latches=False),
    SourcePolicy.ASYMMETRIC: PolicyRules(Rank.ANY, latches=False),
}


class Latch:
    """What one leg knows about its source.

    Attributes:
        announced: where the SDP of that end says that it receives, None if it says nothing usable.
        policy: who may send.
        signalled_from: IP address that the signalling came from, "" if unknown.
        window_ends: monotonic seconds until which a better source takes over.
        source: where packets come from, None before the first.
        rank: how well `source` matches, None if no packet came since the last signalling.
        state: see SourceState.
        replaced: the leg's session was replaced. Other legs at the socket come first, and its source stays.
    """

    __slots__ = (
        "announced",
        "policy",
        "rank",
        "replaced",
        "signalled_from",
        "source",
        "state",
        "window_ends",
    )

    def __init__(
        self, *, announced: Endpoint | None, policy: SourcePolicy, signalled_from: str, window_ends: float
    ) -> None:
        self.source: Endpoint | None = None
        self.rank: Rank | None
        self.state: SourceState
        self.replaced = False
        self._begin(announced, policy, signalled_from, window_ends)

    @property
    def latched(self) -> bool:
        """Whether the source is fixed."""
        return self.state is SourceState.LATCHED

    @property
    def latches(self) -> bool:
        """Whether the policy ever fixes a source."""
        return POLICIES[self.policy].latches

    def fits(self, source: Endpoint) -> Rank | None:
        """How well `source` matches; None if the policy never admits it."""
        how = rank(source, self.announced, self.signalled_from)
        return how if how >= POLICIES[self.policy].least else None

    def admit(self, source: Endpoint, *, now: float) -> bool:
        """Whether a packet from `source` belongs to this leg; the leg learns from it.

        Args:
            source: where the packet came from.
            now: monotonic seconds.
        """
        rules = POLICIES[self.policy]
        if not rules.latches:
            self.source = source
            return True
        if source == self.source and self.rank is not None:
            if self.state is SourceState.RELATCHING or now >= self.window_ends:
                self.state = SourceState.LATCHED
            return True
        if self.state is SourceState.LATCHED:
            return False
        if self.state is SourceState.RELATCHING:
            return self._relatch(source)
        return self._take_over(source, rules, now=now)

    def learn_again(
        self, *, announced: Endpoint | None, policy: SourcePolicy, signalled_from: str, window_ends: float
    ) -> None:
        """Start latching again after new signalling.

        Until a packet comes, the source stays, unless that end announced another endpoint.
        """
        if announced != self.announced:
            self.source = None
        self._begin(announced, policy, signalled_from, window_ends)

    def close_window(self, *, now: float) -> bool:
        """Latch onto the source if the window is over (monotonic seconds).

        Returns:
            Whether the leg latched just now.
        """
        # without a rank, the source is from before the last signalling: no packet has confirmed it
        if self.state is not SourceState.LATCHING or self.rank is None or now < self.window_ends:
            return False
        if not self.latches:
            return False
        self.state = SourceState.LATCHED
        return True

    def release(self, source: Endpoint) -> bool:
        """Give up `source`, which another leg of the same socket matches better.

        Returns:
            Whether it was this leg's source.
        """
        if self.source != source or self.replaced:
            return False
        self.source = self.rank = None
        self.state = SourceState.LATCHING
        return True

    def _begin(
        self, announced: Endpoint | None, policy: SourcePolicy, signalled_from: str, window_ends: float
    ) -> None:
        self.announced = announced
        self.policy = policy
        self.signalled_from = signalled_from
        self.window_ends = window_ends
        self.rank = None
        self.state = SourceState.LATCHING

    def _take_over(self, source: Endpoint, rules: PolicyRules, *, now: float) -> bool:
        if self.rank is not None and now >= self.window_ends:
            self.state = SourceState.LATCHED
            return False
        how = self.fits(source)
        if how is None or (self.rank is not None and how <= self.rank):
            return False
        # the announced endpoint is stored once, not as an equal copy
        self.source, self.rank = self.announced if how is Rank.EXACT else source, how
        if how is Rank.EXACT or not rules.improves or now >= self.window_ends:
            self.state = SourceState.LATCHED
        return True

    def _relatch(self, source: Endpoint) -> bool:
        # after a silence the NAT of a phone maps it to another port; its address stays
        if self.source is None or source.address != self.source.address:
            return False
        how = self.fits(source)
        if how is None:
            return False
        self.source, self.rank = source, how
        self.state = SourceState.LATCHED
        return True


AnyLatch = TypeVar("AnyLatch", bound=Latch)


class Admission(NamedTuple, Generic[AnyLatch]):
    """The decision about one packet.

    Attributes:
        leg: the leg that the packet belongs to; None: its source matches no leg.
        changed: the legs whose source or state is another now.
    """

    leg: AnyLatch | None
    changed: Sequence[AnyLatch] = ()


def admit(legs: Sequence[AnyLatch], source: Endpoint, *, now: float) -> Admission[AnyLatch]:
    """Decide which of the legs at one socket a packet from `source` belongs to.

    Several legs share a socket where a request was forked: each answer has its own leg.

    Args:
        legs: the legs that receive at the socket, at least one.
        source: where the packet came from.
        now: monotonic seconds.
    """
    changed: list[AnyLatch] = []
    for leg in legs if len(legs) == 1 else _by_fit(legs, source):
        before = (leg.source, leg.state)
        admitted = leg.admit(source, now=now)
        if (leg.source, leg.state) != before:
            changed.append(leg)
        if admitted:
            # early media of this leg may have passed for another's until now
            changed += [other for other in legs if other is not leg and other.release(source)]
            return Admission(leg, changed)
    return Admission(None, changed)


def _by_fit(legs: Sequence[AnyLatch], source: Endpoint) -> Sequence[AnyLatch]:
    """The legs in the order of preference: current; `source` was announced, is known, matches by rank."""

    def preference(leg: AnyLatch) -> tuple[bool, bool, bool, int]:
        how = leg.fits(source)
        return not leg.replaced, how is Rank.EXACT, leg.source == source, how or 0

    return sorted(legs, key=preference, reverse=True)
