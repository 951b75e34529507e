"""A call: its transactions or offers, and the rules between transactions (Net::SIP::NATHelper::Call).

The rules are Net::SIP's. Where its code differs from its intent, nh follows the intent;
docs/explanation/architecture.md lists the differences.
"""

from collections.abc import Iterator
from typing import Final

from nh.calls.journal import CallJournal
from nh.calls.media import Endpoint, Media, RelayMedia, Side, interned
from nh.calls.offer_answer.offers import Offers
from nh.calls.one_or_many import OneOrMany
from nh.calls.resources import CallResources, Resources
from nh.calls.session import Session, SessionInfo
from nh.calls.sockets.group import SocketGroup
from nh.calls.timeouts import TimeoutTarget
from nh.calls.transaction import Transaction
from nh.errors import LimitReached, NotAllocated, StaleTransaction, UnknownCall

MAX_GROUPS: Final = 256
"""Most socket groups of one call. Groups without media have no socket, so no other limit bounds them."""


class Call:
    """One call.

    Args:
        call_id: the SIP Call-ID.
        resources: shared by all calls of the table.
        now: monotonic seconds.

    Attributes:
        created: monotonic seconds.
        next_expiry: monotonic seconds before which nothing of the call can expire. Packets only postpone
            expiry; each command resets this.
        transactions: each with another (idfrom, cseq), in the order of their begin; () in a call of ng's.
        offers: parties and dialogs of ng's offer and answer; None in a call of Net::SIP's.
        journal: what happened to the call.
        timeout_target: where the client wants a timeout of the media reported; None: nowhere.
        dtmf_target: where it wants telephone events reported; None: nowhere.
    """

    __slots__ = (
        "_shared",
        "_transactions",
        "call_id",
        "created",
        "dtmf_target",
        "journal",
        "next_expiry",
        "offers",
        "timeout_target",
    )

    transactions = OneOrMany[Transaction]()
    _transactions: Transaction | tuple[Transaction, ...]

    def __init__(self, call_id: bytes, resources: Resources, *, now: float) -> None:
        self.call_id = call_id
        self.created = now
        self.next_expiry = now
        self.transactions = ()
        self.offers: Offers | None = None
        self.timeout_target: TimeoutTarget | None = None
        self.dtmf_target: Endpoint | None = None
        self.journal = CallJournal(begin=now + resources.wall_offset_s)
        self._shared = resources

    @property
    def resources(self) -> CallResources:
        """Its part of what all calls share; made when it is needed, because no packet needs it."""
        return self._shared.of_call(self.call_id)

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

    def find_transaction(self, id_from: bytes, cseq: int) -> Transaction | None:
        """The transaction of one request."""
        return next((t for t in self.transactions if t.cseq == cseq and t.id_from == id_from), None)

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
        """Open the relay's ports for an SDP.

        A retransmission gets the ports of the first time, whatever its media are.

        Args:
            id_from: who sent the request.
            id_to: who sent the response; it does not count for a request.
            cseq: of the transaction.
            side: FROM for the request's SDP, TO for the response's.
            address: local IP address to bind.
            media: the media that the SDP announces.
            now: monotonic seconds.

        Returns:
            The relay's address and ports, one entry for each medium.

        Raises:
            StaleTransaction: the cseq is unknown and below a known one of the same sender.
            LimitReached, PortsExhausted, AddressUnavailable: then no socket is left open.
        """
        known = self.find_transaction(id_from, cseq)
        if known is None:
            self._refuse_older(id_from, cseq)
        transaction = known or Transaction(id_from, cseq)
        group = transaction.find_group(side, id_to)
        if group is None:
            self._refuse_too_many()
            group = self.resources.open_group(
                group_id=id_from if side is Side.FROM else id_to,
                side=side,
                address=address,
                media=[interned(medium) for medium in media],
                now=now,
            )
            transaction.add_group(group)
            if known is None:
                self.transactions += (transaction,)
            self.expect_expiry(now=now)
        return group.relay_media

    def activate(self, *, id_from: bytes, id_to: bytes, cseq: int, param: dict[str, str], now: float) -> bool:
        """Relay between the two ends of a transaction, and replace older sessions between these ends.

        Args:
            id_from: who sent the request.
            id_to: who sent the response.
            cseq: of the transaction.
            param: data of the proxy for the session information.
            now: monotonic seconds.

        Returns:
            False if the session is active already.

        Raises:
            UnknownCall: there is no such transaction.
            NotAllocated: the request or the response has no sockets yet.
            StaleTransaction: a newer session has replaced this one.
            SocketCountMismatch: request and response have different numbers of sockets.
        """
        transaction = self.find_transaction(id_from, cseq)
        if transaction is None:
            raise UnknownCall(f"the call has no transaction with cseq {cseq} from this sender")
        if transaction.find_session(id_to) is not None:
            return False
        group_from, group_to = transaction.group_from, transaction.find_group(Side.TO, id_to)
        if group_from is None or group_to is None:
            missing = "request" if group_from is None else "response"
            raise NotAllocated(f"the {missing} of cseq {cseq} has no sockets yet: allocate them first")
        if any(session.group_to is group_to for session in transaction.replaced):
            raise StaleTransaction(f"a newer session has replaced the one of cseq {cseq}")
        older = list(self._sessions_between({id_from, id_to}))
        before = older[-1][1] if older else None
        session = self.resources.start_session(group_from, group_to, param=param, before=before, now=now)
        for of_transaction, replaced in older:
            of_transaction.replace(replaced, now=now)
        transaction.sessions += (session,)
        self.expect_expiry(now=now)
        return True

    def close_session(self, *, id_from: bytes, id_to: bytes, cseq: int, now: float) -> list[SessionInfo]:
        """End the session of one transaction (after CANCEL or an error response).

        The transaction's sockets are closed with its last session, or if it never had one.

        Returns:
            The session that ended, if there was one.
        """
        transaction = self.find_transaction(id_from, cseq)
        return [] if transaction is None else self._close_in(transaction, id_to, now=now)

    def close_between(self, *, id_from: bytes, id_to: bytes, now: float) -> list[SessionInfo]:
        """End all sessions between two ends, in both directions, because either end may send BYE."""
        closed: list[SessionInfo] = []
        for caller, callee in ((id_from, id_to), (id_to, id_from)):
            for transaction in [t for t in self.transactions if t.id_from == caller]:
                closed += self._close_in(transaction, callee, now=now)
        return closed

    def close(self, *, now: float) -> list[SessionInfo]:
        """End all sessions and close all sockets; returns the sessions."""
        closed = [
            self._info(transaction, session)
            for transaction in self.transactions
            for session in transaction.sessions
        ]
        for transaction in self.transactions:
            transaction.close(self.resources, now=now)
        self.transactions = ()
        if self.offers is not None:
            closed += [self._info_of_offered(session) for session in self.offers.running]
            self.offers.close(now=now)
        return closed

    def expect_expiry(self, *, now: float) -> None:
        """Something of the call may expire from `now` on: a command changes it."""
        self.next_expiry = now
        self._shared.expiry.add(self.call_id)

    def expire(self, *, now: float) -> None:
        """End silent sessions and close unneeded sockets."""
        rules = self.resources.settings
        for transaction in self.transactions:
            for session in transaction.sessions:
                if now >= session.expires_at(rules):
                    transaction.remove(session)
                    self.resources.stop_session(session, since=session.last_active, silent=True)
            transaction.expire_sockets(self.resources, now=now)
            if transaction.is_empty:
                self._forget(transaction)
        next_times = [transaction.next_expiry(rules) for transaction in self.transactions]
        if self.offers is not None:
            self.offers.expire(now=now)
            next_times.append(self.offers.next_expiry(now=now))
        self.next_expiry = min(next_times, default=now)

    def _refuse_too_many(self) -> None:
        if sum(1 for _ in self.groups) >= MAX_GROUPS:
            raise LimitReached(f"the call has {MAX_GROUPS} socket groups, the limit")

    def _refuse_older(self, id_from: bytes, cseq: int) -> None:
        newest = max((t.cseq for t in self.transactions if t.id_from == id_from), default=cseq)
        if newest > cseq:
            raise StaleTransaction(f"cseq {cseq} is below {newest}, the latest one of the same sender")

    def _forget(self, transaction: Transaction) -> None:
        self.transactions = tuple([each for each in self.transactions if each is not transaction])

    def _sessions_between(self, ids: set[bytes]) -> Iterator[tuple[Transaction, Session]]:
        """The current sessions between two ends, each with its transaction."""
        for transaction in self.transactions:
            for session in transaction.sessions:
                if {transaction.id_from, session.group_to.id} == ids:
                    yield transaction, session

    def _close_in(self, transaction: Transaction, id_to: bytes, *, now: float) -> list[SessionInfo]:
        closed: list[SessionInfo] = []
        session = transaction.find_session(id_to)
        if session is not None:
            transaction.remove(session)
            self.resources.stop_session(session, since=now)
            closed.append(self._info(transaction, session))
        if not transaction.sessions:
            transaction.close(self.resources, now=now)
            self._forget(transaction)
        self.expect_expiry(now=now)
        return closed

    def _info(self, transaction: Transaction, session: Session) -> SessionInfo:
        return session.info(self.call_id, transaction.cseq, wall_offset_s=self._shared.wall_offset_s)

    def _info_of_offered(self, session: Session) -> SessionInfo:
        return session.info(self.call_id, 0, wall_offset_s=self._shared.wall_offset_s)
