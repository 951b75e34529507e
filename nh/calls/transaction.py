"""A transaction: one request, identified by (idfrom, cseq), with the sockets of its SDPs and its sessions.

It has one socket group for the request and one for each response; a forked request has several responses,
identified by idto.
"""

import math
from collections.abc import Iterator

from nh.calls.media import Side
from nh.calls.one_or_many import OneOrMany
from nh.calls.resources import CallResources
from nh.calls.session import Session
from nh.calls.settings import RelaySettings
from nh.calls.sockets.group import SocketGroup


class Transaction:
    """Sockets and sessions of one request.

    Args:
        id_from: the sender.
        cseq: the sender's number of the request.

    Attributes:
        group_from: the request's sockets, None before they are allocated.
        groups_to: the responses' sockets, one group for each idto.
        sessions: the active sessions, one for each idto.
        replaced: sessions that newer ones have replaced; they relay packets in flight for `replaced_s`.
    """

    __slots__ = ("_groups_to", "_sessions", "cseq", "group_from", "id_from", "replaced")

    groups_to = OneOrMany[SocketGroup]()
    sessions = OneOrMany[Session]()

    def __init__(self, id_from: bytes, cseq: int) -> None:
        self.id_from = id_from
        self.cseq = cseq
        self.group_from: SocketGroup | None = None
        self.groups_to = ()
        self.sessions = ()
        self.replaced: tuple[Session, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it has no sockets left."""
        return self.group_from is None and not self.groups_to

    @property
    def groups(self) -> Iterator[SocketGroup]:
        """All socket groups, the request's first."""
        if self.group_from is not None:
            yield self.group_from
        yield from self.groups_to

    @property
    def running(self) -> Iterator[Session]:
        """All sessions that relay, including replaced ones."""
        yield from self.sessions
        yield from self.replaced

    def find_group(self, side: Side, id_to: bytes) -> SocketGroup | None:
        """The socket group of the request (FROM), or of the response from `id_to` (TO)."""
        if side is Side.FROM:
            return self.group_from
        return next((group for group in self.groups_to if group.id == id_to), None)

    def find_session(self, id_to: bytes) -> Session | None:
        """The active session with the answerer `id_to`."""
        return next((session for session in self.sessions if session.group_to.id == id_to), None)

    def add_group(self, group: SocketGroup) -> None:
        """Add a socket group by its side and id."""
        if group.side is Side.FROM:
            self.group_from = group
        else:
            self.groups_to += (group,)

    def remove(self, session: Session) -> None:
        """Remove a session that has ended."""
        self.sessions = tuple([each for each in self.sessions if each is not session])
        self.replaced = tuple([each for each in self.replaced if each is not session])

    def replace(self, session: Session, *, now: float) -> None:
        """Mark a session as replaced by a newer one; it relays packets in flight for `replaced_s`."""
        self.remove(session)
        session.set_replaced(now)
        self.replaced += (session,)

    def close(self, resources: CallResources, *, now: float) -> None:
        """End all sessions and close all sockets."""
        for session in self.running:
            resources.stop_session(session, since=now)
        self.sessions = self.replaced = ()
        for group in self.groups:
            resources.close_group(group)
        self.group_from = None
        self.groups_to = ()

    def expire_sockets(self, resources: CallResources, *, now: float) -> None:
        """End replaced sessions after `replaced_s`, then close unneeded groups."""
        rules = resources.settings
        for session in [s for s in self.replaced if now >= s.expires_at(rules)]:
            self.remove(session)
            # idle since it was replaced, so its groups expire in this turn, too
            resources.stop_session(session, since=session.replaced_at or now)
        for group in list(self.groups):
            if now >= group.expires_at(unused_s=rules.unused_s, replaced_s=rules.replaced_s):
                resources.expire_group(group)
                if group is self.group_from:
                    self.group_from = None
                else:
                    self.groups_to = tuple([each for each in self.groups_to if each is not group])

    def next_expiry(self, rules: RelaySettings) -> float:
        """Monotonic seconds before which nothing of the transaction can expire."""
        return min(
            [
                *(session.expires_at(rules) for session in self.running),
                *(g.expires_at(unused_s=rules.unused_s, replaced_s=rules.replaced_s) for g in self.groups),
            ],
            default=math.inf,
        )
