"""A call: its transactions (Net::SIP's model) or its offers (ng's), and what both models have in common."""

from collections.abc import Iterator

from nh.calls.media import Endpoint
from nh.calls.offer_answer.offers import Offers
from nh.calls.resources import CallResources
from nh.calls.session import Session
from nh.calls.session_info import SessionInfo, session_info
from nh.calls.shared_resources import SharedResources
from nh.calls.sockets.group import SocketGroup
from nh.calls.timeline import CallTimeline
from nh.calls.timeouts import TimeoutTarget
from nh.calls.transactions import CallTransactions, HasTransactions
from nh.errors import UnknownCall


class Call(HasTransactions):
    """One call.

    Args:
        call_id: the SIP Call-ID.
        resources: shared by all calls of the table.
        now: monotonic seconds.

    Attributes:
        created: monotonic seconds.
        next_expiry: monotonic seconds before which nothing of the call can expire. Packets only postpone
            expiry; each command resets this.
        transactions: those of Net::SIP's model; () if there is none, as in a call of ng's.
        offers: parties and dialogs of ng's offer and answer; None in a call of Net::SIP's.
        timeline: what happened to the call.
        timeout_target: where the client wants a timeout of the media reported; None: nowhere.
        dtmf_target: where it wants telephone events reported; None: nowhere.
    """

    __slots__ = (
        "_shared",
        "call_id",
        "created",
        "dtmf_target",
        "next_expiry",
        "offers",
        "timeline",
        "timeout_target",
    )

    def __init__(self, call_id: bytes, resources: SharedResources, *, now: float) -> None:
        self.call_id = call_id
        self.created = now
        self.next_expiry = now
        self._transactions = ()
        self.offers: Offers | None = None
        self.timeout_target: TimeoutTarget | None = None
        self.dtmf_target: Endpoint | None = None
        self.timeline = CallTimeline(begin=now + resources.wall_offset_s)
        self._shared = resources

    @property
    def resources(self) -> CallResources:
        """Its part of what all calls share; made when it is needed, because no packet needs it."""
        return CallResources(self._shared, self.call_id)

    @property
    def transaction_rules(self) -> CallTransactions:
        """What Net::SIP's commands do with `transactions`; made when it is needed."""
        return CallTransactions(self, self.resources)

    @property
    def is_empty(self) -> bool:
        """Whether the call has no sockets left."""
        return not self._transactions and (self.offers is None or self.offers.is_empty)

    @property
    def sessions(self) -> Iterator[tuple[int, Session]]:
        """All sessions that relay, each with its cseq (0 for those of ng's offer and answer)."""
        for transaction in self.transactions:
            for session in transaction.running:
                yield transaction.cseq, session
        if self.offers is not None:
            for session in self.offers.running:
                yield 0, session

    @property
    def groups(self) -> Iterator[tuple[int, SocketGroup]]:
        """All socket groups, each with its cseq as in `sessions`."""
        for transaction in self.transactions:
            for group in transaction.groups:
                yield transaction.cseq, group
        if self.offers is not None:
            for group in self.offers.groups:
                yield 0, group

    @property
    def running(self) -> list[Session]:
        """All sessions that relay."""
        if not self._transactions:
            return [] if self.offers is None else self.offers.running
        return [session for _, session in self.sessions]  # a call may have offers, too

    @property
    def all_groups(self) -> list[SocketGroup]:
        """All socket groups."""
        if not self._transactions:
            return [] if self.offers is None else self.offers.groups
        return [group for _, group in self.groups]

    def note(self, *, now: float) -> float:
        """Bring counters and times of packets up to date, before they are shown or decide on expiry.

        Returns:
            See `last_active`.
        """
        latest = self.created
        for session in self.running:
            session.note(now=now)
            latest = max(latest, session.last_active)
        return latest

    @property
    def last_active(self) -> float:
        """Monotonic seconds of the last packet or of the last start of a session."""
        latest = self.created
        for session in self.running:
            latest = max(latest, session.last_active)
        return latest

    def get_offers(self, *, now: float) -> Offers:
        """The offers of the call, for a command that may change them.

        Raises:
            UnknownCall: there are none; Net::SIP's transactions are none of ng's business, nor rtpproxy's.
        """
        if self.offers is None or self.offers.is_empty:
            raise UnknownCall("the call has no offers")
        self.expect_expiry(now=now)
        return self.offers

    def close(self, *, now: float) -> list[SessionInfo]:
        """End all sessions and close all sockets; returns the sessions."""
        closed = self.transaction_rules.close(now=now) if self._transactions else []
        if self.offers is not None:
            offset_s = self._shared.wall_offset_s
            closed += [
                session_info(each, self.call_id, 0, wall_offset_s=offset_s) for each in self.offers.running
            ]
            self.offers.close(now=now)
        return closed

    def expect_expiry(self, *, now: float) -> None:
        """Something of the call may expire from `now` on: a command changes it."""
        self.next_expiry = now
        self._shared.expiry.add(self.call_id)

    def expire(self, *, now: float) -> None:
        """End silent sessions and close unneeded sockets."""
        next_times: list[float] = []
        if self._transactions:
            next_times.append(self.transaction_rules.expire(now=now))
        if self.offers is not None:
            next_times.append(self.offers.expire(now=now))
        self.next_expiry = min(next_times, default=now)
