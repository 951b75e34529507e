"""Earlier senders: who sent to a port in the calls that had it before.

An end whose BYE was lost sends on after its call has ended. Its packets must not claim the leg of the next
call at that port, nor of those after it.
"""

from collections import OrderedDict
from operator import attrgetter
from typing import Final, NamedTuple

from nh.calls.latching.claims import Claim
from nh.calls.media import Endpoint

EARLIER_S: Final = 60.0
"""How long a sender is remembered after its call has ended, or its last packet to a later one, in seconds."""

MAX_SENDERS: Final = 4
"""Most senders that are remembered at a port, those that sent last: of several calls, or answerers of one."""

_until: Final = attrgetter("until")


class EarlierSender(NamedTuple):
    """The sender to one port in a call that has ended.

    Attributes:
        source: where its packets came from.
        ssrcs: of its RTP streams; none: it sent no RTP.
        until: monotonic seconds until which it is remembered.
        call_id: its call.
    """

    source: Endpoint
    ssrcs: frozenset[int]
    until: float
    call_id: bytes = b""

    def sent(self, source: Endpoint, claim: Claim, *, now: float) -> bool:
        """Whether a packet is one of its, at `now` (monotonic seconds)."""
        if now >= self.until or source != self.source:
            return False
        return not self.ssrcs or claim.ssrc is None or claim.ssrc in self.ssrcs


class EarlierSenders:
    """The latest senders to each port of a relay."""

    def __init__(self) -> None:
        # of each port the latest first; ports nearly in the order of that: a session that falls silent was in
        # use until a while ago; the first key of a dictionary whose first ones go is ever further away
        self._senders: OrderedDict[Endpoint, tuple[EarlierSender, ...]] = OrderedDict()

    def add(
        self, local: Endpoint, source: Endpoint, ssrcs: frozenset[int], *, call_id: bytes, now: float
    ) -> None:
        """Remember a sender to `local` in a session that was in use until `now` (monotonic seconds)."""
        self.keep(local, (EarlierSender(source, ssrcs, now + EARLIER_S, call_id),), now=now)

    def keep(self, local: Endpoint, senders: tuple[EarlierSender, ...], *, now: float) -> None:
        """Remember senders to `local` as they are: those that a call after their own remembers.

        Of a sender that is remembered there already, the later time counts.

        Args:
            local: the port.
            senders: the latest first.
            now: monotonic seconds.
        """
        if not senders:
            return
        self._forget_old(now)
        known = self._senders.pop(local, None)
        if known is not None:
            latest: dict[tuple[Endpoint, bytes], EarlierSender] = {}
            for each in sorted([*senders, *known], key=_until, reverse=True):
                if each.until > now:
                    latest.setdefault((each.source, each.call_id), each)
            senders = tuple(latest.values())[:MAX_SENDERS]
        if senders:
            self._senders[local] = senders

    def find(self, local: Endpoint, *, call_id: bytes, now: float) -> tuple[EarlierSender, ...]:
        """The senders to `local` in calls before `call_id` that are remembered at `now`; the latest first."""
        senders = self._senders.get(local)
        if senders is None:
            return ()
        return tuple([each for each in senders if each.call_id != call_id and each.until > now])

    def _forget_old(self, now: float) -> None:
        while self._senders:
            local, senders = next(iter(self._senders.items()))
            if senders[0].until > now:
                break
            del self._senders[local]
