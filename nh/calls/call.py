"""A call: all transactions under one call-id, and the rules between them (Net::SIP::NATHelper::Call).

The rules are those of Net::SIP, with what they mean where its code does something else
(docs/explanation/architecture.md has the list).
"""

from collections.abc import Iterator
from typing import Final

from nh.calls.media import Media, RelayMedia, Side
from nh.calls.offer_answer.offers import Offers
from nh.calls.resources import Resources
from nh.calls.session import Session, SessionInfo
from nh.calls.socket_group import SocketGroup
from nh.calls.transaction import Transaction
from nh.errors import LimitReached, NotAllocated, StaleTransaction, UnknownCall

MAX_GROUPS: Final = 256
"""Most groups of sockets in one call: groups without media cost no socket, so no other limit holds them."""


class Call:
    """Everything under one call-id.

    Arguments:
        call_id: the SIP Call-ID.
        resources: what all calls of its table share.
        wall_offset_s: what to add to monotonic seconds to get wall-clock seconds.
        now: monotonic seconds.
    """

    __slots__ = (
        "_wall_offset_s",
        "call_id",
        "created",
        "next_expiry",
        "offers",
        "resources",
        "transactions",
    )

    def __init__(self, call_id: bytes, resources: Resources, *, wall_offset_s: float, now: float) -> None:
        self.call_id = call_id
        self.created = now
        # packets only put expiry off, so a call need not be looked at before; every command resets it
        self.next_expiry = now
        self.transactions: dict[tuple[bytes, int], Transaction] = {}
        # what ng's offers and answers agreed; None in a call of Net::SIP's
        self.offers: Offers | None = None
        self.resources = resources.of_call(call_id)
        self._wall_offset_s = wall_offset_s

    @property
    def is_empty(self) -> bool:
        """Whether no sockets are left under this call-id."""
        return not self.transactions and (self.offers is None or self.offers.is_empty)

    @property
    def sessions(self) -> Iterator[tuple[int, Session]]:
        """All sessions that relay, with their cseq (0: agreed by ng's offer and answer)."""
        for transaction in self.transactions.values():
            for session in transaction.running:
                yield transaction.cseq, session
        if self.offers is not None:
            for session in self.offers.running:
                yield 0, session

    @property
    def groups(self) -> Iterator[tuple[int, SocketGroup]]:
        """All groups of sockets, with their cseq as in `sessions`."""
        for transaction in self.transactions.values():
            for group in transaction.groups:
                yield transaction.cseq, group
        if self.offers is not None:
            for group in self.offers.groups:
                yield 0, group

    @property
    def running(self) -> Iterator[Session]:
        """All sessions that relay."""
        for _, session in self.sessions:
            yield session

    def note(self, *, now: float) -> None:
        """Look which legs are alive, before that is shown or decides about the end of a session."""
        for session in self.running:
            session.note(now=now)

    @property
    def last_active(self) -> float:
        """Monotonic seconds of the last packet, or of what was created last."""
        return max([self.created, *(session.last_active for session in self.running)])

    def get_offers(self, *, now: float) -> Offers:
        """The parties and dialogs of the call, for something to be changed in them."""
        self.next_expiry = now
        if self.offers is None:
            self.offers = Offers(self.resources)
        return self.offers

    def allocate(
        self,
        *,
        id_from: bytes,
        id_to: bytes,
        cseq: int,
        side: Side,
        address: str,
        media: tuple[Media, ...],
        now: float,
    ) -> tuple[RelayMedia, ...]:
        """The relay's ports for an SDP; those of the first time if it is a retransmission, whatever it says.

        Raises StaleTransaction for an unknown cseq below a known one of the same sender, and
        LimitReached, PortsExhausted or AddressUnavailable; then nothing is kept.
        """
        transaction = self.transactions.get((id_from, cseq))
        if transaction is None:
            self._refuse_older(id_from, cseq)
            transaction = Transaction(id_from, cseq)
        group = transaction.find_group(side, id_to)
        if group is None:
            self._refuse_too_many()
            group = self.resources.open_group(
                group_id=id_from if side is Side.FROM else id_to,
                side=side,
                address=address,
                media=media,
                now=now,
            )
            transaction.add_group(group)
            self.transactions[id_from, cseq] = transaction
            self.next_expiry = now
        return group.relay_media

    def activate(self, *, id_from: bytes, id_to: bytes, cseq: int, param: dict[str, str], now: float) -> bool:
        """Relay between the two ends; returns False if that was so already.

        Older sessions between the same ends, in either direction, are replaced.
        Raises UnknownCall, NotAllocated, StaleTransaction (the session was replaced), SocketCountMismatch.
        """
        transaction = self.transactions.get((id_from, cseq))
        if transaction is None:
            raise UnknownCall(f"the call has no transaction with cseq {cseq} from this sender")
        if id_to in transaction.sessions:
            return False
        group_from, group_to = transaction.group_from, transaction.groups_to.get(id_to)
        if group_from is None or group_to is None:
            missing = "request" if group_from is None else "response"
            raise NotAllocated(f"no sockets were allocated for the {missing} of cseq {cseq} yet")
        if any(session.group_to is group_to for session in transaction.replaced):
            raise StaleTransaction(f"the session of cseq {cseq} was replaced by a newer one")
        session = self.resources.start_session(group_from, group_to, param=param, now=now)
        self._replace_older({id_from, id_to}, now=now)
        # by the group's own id: equal to id_to, and kept anyway
        transaction.sessions[group_to.id] = session
        self.next_expiry = now
        return True

    def close_session(self, *, id_from: bytes, id_to: bytes, cseq: int, now: float) -> list[SessionInfo]:
        """End the session of one transaction (CANCEL, an error response).

        The transaction's sockets are freed with its last session, and if it never had one.
        """
        transaction = self.transactions.get((id_from, cseq))
        return [] if transaction is None else self._close_in(transaction, id_to, now=now)

    def close_between(self, *, id_from: bytes, id_to: bytes, now: float) -> list[SessionInfo]:
        """End every session between two ends, whoever began it (BYE comes from either)."""
        closed: list[SessionInfo] = []
        for caller, callee in ((id_from, id_to), (id_to, id_from)):
            for transaction in [t for t in self.transactions.values() if t.id_from == caller]:
                closed += self._close_in(transaction, callee, now=now)
        return closed

    def close(self, *, now: float) -> list[SessionInfo]:
        """End everything."""
        closed = [
            self._info(transaction, session)
            for transaction in self.transactions.values()
            for session in transaction.sessions.values()
        ]
        for transaction in self.transactions.values():
            transaction.close(self.resources, now=now)
        self.transactions.clear()
        if self.offers is not None:
            closed += [self._info_of_offered(session) for session in self.offers.running]
            self.offers.close(now=now)
        return closed

    def expire(self, *, now: float) -> None:
        """End sessions that fell silent and close sockets that nothing needs."""
        rules = self.resources.settings
        for key, transaction in list(self.transactions.items()):
            for id_to, session in list(transaction.sessions.items()):
                if now >= session.expires_at(rules):
                    del transaction.sessions[id_to]
                    self.resources.stop_session(session, since=session.last_active, silent=True)
            transaction.expire_sockets(self.resources, now=now)
            if transaction.is_empty:
                del self.transactions[key]
        next_times = [transaction.next_expiry(rules) for transaction in self.transactions.values()]
        if self.offers is not None:
            self.offers.expire(now=now)
            next_times.append(self.offers.next_expiry())
        self.next_expiry = min(next_times, default=now)

    def _refuse_too_many(self) -> None:
        if sum(1 for _ in self.groups) >= MAX_GROUPS:
            raise LimitReached(f"the call has {MAX_GROUPS} groups of sockets, the most that one may have")

    def _refuse_older(self, id_from: bytes, cseq: int) -> None:
        newest = max((t.cseq for t in self.transactions.values() if t.id_from == id_from), default=cseq)
        if newest > cseq:
            raise StaleTransaction(f"cseq {cseq} is below {newest}, which is known from the same sender")

    def _replace_older(self, ends: set[bytes], *, now: float) -> None:
        for transaction in self.transactions.values():
            for id_to in [to for to in transaction.sessions if {transaction.id_from, to} == ends]:
                transaction.replace(id_to, now=now)

    def _close_in(self, transaction: Transaction, id_to: bytes, *, now: float) -> list[SessionInfo]:
        closed: list[SessionInfo] = []
        session = transaction.sessions.pop(id_to, None)
        if session is not None:
            self.resources.stop_session(session, since=now)
            closed.append(self._info(transaction, session))
        if not transaction.sessions:
            transaction.close(self.resources, now=now)
            del self.transactions[transaction.id_from, transaction.cseq]
        self.next_expiry = now
        return closed

    def _info(self, transaction: Transaction, session: Session) -> SessionInfo:
        return session.info(self.call_id, transaction.cseq, wall_offset_s=self._wall_offset_s)

    def _info_of_offered(self, session: Session) -> SessionInfo:
        return session.info(self.call_id, 0, wall_offset_s=self._wall_offset_s)
