"""The sessions of a dialog: which of them relay, and what becomes of those that get other sockets.

Each medium has a current session. One that an offer gives other sockets is superseded until the answer; one
that an answer gives other sockets is replaced, and relays packets in flight.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from nh.calls.media import Side
from nh.calls.offer_answer.party import Party, ReceivedTotals
from nh.calls.resources import CallResources
from nh.calls.session import Session
from nh.calls.sockets.group import SocketGroup

MAX_REPLACED: Final = 64
"""Most replaced sessions of a dialog: signalling that changes its ports again and again ends the oldest."""

_NO_SESSIONS: Final[Mapping[int, Session]] = MappingProxyType({})


class DialogSessions:
    """Two parties, and the sessions between them.

    Args:
        caller: the party that offered first; the FROM end of all sessions.
        callee: the party that answered first; the TO end of all sessions.

    Attributes:
        sessions: the current session of each medium, by the medium's index; None, or the tuple ends, where a
            medium has none.
        superseded: the sessions that an unanswered offer replaced, by the medium's index. They relay until
            the answer, and stay if the offer is refused (RFC 3261 14.1).
        replaced: (medium, session) of those that an answer replaced, the oldest first. They relay packets in
            flight for `replaced_s`: an end may learn of its new ports from that answer only.
    """

    __slots__ = ("_left", "callee", "caller", "replaced", "sessions", "superseded")

    def __init__(self, caller: Party, callee: Party) -> None:
        self.caller = caller
        self.callee = callee
        self.sessions: tuple[Session | None, ...] = ()
        self.superseded: Mapping[int, Session] = _NO_SESSIONS
        self.replaced: tuple[tuple[int, Session], ...] = ()
        self._left: Mapping[int, Session] = _NO_SESSIONS  # until another session replaces it

    # --- parties ----------------------------------------------------------------------------------------

    @property
    def tags(self) -> frozenset[bytes]:
        """The tags of both parties."""
        return frozenset((self.caller.tag, self.callee.tag))

    def side_of(self, party: Party) -> Side:
        """The side of the sessions that `party`, one of the two, is on."""
        return Side.FROM if party is self.caller else Side.TO

    def party_with(self, tag: bytes) -> Party:
        """The one of the two parties that has this tag."""
        return self.caller if self.caller.tag == tag else self.callee

    def party_on(self, side: Side) -> Party:
        """The party on this side of the sessions."""
        return self.caller if side is Side.FROM else self.callee

    def other(self, party: Party) -> Party:
        """The other one of the two."""
        return self.callee if party is self.caller else self.caller

    def has(self, party: Party) -> bool:
        """Whether `party` is one of the two."""
        return party is self.caller or party is self.callee

    # --- look-ups ---------------------------------------------------------------------------------------

    @property
    def current(self) -> list[tuple[int, Session]]:
        """The sessions of `sessions`, each with the index of its medium."""
        return [(index, session) for index, session in enumerate(self.sessions) if session is not None]

    @property
    def running(self) -> list[tuple[int, Session]]:
        """All sessions that relay, each with the index of its medium."""
        found = self.current
        if self.superseded:
            found += self.superseded.items()
        if self.replaced:
            found += self.replaced
        return found

    @property
    def all_sessions(self) -> list[Session]:
        """The sessions of `running`."""
        found = [session for session in self.sessions if session is not None]
        if self.superseded:
            found += self.superseded.values()
        if self.replaced:
            found += [session for _, session in self.replaced]
        return found

    def find_session(self, index: int) -> Session | None:
        """The current session of medium `index`, None if it has none."""
        return self.sessions[index] if index < len(self.sessions) else None

    @property
    def _unreplaced(self) -> list[tuple[int, Session]]:
        current = self.current
        if self.superseded:
            current += self.superseded.items()
        return current

    def relays_at(self, group: SocketGroup) -> bool:
        """Whether a session that is not replaced has this group."""
        for _, session in self._unreplaced:
            if group is session.group_from or group is session.group_to:
                return True
        return False

    def _session_before(self, index: int) -> Session | None:
        """The session of medium `index` that a new one replaces, None if there is none."""
        return self._left.get(index) or self.superseded.get(index)

    # --- changes ----------------------------------------------------------------------------------------

    def set_session(self, index: int, session: Session | None) -> None:
        """Set the current session of medium `index`."""
        missing = (None,) * (index - len(self.sessions))
        self.sessions = (*self.sessions[:index], *missing, session, *self.sessions[index + 1 :])

    def supersede(self, resources: CallResources, index: int, *, now: float) -> None:
        """Let the session of medium `index` relay until the next answer: an offer has other sockets for it.

        At most one session a medium is kept: the one that was agreed on.
        """
        session = self._leave(index)
        if session is not None and index not in self.superseded:
            self.superseded = {**self.superseded, index: session}
        elif session is not None:
            self._stop(resources, index, session, now=now)

    def replace(self, resources: CallResources, index: int, *, now: float) -> None:
        """Let the session of medium `index` relay for `replaced_s`: an answer has other sockets for it."""
        session = self._leave(index)
        if session is not None:
            self._replace(resources, index, session, now=now)

    def end_changed(self, resources: CallResources, index: int, *, now: float) -> None:
        """Stop the session of medium `index`: an answer has media of another kind at its sockets."""
        session = self._leave(index)
        if session is not None:
            session.set_replaced(now)
            self._stop(resources, index, session, now=now)

    def discard(self, resources: CallResources, index: int, *, now: float) -> None:
        """Stop the session of medium `index` now."""
        session = self._take_out(index)
        if session is not None:
            self._stop(resources, index, session, now=now)

    def commit(self, resources: CallResources, *, now: float) -> None:
        """Replace the superseded sessions: the offer that has other sockets has been answered."""
        superseded, self.superseded = self.superseded, _NO_SESSIONS
        for index, session in superseded.items():
            self._replace(resources, index, session, now=now)
        self.mark_left()

    def expire_replaced(self, resources: CallResources, *, now: float) -> None:
        """Stop the replaced sessions that are due."""
        due = [each for each in self.replaced if now >= each[1].expires_at(resources.settings)]
        if due:
            self.replaced = tuple([each for each in self.replaced if each not in due])
        for index, session in _bundled_first(due):
            self._stop(resources, index, session, now=now)

    def stop_all(self, resources: CallResources, *, now: float, silent: bool = False) -> None:
        """Stop all sessions.

        Args:
            resources: of the call.
            now: monotonic seconds.
            silent: they end because no packet came, not by a command.
        """
        for index, session in _bundled_first(self.running):
            self._stop(resources, index, session, now=now, silent=silent)
        self.sessions, self.superseded, self.replaced = (), _NO_SESSIONS, ()

    def mark_left(self) -> None:
        """Tell the legs of replaced sessions whether the session that replaced theirs has other sockets."""
        for index, session in self.replaced:
            newer = self.find_session(index)
            used = () if newer is None else [leg.socket for leg in newer.legs]
            for leg in session.legs:
                leg.left = leg.socket not in used

    def _leave(self, index: int) -> Session | None:
        """Take out the current session of medium `index`; the next one learns from it where its ends are."""
        session = self._take_out(index)
        if session is not None:
            self._left = {**self._left, index: session}
        return session

    def _forget_left(self) -> None:
        """Let all that were left be replaced: that of a medium that was rejected is replaced by none."""
        self._left = _NO_SESSIONS

    def _take_out(self, index: int) -> Session | None:
        session = self.find_session(index)
        if session is not None:
            self.set_session(index, None)
        return session

    def _reinstate(self, index: int, group_from: SocketGroup, group_to: SocketGroup) -> None:
        """Make a superseded or replaced session the current one again if an SDP returns to its groups."""
        superseded = self.superseded.get(index)
        if superseded is not None and (superseded.group_from, superseded.group_to) == (group_from, group_to):
            self.set_session(index, superseded)
            left = {medium: each for medium, each in self.superseded.items() if medium != index}
            self.superseded = left or _NO_SESSIONS
            return
        for medium, session in self.replaced:
            if medium == index and (session.group_from, session.group_to) == (group_from, group_to):
                self.replaced = tuple([each for each in self.replaced if each[1] is not session])
                session.set_replaced(None)
                self.set_session(index, session)
                return

    def _replace(self, resources: CallResources, index: int, session: Session, *, now: float) -> None:
        session.set_replaced(now)
        self.replaced += ((index, session),)
        if len(self.replaced) > MAX_REPLACED:
            oldest, self.replaced = self.replaced[0], self.replaced[1:]
            self._stop(resources, *oldest, now=now)
        self.expire_replaced(resources, now=now)

    def _stop(
        self, resources: CallResources, index: int, session: Session, *, now: float, silent: bool = False
    ) -> None:
        resources.stop_session(session, since=now, silent=silent)
        if session.untouched:
            return
        for number, leg in enumerate(session.legs):
            party, place = self.party_on(Side(number % 2)), (index, number // 2)
            packets, size, dropped = party.ended_totals.get(place, ReceivedTotals())
            totals = ReceivedTotals(packets + leg.packets, size + leg.bytes, dropped + sum(leg.drops or ()))
            party.ended_totals = {**party.ended_totals, place: totals}


def _bundled_first(sessions: Iterable[tuple[int, Session]]) -> list[tuple[int, Session]]:
    """Sessions in the order in which they stop: a tagged medium's is last, as it has the source of all."""
    return sorted(sessions, key=lambda each: all(leg.bundled_on is None for leg in each[1].legs))
