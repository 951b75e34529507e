"""Snapshots of transactions (Net::SIP's model of a call)."""

from collections.abc import Sequence
from typing import Self

import msgspec

from nh.calls.session import Session
from nh.calls.snapshots.media import GroupSnapshot
from nh.calls.snapshots.session import SessionSnapshot
from nh.calls.snapshots.values import Count, Index, Indexes, require, require_distinct, require_index
from nh.calls.sockets.group import SocketGroup
from nh.calls.transaction import Transaction


class TransactionSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A transaction; `group_from` and `groups_to` are indexes of groups, the others indexes of sessions."""

    id_from: bytes
    cseq: Count
    group_from: Index | None
    groups_to: list[Index]
    sessions: list[Index]
    replaced: list[Index]

    @classmethod
    def take(cls, transaction: Transaction, groups: Indexes, sessions: Indexes) -> Self:
        """The snapshot of `transaction`."""
        group_from = transaction.group_from
        return cls(
            id_from=transaction.id_from,
            cseq=transaction.cseq,
            group_from=None if group_from is None else groups[id(group_from)],
            groups_to=[groups[id(group)] for group in transaction.groups_to],
            sessions=[sessions[id(session)] for session in transaction.sessions],
            replaced=[sessions[id(session)] for session in transaction.replaced],
        )

    @property
    def owned_groups(self) -> list[int]:
        """Indexes of its groups."""
        return self.groups_to if self.group_from is None else [self.group_from, *self.groups_to]

    @property
    def owned_sessions(self) -> list[int]:
        """Indexes of its sessions."""
        return [*self.sessions, *self.replaced]

    def check(self, groups: Sequence[GroupSnapshot], sessions: Sequence[SessionSnapshot]) -> None:
        """Check that its sessions pair its own groups.

        Raises:
            SnapshotUnreadable: one does not, or the transaction contradicts itself otherwise.
        """
        require(bool(self.owned_groups), "a transaction has no group")
        for index in self.owned_groups:
            require_index(index, groups, "group")
        require_distinct([groups[index].id for index in self.groups_to], "responses")
        for index in self.owned_sessions:
            require_index(index, sessions, "session")
            session = sessions[index]
            owned = session.group_from == self.group_from and session.group_to in self.groups_to
            require(owned, "a session pairs groups of other transactions")
        require_distinct([sessions[index].group_to for index in self.sessions], "sessions")
        replaced_at = [sessions[index].replaced_at for index in self.replaced]
        require(None not in replaced_at, "a replaced session has no time of its replacement")

    def rebuild(self, groups: Sequence[SocketGroup], sessions: Sequence[Session]) -> Transaction:
        """The transaction as it was."""
        transaction = Transaction(self.id_from, self.cseq)
        if self.group_from is not None:
            transaction.group_from = groups[self.group_from]
        transaction.groups_to = tuple([groups[index] for index in self.groups_to])
        transaction.sessions = tuple([sessions[index] for index in self.sessions])
        transaction.replaced = tuple([sessions[index] for index in self.replaced])
        return transaction
