"""What one leg knows about its source: the facts that the rules of latching go by.

The rules are nh.calls.latching.rules, what follows from them is nh.calls.latching.latch. No I/O, no clock.
"""

import abc
import enum
from typing import Any, Final, NamedTuple

from nh.calls.latching.claims import Carried, Claim
from nh.calls.latching.source import Rank
from nh.calls.latching.terms import LegTerms
from nh.calls.media import Endpoint
from nh.calls.rare import Rare
from nh.ip_address import is_private

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


class Continuity(enum.Enum):
    """How a packet stands to the stream of the source.

    NEXT: it goes on with it.
    LATE: it is of an earlier part of it.
    OTHER: it is not of this stream.
    """

    NEXT = enum.auto()
    LATE = enum.auto()
    OTHER = enum.auto()


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
        """The trial after one more packet of the same source.

        Packets that the network has delayed or doubled neither prolong the trial nor end it. Nor do those of
        another stream, whose trial begins when this one pauses, and RTCP between the media (RFC 5761). Media
        replace a trial of other packets at once.
        """
        of_media = self.claim.sequence is not None
        if claim.sequence is not None and not of_media:
            return Trial(claim, 1, now, now)
        if now - self.latest > (GAP_S if of_media else REPORT_GAP_S):
            return Trial(claim, 1, now, now)
        return Trial(claim, self.packets + 1, self.began, now) if claim.follows(self.claim) else self


class LatchState(abc.ABC):
    """What one leg knows about its source.

    Attributes:
        announced: where the SDP of that end says that it receives, None if it says nothing usable.
        terms: who may send, and what claims the leg; shared by legs that are alike.
        signalled_from: IP address that the signalling came from, "" if unknown.
        met_at: IP address that the end's media came from before it announced another port, "" if unknown.
        direct: its media came from the endpoint that the end had announced before it moved: no NAT is there.
        window_ends: monotonic seconds until which a better source takes over.
        signalled: monotonic seconds of the last SDP of that end, 0 in calls of Net::SIP's. Of several legs at
            one socket with the same announced endpoint, the last one comes first: one phone may answer under
            two tags.
        source: where packets come from, None before the first.
        rank: how well `source` matches, None if no packet came since the last signalling. A source whose
            stream moved keeps the rank that it had.
        state: see SourceState.
        ice_ufrag: the user fragment of the end's ICE, which its restart changes (RFC 8445 9); "" without ICE,
            and where checks of the relay's own ICE say where the end is.
        trials: the streams on trial, by source; None: none yet.
        replaced: the leg's session was replaced. Other legs at the socket come first, and its source stays.
        left: it was replaced by one at another socket: what its source still sends here is its own.
    """

    __slots__ = (
        "announced",
        "rank",
        "rare",
        "signalled",
        "signalled_from",
        "source",
        "state",
        "terms",
        "window_ends",
    )

    replaced = Rare(False)
    left = Rare(False)
    met_at = Rare("")
    direct = Rare(False)
    ice_ufrag = Rare("")
    trials = Rare[dict[Endpoint, Trial] | None](None)

    def __init__(
        self,
        *,
        announced: Endpoint | None,
        terms: LegTerms,
        signalled_from: str,
        window_ends: float,
    ) -> None:
        self.rare: dict[str, Any] | None = None
        self.source: Endpoint | None = None
        self.rank: Rank | None = None
        self.state = SourceState.LATCHING
        self.announced = announced
        self.terms = terms
        self.signalled_from = signalled_from
        self.window_ends = window_ends
        self.signalled = 0.0

    @property
    def known_at(self) -> str:
        """IP address that the end is known at beside what it announced, "" if there is none."""
        return self.signalled_from or self.met_at

    @property
    def located(self) -> bool:
        """Whether it is known which IP address packets come from.

        It is not if a NAT may stand before it. With ICE, what is announced is one candidate of many.
        """
        return bool(self.known_at) or self.is_announced_address_real

    @property
    def is_announced_address_real(self) -> bool:
        """Whether packets come from the announced IP address, because no NAT stands before it."""
        announced = self.announced
        return (
            announced is not None
            and Carried.STUN not in self.terms.carried
            and not is_private(announced.address)
        )

    # --- what a leg knows of its packets --------------------------------------------------------------

    @abc.abstractmethod
    def compare(self, claim: Claim, *, now: float) -> Continuity:
        """How a packet stands to the stream of the source."""

    @abc.abstractmethod
    def leave_streams(self, claim: Claim | None) -> None:
        """Another source is taken by a packet: the streams so far are not its, but that of the packet."""

    @abc.abstractmethod
    def streamless(self) -> bool:
        """Whether the leg carries RTP and has had none."""

    @abc.abstractmethod
    def fragmentary(self) -> bool:
        """Whether the source has sent too few packets of RTP to be a phone that talks."""

    @abc.abstractmethod
    def unheard(self) -> bool:
        """Whether no packet has come: the source is that of the session before."""

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
