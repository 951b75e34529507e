"""A transaction: one request of one sender, told by (idfrom, cseq), with the sockets of both its SDPs.

It holds one group for the request, one for each response (a forked request has several, told by
idto), and the sessions between them.
"""

import math
from collections.abc import Iterator

from nh.calls.media import Side
from nh.calls.resources import CallResources
from nh.calls.session import Session
from nh.calls.settings import RelaySettings
from nh.calls.socket_group import SocketGroup


class Transaction:
    """Sockets and sessions of one request.

    Arguments:
        id_from: who sent it.
        cseq: its number, counted by the sender.
    """

    __slots__ = ("cseq", "group_from", "groups_to", "id_from", "replaced", "sessions")

    def __init__(self, id_from: bytes, cseq: int) -> None:
        self.id_from = id_from
        self.cseq = cseq
        self.group_from: SocketGroup | None = None
        self.groups_to: dict[bytes, SocketGroup] = {}
        self.sessions: dict[bytes, Session] = {}
        self.replaced: list[Session] = []

    @property
    def is_empty(self) -> bool:
        """Whether no sockets are left."""
        return self.group_from is None and not self.groups_to

    @property
    def groups(self) -> Iterator[SocketGroup]:
        """All groups, the request's first."""
        if self.group_from is not None:
            yield self.group_from
        yield from self.groups_to.values()

    @property
    def running(self) -> Iterator[Session]:
        """All sessions that relay, replaced ones too."""
        yield from self.sessions.values()
        yield from self.replaced

    def find_group(self, side: Side, id_to: bytes) -> SocketGroup | None:
        """The group of the request, or of the response from `id_to`."""
        return self.group_from if side is Side.FROM else self.groups_to.get(id_to)

    def add_group(self, group: SocketGroup) -> None:
        """Keep a new group under its side and id."""
        if group.side is Side.FROM:
            self.group_from = group
        else:
            self.groups_to[group.id] = group

    def replace(self, id_to: bytes, *, now: float) -> None:
        """A newer session took this one's place: it relays what is on its way until its ports close."""
        session = self.sessions.pop(id_to)
        session.replaced_at = now
        self.replaced.append(session)

    def close(self, resources: CallResources, *, now: float) -> None:
        """End every session and close every socket."""
        for session in self.running:
            resources.stop_session(session, since=now)
        self.sessions.clear()
        self.replaced.clear()
        for group in self.groups:
            resources.close_group(group)
        self.group_from = None
        self.groups_to.clear()

    def expire_sockets(self, resources: CallResources, *, now: float) -> None:
        """End replaced sessions whose time is over, then close the groups that nothing needs."""
        rules = resources.settings
        for session in [s for s in self.replaced if now >= s.expires_at(rules)]:
            self.replaced.remove(session)
            # it was of no use since it was replaced: its groups go in the same breath
            resources.stop_session(session, since=session.replaced_at or now)
        for group in list(self.groups):
            if now >= group.expires_at(unused_s=rules.unused_s, replaced_s=rules.replaced_s):
                resources.expire_group(group)
                if group is self.group_from:
                    self.group_from = None
                else:
                    del self.groups_to[group.id]

    def next_expiry(self, rules: RelaySettings) -> float:
        """Monotonic seconds before which nothing in here can expire."""
        return min(
            [
                *(session.expires_at(rules) for session in self.running),
                *(g.expires_at(unused_s=rules.unused_s, replaced_s=rules.replaced_s) for g in self.groups),
            ],
            default=math.inf,
        )
