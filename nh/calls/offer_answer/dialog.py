"""Dialogs (RFC 3261 12): two parties of a call, and what signalling makes of the sessions between them.

Each medium that both parties have gets a session between their socket groups. A forked offer makes one dialog
for each answer; those on one Via branch share the offerer's party and its groups. Groups and sessions are of
the same kind as in Net::SIP's model.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from nh.calls.blocking import NOTHING_BLOCKED
from nh.calls.bundle import Bundle
from nh.calls.bundling import bundle_legs
from nh.calls.media import Block, Side
from nh.calls.offer_answer.agreement import NO_CARRIERS, Agreement, Carriers
from nh.calls.offer_answer.dialog_sessions import DialogSessions
from nh.calls.offer_answer.party import Party
from nh.calls.resources import CallResources
from nh.calls.session import Session
from nh.calls.settings import RelaySettings

T = TypeVar("T")


class Dialog(DialogSessions):
    """Two parties that signal, and the sessions between them.

    Args:
        caller, callee: see DialogSessions.
        branch: the Via branch of the last offer, b"" if unknown.
        now: monotonic seconds.

    Attributes:
        signalled: monotonic seconds of the last offer or answer.
        delete_at: monotonic seconds at which a delete removes the dialog; infinite without one.
        bundles: of the caller and of the callee, the bundles that have been agreed on.
        carriers: of bundles that the two have agreed on with each other.
    """

    __slots__ = ("branch", "bundles", "carriers", "delete_at", "signalled")

    def __init__(self, caller: Party, callee: Party, *, branch: bytes, now: float) -> None:
        super().__init__(caller, callee)
        self.signalled = now
        self.delete_at = math.inf
        self.branch = branch
        self.bundles: tuple[tuple[Bundle, ...], tuple[Bundle, ...]] = ((), ())
        self.carriers: Carriers = NO_CARRIERS

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
                    before=self._session_before(index),
                    now=now,
                )
                self.set_session(index, session)
        self._forget_left()
        for session in self.all_sessions:
            for from_, to in zip(session.legs[::2], session.legs[1::2], strict=True):
                from_.signalled, to.signalled = self.caller.signalled, self.callee.signalled
        self.mark_left()
        self.block(resources)

    def exchange_media(self, one: int, other: int) -> Callable[[], None] | None:
        """Let two media have each other's sockets and sessions, as if each had had them from the beginning.

        Nothing changes for the ends: what the relay calls a medium is its own affair. Nothing changes at all
        while an offer waits for its answer, or if one party lacks sockets for one of them, or has more.

        Args:
            one, other: indexes of media that the SDPs of this dialog, and of no other, are about.

        Returns:
            What takes the exchange back, for an offer that is refused; None: nothing has changed.
        """
        parties = (self.caller, self.callee)
        groups = [each.find_group(index) for each in parties for index in (one, other)]
        counts = {0 if group is None else len(group.sockets) for group in groups}
        waiting = any(each.superseded or each.pending or each.waiting_since is not None for each in parties)
        if waiting or len(counts) != 1 or 0 in counts:
            return None
        sessions, replaced, carriers_before = self.sessions, self.replaced, self.carriers
        of_parties = [(each, each.groups, each.ended_totals) for each in parties]

        def take_back() -> None:
            self.sessions, self.replaced, self.carriers = sessions, replaced, carriers_before
            for party, groups, ended_totals in of_parties:
                party.groups, party.ended_totals = groups, ended_totals

        places = {one: other, other: one}
        for party in parties:
            party.groups = _exchanged(party.groups, one, other)
            if party.ended_totals:
                party.ended_totals = {
                    (places.get(medium, medium), component): totals
                    for (medium, component), totals in party.ended_totals.items()
                }
        missing = (None,) * (max(one, other) + 1 - len(self.sessions))
        self.sessions = _exchanged((*self.sessions, *missing), one, other)
        self.replaced = tuple([(places.get(index, index), session) for index, session in self.replaced])
        carriers = {index: places.get(carrier, carrier) for index, carrier in self.carriers.items()}
        self.carriers = {index: each for index, each in carriers.items() if index != each} or NO_CARRIERS
        return take_back

    def agree(self, resources: CallResources, agreement: Agreement, *, offerer: Party) -> None:
        """Have the legs use the transports that the two parties have agreed on.

        Args:
            resources: of the call.
            agreement: of the latest answer.
            offerer: the one of the two parties whose offer it answers.
        """
        is_callers = offerer is self.caller
        for index, muxes in enumerate(agreement.muxes):
            session = self.find_session(index)
            caller_muxes, callee_muxes = muxes if is_callers else muxes[::-1]
            if session is not None and session.set_mux(from_muxes=caller_muxes, to_muxes=callee_muxes):
                resources.refresh_session(session)
        bundles = agreement.bundles if is_callers else agreement.bundles[::-1]
        if bundles != ((), ()) or self.bundles != ((), ()):
            self.bundles = bundles
            for session in self.bundle():
                resources.refresh_session(session)
        self.carriers = agreement.carriers or NO_CARRIERS

    def bundle(self) -> set[Session]:
        """Bundle the legs as agreed on; returns the sessions whose legs changed.

        What was agreed before an unanswered offer is in force until its answer.
        """
        agreed = dict(self._unreplaced)
        return {each for side in Side for each in bundle_legs(agreed, side, self.bundles[side])}

    def block(self, resources: CallResources) -> None:
        """Apply what is blocked of each party to the legs that receive from it; video has no sound."""
        nothing = not (self.caller.blocks or self.callee.blocks)
        for session in self.all_sessions:
            if nothing and {leg.blocks for leg in session.legs} == {NOTHING_BLOCKED}:
                continue  # as in nearly all calls
            audible = session.group_from.medium.kind.lower() == "audio"
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
        after_it = now + min(rules.silent_s, rules.hold_s)
        return at if at <= after_it or self._has_received else after_it

    @property
    def _has_received(self) -> bool:
        """Whether a packet ever arrived from either party."""
        return bool(self.caller.ended_totals or self.callee.ended_totals) or any(
            leg.packets for _, session in self.running for leg in session.legs
        )


def _exchanged(members: Sequence[T], one: int, other: int) -> tuple[T, ...]:
    """Some members, two of which are in each other's place."""
    found = list(members)
    found[one], found[other] = found[other], found[one]
    return tuple(found)
