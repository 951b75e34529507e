"""The transactions of one call, and the rules between them (Net::SIP::NATHelper::Call).

The rules are Net::SIP's. Where its code differs from its intent, nh follows the intent;
docs/explanation/architecture.md lists the differences.
"""

import math
from collections.abc import Iterator
from typing import Final

from nh.calls.media import Media, RelayMedia, Side, interned
from nh.calls.one_or_many import OneOrMany
from nh.calls.resources import CallResources
from nh.calls.session import Session
from nh.calls.session_info import SessionInfo, session_info
from nh.calls.transaction import Transaction
from nh.errors import LimitReached, NotAllocated, StaleTransaction, UnknownCall

MAX_GROUPS: Final = 256
"""Most socket groups of a call's transactions. Those without media have no socket that a limit counts."""


class HasTransactions:
    """A call, as far as its transactions are concerned.

    Attributes:
        transactions: in the order of their begin, each with another (idfrom, cseq).
    """

    __slots__ = ("_transactions",)

    transactions = OneOrMany[Transaction]()
    _transactions: Transaction | tuple[Transaction, ...]


class CallTransactions:
    """The rules for the transactions within one call, made when they are needed: no packet needs them.

    Args:
        call: has the transactions.
        resources: the call's.
    """

    __slots__ = ("_call", "_resources")

    def __init__(self, call: HasTransactions, resources: CallResources) -> None:
        self._call = call
        self._resources = resources

    @property
    def members(self) -> tuple[Transaction, ...]:
        """The transactions of the call."""
        return self._call.transactions

    def find(self, id_from: bytes, cseq: int) -> Transaction | None:
        """The transaction of one request."""
        return next((t for t in self.members if t.cseq == cseq and t.id_from == id_from), None)

    def allocate(
        self,
        known: Transaction | None,
        *,
        id_from: bytes,
        id_to: bytes,
        cseq: int,
        side: Side,
        address: str,
        media: tuple[Media, ...],
        now: float,
    ) -> tuple[RelayMedia, ...]:
        """Open the relay's ports for an SDP that has none: a retransmission is not for this.

        Args:
            known: the transaction, as find() has found it.
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
        if known is None:
            self._refuse_older(id_from, cseq)
        self._refuse_too_many()
        group = self._resources.open_group(
            group_id=id_from if side is Side.FROM else id_to,
            side=side,
            address=address,
            media=[interned(medium) for medium in media],
            now=now,
        )
        transaction = known or Transaction(id_from, cseq)
        transaction.add_group(group)
        if known is None:
            self._call.transactions += (transaction,)
        return group.relay_media

    def activate(
        self,
        *,
        id_from: bytes,
        id_to: bytes,
        cseq: int,
        param: dict[str, str],
        now: float,
    ) -> bool:
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
        transaction = self.find(id_from, cseq)
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
        session = self._resources.start_session(group_from, group_to, param=param, before=before, now=now)
        for of_transaction, replaced in older:
            of_transaction.replace(replaced, now=now)
        transaction.sessions += (session,)
        return True

    def close_session(self, *, id_from: bytes, id_to: bytes, cseq: int, now: float) -> list[SessionInfo]:
        """End the session of one transaction (after CANCEL or an error response).

        The transaction's sockets are closed with its last session, or if it never had one.

        Args:
            id_from, id_to, cseq: see activate().
            now: monotonic seconds.

        Returns:
            The session that ended, if there was one.
        """
        transaction = self.find(id_from, cseq)
        return [] if transaction is None else self._close_in(transaction, id_to, now=now)

    def close_between(self, *, id_from: bytes, id_to: bytes, now: float) -> list[SessionInfo]:
        """End all sessions between two ends, in both directions, because either end may send BYE.

        Args:
            id_from, id_to: the ends, in any order.
            now: monotonic seconds.

        Returns:
            The sessions that ended.
        """
        closed: list[SessionInfo] = []
        for caller, callee in ((id_from, id_to), (id_to, id_from)):
            for transaction in [t for t in self.members if t.id_from == caller]:
                closed += self._close_in(transaction, callee, now=now)
        return closed

    def close(self, *, now: float) -> list[SessionInfo]:
        """End all sessions and close all sockets; returns the sessions."""
        members = self.members
        closed = [
            _info(self._resources, transaction, session)
            for transaction in members
            for session in transaction.sessions
        ]
        for transaction in members:
            transaction.close(self._resources, now=now)
        self._call.transactions = ()
        return closed

    def expire(self, *, now: float) -> float:
        """End silent sessions and close unneeded sockets.

        Returns:
            Monotonic seconds before which nothing else can expire; infinite if no transaction is left.
        """
        resources = self._resources
        rules = resources.settings
        for transaction in self.members:
            for session in transaction.sessions:
                if now >= session.expires_at(rules):
                    transaction.remove(session)
                    resources.stop_session(session, since=session.last_active, silent=True)
            transaction.expire_sockets(resources, now=now)
            if transaction.is_empty:
                self._forget(transaction)
        return min([transaction.next_expiry(rules) for transaction in self.members], default=math.inf)

    def _refuse_too_many(self) -> None:
        if sum(1 for transaction in self.members for _ in transaction.groups) >= MAX_GROUPS:
            raise LimitReached(f"the call has {MAX_GROUPS} socket groups, the limit")

    def _refuse_older(self, id_from: bytes, cseq: int) -> None:
        newest = max((t.cseq for t in self.members if t.id_from == id_from), default=cseq)
        if newest > cseq:
            raise StaleTransaction(f"cseq {cseq} is below {newest}, the latest one of the same sender")

    def _forget(self, transaction: Transaction) -> None:
        self._call.transactions = tuple([each for each in self.members if each is not transaction])

    def _sessions_between(self, ids: set[bytes]) -> Iterator[tuple[Transaction, Session]]:
        """The current sessions between two ends, each with its transaction."""
        for transaction in self.members:
            for session in transaction.sessions:
                if {transaction.id_from, session.group_to.id} == ids:
                    yield transaction, session

    def _close_in(self, transaction: Transaction, id_to: bytes, *, now: float) -> list[SessionInfo]:
        closed: list[SessionInfo] = []
        session = transaction.find_session(id_to)
        if session is not None:
            transaction.remove(session)
            self._resources.stop_session(session, since=now)
            closed.append(_info(self._resources, transaction, session))
        if not transaction.sessions:
            transaction.close(self._resources, now=now)
            self._forget(transaction)
        return closed


def _info(resources: CallResources, transaction: Transaction, session: Session) -> SessionInfo:
    offset_s = resources.shared.wall_offset_s
    return session_info(session, resources.call_id, transaction.cseq, wall_offset_s=offset_s)
