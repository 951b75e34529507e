"""Dialogs: two parties of a call, and the sessions between them.

For each medium that both have there is a session between their groups. An offer that was forked makes one
dialog for each answer, all with the groups of the one who offered. Groups and sessions are those of every
other call.
"""

import math

from nh.calls.media import Side
from nh.calls.offer_answer.party import Counters, Party
from nh.calls.resources import Resources
from nh.calls.session import Session
from nh.calls.settings import RelaySettings
from nh.calls.socket_group import SocketGroup


class Dialog:
    """Two parties, and the sessions between them.

    Arguments:
        caller: who offered first; FROM of all sessions.
        callee: who answered first; TO of all sessions.
        branch: the Via branch of the last offer, b"" if not told.
        now: monotonic seconds.
    """

    __slots__ = ("branch", "callee", "caller", "delete_at", "former", "sessions", "signalled")

    def __init__(self, caller: Party, callee: Party, *, branch: bytes, now: float) -> None:
        self.signalled = now
        self.delete_at = math.inf
        self.caller = caller
        self.callee = callee
        self.branch = branch
        self.sessions: dict[int, Session] = {}
        # those that an offer replaced: they go on until it is answered, for good if it is refused
        self.former: dict[int, Session] = {}

    @property
    def tags(self) -> frozenset[bytes]:
        """The tags of both parties."""
        return frozenset((self.caller.tag, self.callee.tag))

    @property
    def running(self) -> list[tuple[int, Session]]:
        """All sessions, with the index of their medium."""
        return [*self.sessions.items(), *self.former.items()]

    def side_of(self, party: Party) -> Side:
        """Which side of the sessions a party is."""
        return Side.FROM if party is self.caller else Side.TO

    def party_on(self, side: Side) -> Party:
        """The party that is this side of the sessions."""
        return self.caller if side is Side.FROM else self.callee

    def has(self, party: Party) -> bool:
        """Whether it is one of the two."""
        return party is self.caller or party is self.callee

    def leave(self, resources: Resources, index: int, *, keep: bool, now: float) -> None:
        """An end has other sockets for a medium: its session ends.

        Arguments:
            keep: not before that is answered.
        """
        session = self.sessions.pop(index, None)
        if session is not None and keep and index not in self.former:
            self.former[index] = session
        elif session is not None:
            self._stop(resources, index, session, now=now)

    def settle(self, resources: Resources, *, now: float) -> None:
        """An offer was answered: end what it replaced."""
        for index, session in self.former.items():
            self._stop(resources, index, session, now=now)
        self.former.clear()

    def stop_all(self, resources: Resources, *, now: float) -> None:
        """End all sessions."""
        self.settle(resources, now=now)
        for index in list(self.sessions):
            self.leave(resources, index, keep=False, now=now)

    def refresh(self, resources: Resources, signalled: Party, *, now: float) -> None:
        """Relay every medium that both parties have; what `signalled` sends is learned anew.

        A medium that changed its kind (speech became a fax) waits for the other's consent.
        """
        self.signalled = now
        for index in range(max(len(self.caller.groups), len(self.callee.groups))):
            group_from, group_to = self.caller.find_group(index), self.callee.find_group(index)
            if group_from is None or group_to is None:
                continue
            if len(group_from.sockets) != len(group_to.sockets):
                continue
            self._restore(index, group_from, group_to)
            if index in self.sessions:
                resources.renew_session(
                    self.sessions[index], self.side_of(signalled), policy=signalled.policy, now=now
                )
            else:
                self.sessions[index] = resources.start_session(
                    group_from,
                    group_to,
                    param={},
                    policies=(self.caller.policy, self.callee.policy),
                    now=now,
                )
        self.block(resources)

    def set_mux(self, resources: Resources, index: int, *, offerer: Party, muxes: tuple[bool, bool]) -> None:
        """Which end of medium `index` sends RTCP on its RTP port: (the offerer, the answerer)."""
        session = self.sessions.get(index)
        if session is not None:
            caller, callee = muxes if offerer is self.caller else muxes[::-1]
            if session.set_mux(from_muxes=caller, to_muxes=callee):
                resources.plane.renew(session)

    def block(self, resources: Resources) -> None:
        """Pass on what the parties send, or do not, as each of them says."""
        for _, session in self.running:
            changed = False
            for leg in session.legs:
                blocked = self.party_on(leg.side).blocked
                changed = changed or leg.blocked is not blocked
                leg.blocked = blocked
            if changed:
                resources.plane.renew(session)

    def expires_at(self, rules: RelaySettings) -> float:
        """Monotonic seconds at which it ends unless a packet comes."""
        # one medium may rest for long while another talks: only together are they silent
        times = [session.expires_at(rules) for _, session in self.running]
        if not times or not self._has_spoken:
            # announced with early media, a phone may ring for minutes before anybody says a word
            times.append(self.signalled + rules.unused_s)
        return max(times)

    @property
    def _has_spoken(self) -> bool:
        """Whether a packet ever came from either end."""
        return bool(self.caller.past or self.callee.past) or any(
            leg.packets for _, session in self.running for leg in session.legs
        )

    def _restore(self, index: int, group_from: SocketGroup, group_to: SocketGroup) -> None:
        """An end went back to what was agreed."""
        former = self.former.get(index)
        if former is not None and (former.group_from, former.group_to) == (group_from, group_to):
            self.sessions[index] = self.former.pop(index)

    def _stop(self, resources: Resources, index: int, session: Session, *, now: float) -> None:
        resources.stop_session(session, since=now)
        for number, leg in enumerate(session.legs):
            past = self.party_on(leg.side).past
            packets, size, dropped = past.get((index, number // 2), Counters())
            past[index, number // 2] = Counters(
                packets + leg.packets, size + leg.bytes, dropped + sum(leg.drops or ())
            )
