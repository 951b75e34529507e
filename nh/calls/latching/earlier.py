"""Earlier senders: who sent to a port in the call that had it before.

An end whose BYE was lost sends on after its call has ended. Its packets must not claim the leg of the next
call at that port.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

from nh.calls.latching.claims import Claim
from nh.calls.media import Endpoint

EARLIER_S: Final = 60.0
"""How long a sender is remembered after its call has ended, in seconds."""


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
    """The latest sender to each port of a relay."""

    def __init__(self) -> None:
        # nearly in the order of `until`: a session that falls silent was in use until a while ago; the first
        # key of a dictionary whose first ones go is ever further away
        self._senders: OrderedDict[Endpoint, EarlierSender] = OrderedDict()

    def add(
        self, local: Endpoint, source: Endpoint, ssrcs: frozenset[int], *, call_id: bytes, now: float
    ) -> None:
        """Remember a sender to `local` in a session that was in use until `now` (monotonic seconds)."""
        self._forget_old(now)
        self._senders.pop(local, None)
        self._senders[local] = EarlierSender(source, ssrcs, now + EARLIER_S, call_id)

    def find(self, local: Endpoint, *, call_id: bytes, now: float) -> EarlierSender | None:
        """The sender to `local` in a call before `call_id`, if it is still remembered at `now`."""
        self._forget_old(now)
        sender = self._senders.get(local)
        if sender is None or sender.call_id == call_id or sender.until <= now:
            return None
        return sender

    def _forget_old(self, now: float) -> None:
        while self._senders:
            local, sender = next(iter(self._senders.items()))
            if sender.until > now:
                break
            del self._senders[local]
