"""Dialogs (RFC 3261 12): two parties of a call, and the sessions between them.

Each medium that both parties have gets a session between their socket groups. A forked offer makes one
dialog for each answer; those on one Via branch share the offerer's party and its
groups. Groups and sessions are of the same kind as in Net::SIP's model.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from nh.calls.bundle import Bundle
from nh.calls.bundling import bundle_legs
from nh.calls.media import Block, Side
from nh.calls.offer_answer.party import Party, ReceivedTotals
from nh.calls.resources import CallResources
from nh.calls.session import Session
from nh.calls.settings import RelaySettings
from nh.calls.socket_group import SocketGroup

MAX_REPLACED: Final = 64
"""Most replaced sessions of a dialog: signalling that changes its ports again and again ends the oldest."""

_NO_SESSIONS: Final[Mapping[int, Session]] = MappingProxyType({})


class Dialog:
    """Two parties, and the sessions between them.

    Args:
        caller: the party that offered first; the FROM end of all sessions.
        callee: the party that answered first; the TO end of all sessions.
        branch: the Via branch of the last offer, b"" if unknown.
        now: monotonic seconds.

    Attributes:
        signalled: monotonic seconds of the last offer or answer.
        delete_at: monotonic seconds at which a delete removes the dialog; infinite without one.
        sessions: the current session of each medium, by the medium's index; None, or the tuple ends, where a
            medium has none.
        superseded: the sessions that an unanswered offer replaced, by the medium's index. They relay until
            the answer, and stay if the offer is refused (RFC 3261 14.1).
        bundles: of the caller and of the callee, the bundles that have been agreed on.
        replaced: (medium, session) of those that an answer replaced, the oldest first. They relay packets in
            flight for `replaced_s`: an end may learn of its new ports from that answer only.
    """

    __slots__ = (
        "_left",
        "branch",
        "bundles",
        "callee",
        "caller",
        "delete_at",
        "replaced",
        "sessions",
        "signalled",
        "superseded",
    )

    def __init__(self, caller: Party, callee: Party, *, branch: bytes, now: float) -> None:
        self.signalled = now
        self.delete_at = math.inf
        self.caller = caller
        self.callee = callee
        self.branch = branch
        self.sessions: tuple[Session | None, ...] = ()
        self.superseded: Mapping[int, Session] = _NO_SESSIONS
        self.replaced: tuple[tuple[int, Session], ...] = ()
        self.bundles: tuple[tuple[Bundle, ...], tuple[Bundle, ...]] = ((), ())
        self._left: Mapping[int, Session] = _NO_SESSIONS  # until another session replaces it

    @property
    def tags(self) -> frozenset[bytes]:
        """The tags of both parties."""
        return frozenset((self.caller.tag, self.callee.tag))

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

    @property
    def current(self) -> list[tuple[int, Session]]:
        """The sessions of `sessions`, each with the index of its medium."""
        return [(index, session) for index, session in enumerate(self.sessions) if session is not None]

    def find_session(self, index: int) -> Session | None:
        """The current session of medium `index`, None if it has none."""
        return self.sessions[index] if index < len(self.sessions) else None

    def set_session(self, index: int, session: Session | None) -> None:
        """Set the current session of medium `index`."""
        missing = (None,) * (index - len(self.sessions))
        self.sessions = (*self.sessions[:index], *missing, session, *self.sessions[index + 1 :])

    @property
    def _unreplaced(self) -> list[tuple[int, Session]]:
        current = self.current
        if self.superseded:
            current += self.superseded.items()
        return current

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

    def relays_at(self, group: SocketGroup) -> bool:
        """Whether a session that is not replaced has this group."""
        return any(group in (session.group_from, session.group_to) for _, session in self._unreplaced)

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

    def _leave(self, index: int) -> Session | None:
        """Take out the current session of medium `index`; the next one learns from it where its ends are."""
        session = self._take_out(index)
        if session is not None:
            self._left = {**self._left, index: session}
        return session

    def _take_out(self, index: int) -> Session | None:
        session = self.find_session(index)
        if session is not None:
            self.set_session(index, None)
        return session

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
        for index, session in due:
            self._stop(resources, index, session, now=now)

    def stop_all(self, resources: CallResources, *, now: float, silent: bool = False) -> None:
        """Stop all sessions.

        Args:
            silent: they end because no packet came, not by a command.
        """
        for index, session in self.running:
            self._stop(resources, index, session, now=now, silent=silent)
        self.sessions, self.superseded, self.replaced = (), _NO_SESSIONS, ()

    def refresh(self, resources: CallResources, signalled: Party, *, now: float) -> None:
        """Relay each medium that both parties have, after `signalled` announced its media again.

        The relay learns the source of what `signalled` sends again. A medium whose number of sockets differs
        between the parties (an offered change from RTP to T.38) has no session until the answer.
        """
        self.signalled = now
        for index in range(max(len(self.caller.groups), len(self.callee.groups))):
            group_from, group_to = self.caller.find_group(index), self.callee.find_group(index)
            if group_from is None or group_to is None:
                continue
            if len(group_from.sockets) != len(group_to.sockets):
                continue
            self._reinstate(index, group_from, group_to)
            session = self.find_session(index)
            if session is not None:
                resources.renew_session(session, self.side_of(signalled), policy=signalled.policy, now=now)
            else:
                session = resources.start_session(
                    group_from,
                    group_to,
                    policies=(self.caller.policy, self.callee.policy),
                    before=self._left.get(index) or self.superseded.get(index),
                    now=now,
                )
                self.set_session(index, session)
        self._left = _NO_SESSIONS  # that of a medium that was rejected is replaced by none
        for session in self.all_sessions:
            for from_, to in zip(session.legs[::2], session.legs[1::2], strict=True):
                from_.signalled, to.signalled = self.caller.signalled, self.callee.signalled
        self.mark_left()
        self.block(resources)

    def set_mux(
        self, resources: CallResources, index: int, *, offerer: Party, muxes: tuple[bool, bool]
    ) -> None:
        """Set which parties send RTCP of medium `index` on its RTP port (RFC 5761).

        Args:
            offerer: one of the two parties.
            muxes: whether the offerer does, and whether the answerer does.
        """
        session = self.find_session(index)
        if session is not None:
            caller, callee = muxes if offerer is self.caller else muxes[::-1]
            if session.set_mux(from_muxes=caller, to_muxes=callee):
                resources.refresh_session(session)

    def set_bundles(
        self,
        resources: CallResources,
        *,
        offerer: Party,
        bundles: tuple[tuple[Bundle, ...], tuple[Bundle, ...]],
    ) -> None:
        """Set which media of each party share a transport (RFC 9143); to be called after set_mux().

        Args:
            offerer: one of the two parties.
            bundles: those of the offerer, and those of the answerer.
        """
        if bundles == self.bundles == ((), ()):
            return
        self.bundles = bundles if offerer is self.caller else bundles[::-1]
        for session in self.bundle():
            resources.refresh_session(session)

    def bundle(self) -> set[Session]:
        """Bundle the legs as agreed on; returns the sessions whose legs changed.

        What was agreed before an unanswered offer is in force until its answer.
        """
        agreed = dict(self._unreplaced)
        return {each for side in Side for each in bundle_legs(agreed, side, self.bundles[side])}

    def block(self, resources: CallResources) -> None:
        """Apply what is blocked of each party to the legs that receive from it; video has no sound."""
        for session in self.all_sessions:
            audible = session.group_from.media[0].kind.lower() == "audio"
            changed = False
            for side, party in ((Side.FROM, self.caller), (Side.TO, self.callee)):
                blocks = party.blocks if audible or not party.silenced else party.blocks - {Block.SOUND}
                for leg in session.legs[side::2]:
                    if leg.blocks != blocks:
                        leg.blocks = blocks
                        changed = True
            if changed:
                resources.refresh_session(session)

    def importance(self, *, now: float) -> tuple[bool, bool, float]:
        """For comparison with others: whether it is on hold, whether it had packets, when it was active last.

        Args:
            now: monotonic seconds; packets that are not noted yet came now.
        """
        for _, session in self.running:
            session.note(now=now)
        current = self.current
        on_hold = bool(current) and all(session.on_hold for _, session in current)
        active = max([self.signalled, *(session.last_active for _, session in self.running)])
        return on_hold, self._has_received, active

    def expires_at(self, rules: RelaySettings) -> float:
        """Monotonic seconds at which the dialog ends unless a packet arrives."""
        # one medium may be silent for long while another talks: the dialog ends when all are
        times = [session.expires_at(rules) for _, session in self._unreplaced]
        if not times or not self._has_received:
            # with early media announced, a phone may ring for minutes before the first packet
            times.append(self.signalled + rules.unused_s)
        return max(times)

    def cannot_end_before(self, rules: RelaySettings, *, now: float) -> float:
        """Monotonic seconds before which the dialog does not end, whatever packets come from `now` on."""
        at = self.expires_at(rules)
        # the first packet makes its end depend on packets
        return at if self._has_received else min(at, now + min(rules.silent_s, rules.hold_s))

    @property
    def _has_received(self) -> bool:
        """Whether a packet ever arrived from either party."""
        return bool(self.caller.ended_totals or self.callee.ended_totals) or any(
            leg.packets for _, session in self.running for leg in session.legs
        )

    def mark_left(self) -> None:
        """Tell the legs of replaced sessions whether the session that replaced theirs has other sockets."""
        for index, session in self.replaced:
            newer = self.find_session(index)
            used = () if newer is None else [leg.socket for leg in newer.legs]
            for leg in session.legs:
                leg.left = leg.socket not in used

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
            party, place = self.party_on(leg.side), (index, number // 2)
            packets, size, dropped = party.ended_totals.get(place, ReceivedTotals())
            totals = ReceivedTotals(packets + leg.packets, size + leg.bytes, dropped + sum(leg.drops or ()))
            party.ended_totals = {**party.ended_totals, place: totals}
