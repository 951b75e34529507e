"""The rules of latching (RFC 7362), as tables.

RULES is the whole of it: the first rule that holds for a packet decides. POLICIES says what each policy adds.
How well a source matches is source.rank(); what a packet claims is claims.Claim; both are beside this module.
No I/O, no clock.
"""

import enum
from collections.abc import Callable
from typing import Final, NamedTuple

from nh.calls.latching.claims import Carried, Claim
from nh.calls.latching.source import Rank, SourcePolicy, rank
from nh.calls.latching.state import Continuity, LatchState, SourceState
from nh.calls.media import Endpoint

MOMENT_S: Final = 0.3
"""Silence of a source after which one of equal rank takes over, while the leg is latching."""

ELSEWHERE_S: Final = 3.0
"""How long a stream goes on, alone, from another IP address than the end is known at, to be admitted."""

CONSENT_S: Final = 15.0
"""Silence of a source after which checks of ICE from elsewhere take over. It is three times the interval of
checks of an end that sends no media, and half of the time after which its peer gives up (RFC 7675 5.1)."""

LATE_S: Final = 1.0
"""How long packets may be on their way, of an earlier part of a stream, or from where its end was. A sender
whose packets go on to be of that part has begun to count anew."""


class PolicyRules(NamedTuple):
    """What a policy asks of a source.

    Attributes:
        least: the lowest rank that is admitted.
        improves: whether a source of a higher rank takes over until the window ends; otherwise the leg
            latches onto the first one. An exact match latches at once in either case.
        waits: whether nothing is learned before the window ends.
        latches: False: every source is admitted at any time, the latest is the source.
        announced_wins: whether the announced endpoint takes over at any time.
        moves: whether another source may take over from one that the leg has latched onto.
    """

    least: Rank
    improves: bool = False
    waits: bool = False
    latches: bool = True
    announced_wins: bool = True
    moves: bool = True


POLICIES: Final = {
    SourcePolicy.HEURISTIC: PolicyRules(Rank.ANY, improves=True),
    SourcePolicy.LEARNED: PolicyRules(Rank.ANY, improves=True, moves=False),
    SourcePolicy.FIRST: PolicyRules(Rank.ANY, announced_wins=False),
    SourcePolicy.DELAYED: PolicyRules(Rank.ANY, waits=True),
    SourcePolicy.ANNOUNCED: PolicyRules(Rank.SAME_IP),
    SourcePolicy.STRICT: PolicyRules(Rank.EXACT),
    SourcePolicy.HANDOVER: PolicyRules(Rank.ANY, latches=False),
    SourcePolicy.ASYMMETRIC: PolicyRules(Rank.ANY, latches=False),
}


class Decision(enum.Enum):
    """What is done with a packet.

    PASS: it is passed on; the source stays.
    TAKE: it is passed on, and where it came from is the source from now on.
    REFUSE: it is dropped and counted.
    """

    PASS = enum.auto()
    TAKE = enum.auto()
    REFUSE = enum.auto()


class Facts:
    """What a packet, and the leg that it came to, tell: the words of RULES.

    Args:
        latch: of the leg.
        source: where the packet came from.
        claim: of the packet; None: it is not what the leg carries.
        now: monotonic seconds.

    Attributes:
        latch, source, claim, now: see above.
        trial: that of the packet's stream, this packet included; None: it has no claim.
        rules: those of the leg's policy.
        rank: how well the source matches.
        continued: whether the packet goes on with the stream of the leg's source.
    """

    __slots__ = ("claim", "continued", "latch", "now", "rank", "rules", "source", "trial")

    def __init__(self, latch: LatchState, source: Endpoint, claim: Claim | None, now: float) -> None:
        self.latch = latch
        self.source = source
        self.claim = claim
        self.now = now
        self.trial = None if claim is None else latch.try_stream(source, claim, now=now)
        self.rules = POLICIES[latch.terms.policy]
        self.rank = rank(source, latch.announced, latch.known_at)
        self.continued = latch.compare(claim, now=now) if claim is not None else Continuity.OTHER

    def is_source(self) -> bool:
        """It comes from the source, which the last signalling left or a packet has confirmed since."""
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

    def claims_nothing_where_announced(self) -> bool:
        """It is not what the leg carries, and comes from the announced endpoint."""
        return self.claim is None and self.is_announced()

    def permitted(self) -> bool:
        """The policy admits sources of its rank."""
        return self.rank >= self.rules.least

    def not_permitted(self) -> bool:
        """The policy never admits sources of its rank."""
        return not self.permitted()

    def unanswerable(self) -> bool:
        """It comes from port 0 (RFC 768), where nothing can be sent, and its end is sent to its source."""
        return not self.source.port and self.latch.terms.policy is not SourcePolicy.ASYMMETRIC

    def never_latches(self) -> bool:
        """The policy admits every source."""
        return not self.rules.latches

    def waits(self) -> bool:
        """The policy learns nothing yet, and the end has no source from before."""
        latch = self.latch
        return self.rules.waits and latch.rank is None and self.now < latch.window_ends

    def stays(self) -> bool:
        """The leg has latched, and the policy lets no other source take over."""
        latch = self.latch
        latched = latch.state is SourceState.LATCHED or self.now >= latch.window_ends
        return latch.rank is not None and latched and not self.rules.moves and not latch.unheard()

    def lingers(self) -> bool:
        """It goes on with the stream of an end behind no NAT that has just announced another endpoint.

        It may be on its way since before. That its packets go on shows that the end has stayed.
        """
        latch = self.latch
        moved = latch.direct and latch.rank is None and latch.source is None and not self.is_announced()
        if not moved or self.rules.waits or self.continued is not Continuity.NEXT:
            return False
        real = self.rank is Rank.SAME_IP or latch.is_announced_address_real
        return real and self._tried_s() < LATE_S

    def goes_on(self) -> bool:
        """It goes on with the stream of the source, as only its sender can."""
        return self.continued is Continuity.NEXT

    def is_late(self) -> bool:
        """It is from an earlier part of the stream of the source, or is repeated.

        An end that has just announced another endpoint may begin its stream anew there; elsewhere, the time
        for which its packets go on shows that it has.
        """
        if self.continued is not Continuity.LATE or (self.latch.rank is None and self.is_announced()):
            return False
        return self._tried_s() < LATE_S

    def announced_wins(self) -> bool:
        """It comes from the announced endpoint, which no other source keeps out."""
        return self.is_announced() and (self.rules.announced_wins or self.latch.rank is None)

    def was_here_before(self) -> bool:
        """It comes from a sender to the call that had the port before."""
        return self.latch.remembers(self.source, self.claim, now=self.now)

    def first(self) -> bool:
        """No source is there, and nothing speaks against this one.

        Where it is known which IP address packets come from, and the policy can wait, a stream from elsewhere
        has to go on for a while.
        """
        if self.latch.rank is not None:
            return False
        if self.rank >= Rank.SIGNALLED_FROM or not self.rules.improves or not self.latch.located:
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

    def stream_over_fragment(self) -> bool:
        """It is a stream, and the source has sent a few packets and fallen silent, as scans do."""
        held = self.latch.rank
        if held is None or self.rank < held or not self.rules.improves or not self.latch.fragmentary():
            return False
        return self.latch.silence_s(now=self.now) >= MOMENT_S and self.streams()

    def replaces_equal(self) -> bool:
        """In the window, it is a stream of the same rank, and the source has fallen silent."""
        return (
            self.rules.improves
            and self.rank == self.latch.rank
            and self.now < self.latch.window_ends
            and self.streams()
            and self.latch.silence_s(now=self.now) >= MOMENT_S
        )

    def follows_session(self) -> bool:
        """It is a stream of the IP address that the source had in the session before.

        A NAT may give an end another port for each port of the relay.
        """
        latch = self.latch
        if latch.rank is None or latch.source is None or not latch.unheard():
            return False
        return self.source.address == latch.source.address and self.streams()

    def relatches(self) -> bool:
        """It is a stream of the same IP address, or a better one, and the source has been silent.

        So are checks of ICE, where the source has been silent for much longer: an end that sends no media
        sends checks alone, and its NAT may have moved it.
        """
        held, after_s = self.latch.rank, self.latch.terms.relatch_s
        if held is None or self.latch.source is None or not after_s:
            return False
        if self.source.address != self.latch.source.address and self.rank <= max(held, Rank.SAME_PORT):
            return False  # any sender can have the announced port
        # asked first, so that the silence is measured from here on
        silent_s = self.latch.silence_s(now=self.now)
        return silent_s >= after_s and (self.streams() or (silent_s >= CONSENT_S and self.repeats()))

    def streams(self) -> bool:
        """It follows another media packet, or report, from the same source."""
        if self.claim == Claim() and Carried.OTHER not in self.latch.terms.carried:
            return False  # a handshake
        return self.repeats()

    def repeats(self) -> bool:
        """It follows another one of its kind from the same source: media, a report, or a handshake."""
        return self.trial is not None and self.trial.packets > 1

    def any_other(self) -> bool:
        """No rule above holds."""
        return True

    def _tried_s(self) -> float:
        """How long its stream has been on trial; 0: it is another one that is."""
        trial, claim = self.trial, self.claim
        if trial is None or claim is None or trial.claim.ssrc != claim.ssrc:
            return 0.0
        return self.now - trial.began


class Rule(NamedTuple):
    """One row of the table: where `holds`, `decision` is what is done."""

    holds: Callable[[Facts], bool]
    decision: Decision


RULES: Final = (
    Rule(Facts.is_source, Decision.PASS),
    Rule(Facts.comes_back, Decision.TAKE),
    Rule(Facts.claims_nothing_where_announced, Decision.PASS),
    Rule(Facts.claims_nothing, Decision.REFUSE),
    Rule(Facts.unanswerable, Decision.REFUSE),
    Rule(Facts.never_latches, Decision.TAKE),
    Rule(Facts.not_permitted, Decision.REFUSE),
    Rule(Facts.waits, Decision.PASS),
    Rule(Facts.stays, Decision.REFUSE),
    Rule(Facts.lingers, Decision.PASS),
    Rule(Facts.goes_on, Decision.TAKE),
    Rule(Facts.is_late, Decision.REFUSE),
    Rule(Facts.announced_wins, Decision.TAKE),
    Rule(Facts.was_here_before, Decision.REFUSE),
    Rule(Facts.first, Decision.TAKE),
    Rule(Facts.better, Decision.TAKE),
    Rule(Facts.media_over_keepalive, Decision.TAKE),
    Rule(Facts.stream_over_fragment, Decision.TAKE),
    Rule(Facts.follows_session, Decision.TAKE),
    Rule(Facts.replaces_equal, Decision.TAKE),
    Rule(Facts.relatches, Decision.TAKE),
    Rule(Facts.any_other, Decision.REFUSE),
)
"""The rules of latching, in order: the first that holds decides."""
