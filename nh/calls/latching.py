"""Latching: which sources a leg admits, and when it latches onto one (RFC 7362).

RULES is the whole of it: the first rule that holds for a packet decides. POLICIES says what each policy adds.
How well a source matches is nh.calls.source.rank(); what a packet claims is nh.calls.claims. The relay
carries out what is decided here (nh.shard.media). No I/O, no clock: `now` is an argument.
"""

import abc
import enum
from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from nh.calls.claims import Carried, Claim, read_claim
from nh.calls.media import Endpoint
from nh.calls.source import Rank, SourcePolicy, rank

MOMENT_S: Final = 0.3
"""Silence of a source after which one of equal rank takes over, while the leg is latching."""

ELSEWHERE_S: Final = 3.0
"""How long a stream goes on, alone, from where neither SDP nor signalling puts its sender, to be admitted."""

GAP_S: Final = 0.5
"""Longest gap in a stream on trial."""

REPORT_GAP_S: Final = 15.0
"""The same for RTCP: three times its interval (RFC 3550 6.2)."""

MAX_TRIALS: Final = 16
"""Most streams on trial at one leg; a further one replaces the one that has been silent longest."""


class SourceState(enum.Enum):
    """Whether a leg has latched onto a source (RFC 7362).

    LATCHING: no source yet, or a better one may take over.
    LATCHED: the source is fixed; RULES say what replaces it.
    """

    LATCHING = "latching"
    LATCHED = "latched"


class PolicyRules(NamedTuple):
    """What a policy asks of a source.

    Attributes:
        least: the lowest rank that is admitted.
        improves: whether a source of a higher rank takes over until the window ends; otherwise the leg
            latches onto the first one. An exact match latches at once in either case.
        latches: False: every source is admitted at any time, the latest is the source.
        announced_wins: whether the announced endpoint takes over at any time.
        moves: whether another source may take over from one that the leg has latched onto.
    """

    least: Rank
    improves: bool = False
    latches: bool = True
    announced_wins: bool = True
    moves: bool = True


POLICIES: Final = {
    SourcePolicy.HEURISTIC: PolicyRules(Rank.ANY, improves=True),
    SourcePolicy.LEARNED: PolicyRules(Rank.ANY, improves=True, moves=False),
    SourcePolicy.FIRST: PolicyRules(Rank.ANY, announced_wins=False),
    SourcePolicy.ANNOUNCED: PolicyRules(Rank.SAME_IP),
    SourcePolicy.STRICT: PolicyRules(Rank.EXACT),
    SourcePolicy.HANDOVER: PolicyRules(Rank.ANY, latches=False),
    SourcePolicy.ASYMMETRIC: PolicyRules(Rank.ANY, latches=False),
}


class Verdict(enum.Enum):
    """What is done with a packet.

    PASS: it is passed on; the source stays.
    TAKE: it is passed on, and where it came from is the source from now on.
    REFUSE: it is dropped and counted.
    """

    PASS = enum.auto()
    TAKE = enum.auto()
    REFUSE = enum.auto()


class Trial(NamedTuple):
    """A stream that claims a leg and is not admitted yet.

    Attributes:
        claim: its latest packet.
        packets: how many of it came, each soon after the one before.
        began, latest: monotonic seconds of its first and latest packet.
    """

    claim: Claim
    packets: int
    began: float
    latest: float

    def next(self, claim: Claim, now: float) -> "Trial":
        """The trial after one more packet of the same source."""
        longest_s = REPORT_GAP_S if claim.sequence is None else GAP_S
        if now - self.latest <= longest_s and claim.follows(self.claim):
            return Trial(claim, self.packets + 1, self.began, now)
        return Trial(claim, 1, now, now)


class Facts:
    """What a packet, and the leg that it came to, tell: the words of RULES. `now` is monotonic seconds."""

    __slots__ = ("claim", "continued", "latch", "now", "rank", "rules", "source", "trial")

    def __init__(self, latch: "Latch", source: Endpoint, claim: Claim | None, now: float) -> None:
        self.latch = latch
        self.source = source
        self.claim = claim
        self.now = now
        self.trial = None if claim is None else latch.try_stream(source, claim, now=now)
        self.rules = POLICIES[latch.policy]
        self.rank = rank(source, latch.announced, latch.signalled_from)
        self.continued = latch.compare(claim, now=now) if claim is not None else Continuity.OTHER

    def is_source(self) -> bool:
        """It comes from the source, which has been confirmed since the last signalling."""
        return self.latch.rank is not None and self.source == self.latch.source

    def comes_back(self) -> bool:
        """It comes from the source of before the last signalling, and claims."""
        return self.claim is not None and self.source == self.latch.source and self.permitted()

    def claims_nothing(self) -> bool:
        """It is not what the leg carries."""
        return self.claim is None

    def is_announced(self) -> bool:
        """It comes from the announced endpoint."""
        return self.rank is Rank.EXACT

    def permitted(self) -> bool:
        """The policy admits sources of its rank."""
        return self.rank >= self.rules.least

    def never_latches(self) -> bool:
        """The policy admits every source."""
        return not self.rules.latches

    def stays(self) -> bool:
        """The leg has latched, and the policy lets no other source take over."""
        latch = self.latch
        latched = latch.state is SourceState.LATCHED or self.now >= latch.window_ends
        return latch.rank is not None and latched and not self.rules.moves

    def goes_on(self) -> bool:
        """It goes on with the stream of the source, as only its sender can."""
        return self.continued is Continuity.NEXT

    def is_late(self) -> bool:
        """It is from an earlier part of the stream of the source."""
        return self.continued is Continuity.LATE

    def announced_wins(self) -> bool:
        """It comes from the announced endpoint, which no other source keeps out."""
        return self.is_announced() and (self.rules.announced_wins or self.latch.rank is None)

    def was_here_before(self) -> bool:
        """It comes from a sender to the call that had the port before."""
        return self.latch.remembers(self.source, self.claim, now=self.now)

    def first(self) -> bool:
        """No source is there, and nothing speaks against this one.

        Where it is known where the signalling comes from, and the policy can wait, a stream from elsewhere
        has to go on for a while.
        """
        if self.latch.rank is not None:
            return False
        if self.rank >= Rank.SIGNALLED_FROM or not self.rules.improves or not self.latch.signalled_from:
            return True
        return self._tried_s() >= ELSEWHERE_S

    def better(self) -> bool:
        """It is of a higher rank, and the window is open; or it is known, and the source is not."""
        held = self.latch.rank
        if held is None or self.rank <= held or not self.rules.improves:
            return False
        if self.now < self.latch.window_ends:
            return True
        return held < Rank.SIGNALLED_FROM <= self.rank and self.streams()

    def media_over_keepalive(self) -> bool:
        """It is a stream, and what the source has sent so far is not: checks of ICE, for example."""
        held = self.latch.rank
        return held is not None and self.rank >= held and self.latch.streamless() and self.streams()

    def replaces_equal(self) -> bool:
        """In the window, it is a stream of the same rank, and the source has fallen silent."""
        return (
            self.rules.improves
            and self.rank == self.latch.rank
            and self.now < self.latch.window_ends
            and self.streams()
            and self.latch.silence_s(now=self.now) >= MOMENT_S
        )

    def relatches(self) -> bool:
        """It is a stream of the same IP address, or of a higher rank, and the source has been silent."""
        held, after_s = self.latch.rank, self.latch.relatch_s
        if held is None or self.latch.source is None or not after_s:
            return False
        if self.source.address != self.latch.source.address and self.rank <= held:
            return False
        # asked first, so that the silence is measured from here on
        silent = self.latch.silence_s(now=self.now) >= after_s
        return silent and self.streams()

    def streams(self) -> bool:
        """It follows another media packet, or report, from the same source."""
        if self.claim == Claim() and Carried.OTHER not in self.latch.carried:
            return False  # a handshake
        return self.trial is not None and self.trial.packets > 1

    def _tried_s(self) -> float:
        """How long its stream has been on trial."""
        return 0.0 if self.trial is None else self.now - self.trial.began


class Continuity(enum.Enum):
    """How a packet stands to the stream of the source.

    NEXT: it goes on with it.
    LATE: it is of an earlier part of it.
    OTHER: it is not of this stream.
    """

    NEXT = enum.auto()
    LATE = enum.auto()
    OTHER = enum.auto()


class Rule(NamedTuple):
    """One row of the table: where `holds`, `verdict` is what is done."""

    holds: Callable[[Facts], bool]
    verdict: Verdict


RULES: Final = (
    Rule(Facts.is_source, Verdict.PASS),
    Rule(Facts.comes_back, Verdict.TAKE),
    Rule(lambda facts: facts.claims_nothing() and facts.is_announced(), Verdict.PASS),
    Rule(Facts.claims_nothing, Verdict.REFUSE),
    Rule(Facts.never_latches, Verdict.TAKE),
    Rule(lambda facts: not facts.permitted(), Verdict.REFUSE),
    Rule(Facts.stays, Verdict.REFUSE),
    Rule(Facts.goes_on, Verdict.TAKE),
    Rule(Facts.is_late, Verdict.REFUSE),
    Rule(Facts.announced_wins, Verdict.TAKE),
    Rule(Facts.was_here_before, Verdict.REFUSE),
    Rule(Facts.first, Verdict.TAKE),
    Rule(Facts.better, Verdict.TAKE),
    Rule(Facts.media_over_keepalive, Verdict.TAKE),
    Rule(Facts.replaces_equal, Verdict.TAKE),
    Rule(Facts.relatches, Verdict.TAKE),
    Rule(lambda _facts: True, Verdict.REFUSE),
)
"""The rules of latching, in order: the first that holds decides."""


class Latch(abc.ABC):
    """What one leg knows about its source.

    Attributes:
        announced: where the SDP of that end says that it receives, None if it says nothing usable.
        policy: who may send.
        signalled_from: IP address that the signalling came from, "" if unknown.
        window_ends: monotonic seconds until which a better source takes over.
        relatch_s: silence after which another source of the same IP address takes over; 0: none does.
        carried: the packets that claim the leg.
        source: where packets come from, None before the first.
        rank: how well `source` matches, None if no packet came since the last signalling. A source whose
            stream moved keeps the rank that it had.
        state: see SourceState.
        trials: the streams on trial, by source; None: none yet.
        replaced: the leg's session was replaced. Other legs at the socket come first, and its source stays.
    """

    __slots__ = (
        "announced",
        "carried",
        "policy",
        "rank",
        "relatch_s",
        "replaced",
        "signalled_from",
        "source",
        "state",
        "trials",
        "window_ends",
    )

    def __init__(
        self,
        *,
        announced: Endpoint | None,
        policy: SourcePolicy,
        signalled_from: str,
        window_ends: float,
        relatch_s: float = 0.0,
        carried: Carried = Carried.OTHER,
    ) -> None:
        self.source: Endpoint | None = None
        self.rank: Rank | None = None
        self.state = SourceState.LATCHING
        self.trials: dict[Endpoint, Trial] | None = None
        self.replaced = False
        self.announced = announced
        self.policy = policy
        self.signalled_from = signalled_from
        self.window_ends = window_ends
        self.relatch_s = relatch_s
        self.carried = carried

    # --- what a leg knows of its packets, for RULES ---------------------------------------------------

    @abc.abstractmethod
    def compare(self, claim: Claim, *, now: float) -> Continuity:
        """How a packet stands to the stream of the source."""

    @abc.abstractmethod
    def streamless(self) -> bool:
        """Whether the leg carries RTP and has had none."""

    @abc.abstractmethod
    def silence_s(self, *, now: float) -> float:
        """How long the source has been silent, as far as is known; the first look may find nothing."""

    @abc.abstractmethod
    def remembers(self, source: Endpoint, claim: Claim | None, *, now: float) -> bool:
        """Whether a packet is from a sender to the call that had the port before."""

    def try_stream(self, source: Endpoint, claim: Claim, *, now: float) -> Trial:
        """Note a packet that claims the leg."""
        trials = self.trials
        if trials is None:
            trials = self.trials = {}
        known = trials.pop(source, None)
        if known is None and len(trials) >= MAX_TRIALS:
            del trials[next(iter(trials))]  # they are in the order of their latest packets
        trial = trials[source] = Trial(claim, 1, now, now) if known is None else known.next(claim, now)
        return trial

    # --- decisions ------------------------------------------------------------------------------------

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
        facts = Facts(self, source, read_claim(packet, self.carried), now)
        verdict = next(rule.verdict for rule in RULES if rule.holds(facts))
        if verdict is Verdict.TAKE:
            self._take(facts)
        return verdict is not Verdict.REFUSE

    def learn_again(
        self, *, announced: Endpoint | None, policy: SourcePolicy, signalled_from: str, window_ends: float
    ) -> None:
        """Apply new signalling.

        An end that says the same again keeps its source, and nothing is opened for others. One that announces
        another endpoint is learned again. One that signals from elsewhere is, too, and its source stays until
        a packet comes.
        """
        # an end on hold by 0.0.0.0 says nothing of where it is
        moved = announced not in (self.announced, None)
        same = not moved and signalled_from == self.signalled_from
        if moved and announced != self.source:
            self.source = None
        self.announced = announced
        self.policy = policy
        self.signalled_from = signalled_from
        if same and self.rank is not None and self.rank >= POLICIES[policy].least and self.latches:
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

    def _unlatch(self) -> None:
        self.rank = None
        self.state = SourceState.LATCHING
        self.trials = None

    def _latch_if_due(self, now: float) -> None:
        if now >= self.window_ends and self.latches:
            self.state = SourceState.LATCHED

    def _take(self, facts: Facts) -> None:
        rules, how = facts.rules, facts.rank
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
    """The legs in the order of preference: current; `source` was announced, is known, matches by rank."""

    def preference(leg: AnyLatch) -> tuple[bool, bool, bool, int]:
        how = leg.fits(source)
        return not leg.replaced, how is Rank.EXACT, leg.source == source, how or 0

    return sorted(legs, key=preference, reverse=True)
