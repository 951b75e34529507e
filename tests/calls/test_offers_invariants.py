"""Any sequence of ng's commands, with Net::SIP's beside them: what is counted is open, and all comes back."""

import contextlib
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nh.calls.latching.source import SourcePolicy
from nh.calls.media import Block, Media, Side
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.offers import Offers
from nh.calls.settings import RelaySettings
from nh.errors import Refused
from tests.calls.fakes import RELAY, receive
from tests.calls.ng_proxy import make_ng_proxy
from tests.profiles import examples

CALL_IDS = st.sampled_from([b"one", b"two", b"three"])
TAGS = st.sampled_from([b"alice", b"bob", b"carol"])
MAYBE_TAGS = st.sampled_from([b"", b"alice", b"bob", b"carol"])
BRANCHES = st.sampled_from([b"", b"", b"x", b"y"])
POLICIES = st.sampled_from([None, SourcePolicy.ASYMMETRIC, SourcePolicy.HANDOVER])
MEDIUM = st.none() | st.builds(
    Media,
    st.sampled_from(["198.51.100.1", "198.51.100.2", "0.0.0.0"]),
    st.sampled_from([4000, 4002]),
    st.sampled_from([1, 2, 2, 4]),
    paused=st.booleans(),
)
MEDIA = st.lists(MEDIUM, max_size=3)
COMMAND = st.fixed_dictionaries(
    {"call_id": CALL_IDS, "tag": TAGS, "branch": BRANCHES, "media": MEDIA, "policy": st.none()}
)
LIMITED = RelaySettings(max_calls=2, max_sockets=24, max_sockets_in_group=7)


class OffersMachine(RuleBasedStateMachine):
    """The fake plane itself fails on a double start, a double close, or a close under a running session."""

    def __init__(self) -> None:
        super().__init__()
        self.ng = make_ng_proxy(LIMITED, ports=(20_000, 20_031))
        self.table = self.ng.table

    @rule(
        call_id=CALL_IDS,
        tag=TAGS,
        to=MAYBE_TAGS,
        branch=BRANCHES,
        media=MEDIA,
        policy=POLICIES,
        latch=st.booleans(),
        expecting=st.booleans(),
    )
    def offer(
        self,
        *,
        call_id: bytes,
        tag: bytes,
        to: bytes,
        branch: bytes,
        media: list[Media | None],
        policy: SourcePolicy | None,
        latch: bool,
        expecting: bool,
    ) -> None:
        before = self.state
        try:
            ports = self.ng.offer(
                *media,
                call_id=call_id,
                tag=tag,
                to=to,
                branch=branch,
                policy=policy,
                latch=latch,
                expecting=expecting,
            )
        except Refused:
            assert self.state == before, "a refusal changes nothing"
        else:
            assert [port is None for port in ports] == [medium is None for medium in media]
            self.agreed(call_id)

    @rule(call_id=CALL_IDS, tag=TAGS, to=TAGS, branch=BRANCHES, media=MEDIA, policy=POLICIES)
    def answer(
        self,
        *,
        call_id: bytes,
        tag: bytes,
        to: bytes,
        branch: bytes,
        media: list[Media | None],
        policy: SourcePolicy | None,
    ) -> None:
        before = self.state
        try:
            self.ng.answer(*media, call_id=call_id, tag=tag, to=to, branch=branch, policy=policy)
        except Refused:
            assert self.state == before
        else:
            assert self.dialog(call_id, tag, to) is not None
            self.agreed(call_id)

    @rule(command=COMMAND, to=TAGS, latch=st.booleans(), expecting=st.booleans())
    def connect(self, *, command: dict[str, Any], to: bytes, latch: bool, expecting: bool) -> None:
        """An offer and the answer to it: commands drawn one by one hardly ever meet."""
        self.offer(**command, to=b"", latch=latch, expecting=expecting)
        self.answer(**{**command, "tag": to, "to": command["tag"]})

    @rule(
        call_id=CALL_IDS,
        tag=MAYBE_TAGS,
        to=MAYBE_TAGS,
        branch=BRANCHES,
        delay_s=st.sampled_from([0, 0, 5, 30]),
    )
    def delete(self, *, call_id: bytes, tag: bytes, to: bytes, branch: bytes, delay_s: float) -> None:
        before = self.state
        try:
            self.ng.delete(tag, to=to, branch=branch, delay_s=delay_s, call_id=call_id)
        except Refused:
            assert self.state == before

    @rule(call_id=CALL_IDS)
    def delete_all(self, call_id: bytes) -> None:
        with contextlib.suppress(Refused):
            self.ng.delete(call_id=call_id)
        offers = self.offers(call_id)
        assert offers is None or offers.is_empty

    @rule(call_id=CALL_IDS, tag=MAYBE_TAGS, blocked=st.booleans(), what=st.sampled_from(Block))
    def block(self, call_id: bytes, tag: bytes, blocked: bool, what: Block) -> None:
        offers = self.offers(call_id)
        if offers is None:
            return
        try:
            offers.block(tag, what, blocked=blocked)
        except Refused:
            assert not offers.participants.with_tag(tag)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 10.0, 30.0, 180.0, 3600.0]))
    def expire(self, seconds: float) -> None:
        self.ng.expire(after_s=seconds)
        for call in self.table:
            assert call.next_expiry > self.ng.now

    @rule(data=st.data())
    def packets(self, data: st.DataObject) -> None:
        if self.ng.plane.running:
            session = data.draw(st.sampled_from(self.ng.plane.running))
            for leg in session.legs:
                receive(leg, 172, at=self.ng.now)
            session.note(now=self.ng.now)

    # --- Net::SIP beside it ---------------------------------------------------------------------------

    @rule(call_id=CALL_IDS, cseq=st.integers(1, 2), side=st.sampled_from(Side))
    def allocate(self, call_id: bytes, cseq: int, side: Side) -> None:
        before = self.parties
        try:
            self.table.allocate(
                call_id=call_id,
                id_from=b"alice",
                id_to=b"bob",
                cseq=cseq,
                side=side,
                address=RELAY,
                media=(Media("198.51.100.1", 4000, 2),),
                now=self.ng.now,
            )
            self.table.activate(
                call_id=call_id, id_from=b"alice", id_to=b"bob", cseq=cseq, param={}, now=self.ng.now
            )
        except Refused:
            pass
        assert self.parties == before

    @rule(call_id=CALL_IDS)
    def bye(self, call_id: bytes) -> None:
        before = self.parties
        with contextlib.suppress(Refused):
            self.table.close(call_id=call_id, id_from=b"bob", id_to=b"alice", cseq=None, now=self.ng.now)
        assert self.parties == before

    # --- what always holds ------------------------------------------------------------------------------

    @invariant()
    def what_is_counted_is_what_is_open(self) -> None:
        resources, plane = self.table.resources, self.ng.plane
        groups = [group for call in self.table for _, group in call.groups]
        assert len({id(group) for group in groups}) == len(groups)
        sockets = {id(socket) for group in groups for socket in group.sockets}
        assert resources.sockets == len(plane.open) == len(sockets)
        assert resources.sockets <= 24
        assert resources.sessions == len(plane.running)
        assert {id(session) for session in self.table.running} == {id(session) for session in plane.running}
        for group in groups:
            assert group.users == sum(
                group in (session.group_from, session.group_to) for session in plane.running
            )

    @invariant()
    def there_are_no_empty_calls_and_no_more_than_allowed(self) -> None:
        assert len(self.table) <= 2
        assert all(not call.is_empty for call in self.table)

    @invariant()
    def dialogs_are_between_known_parties(self) -> None:
        for call in self.table:
            if call.offers is not None:
                known = {id(party) for party in call.offers.parties}
                pairs = [{id(dialog.caller), id(dialog.callee)} for dialog in call.offers.dialogs]
                assert all(pair <= known for pair in pairs)
                assert all(pairs.count(pair) == 1 for pair in pairs)

    @invariant()
    def where_a_dialog_has_superseded_sessions_a_party_has_superseded_sockets(self) -> None:
        """So Dialog.exchange_media() has to ask for the one only."""
        for call in self.table:
            for dialog in call.offers.dialogs if call.offers is not None else []:
                if dialog.superseded:
                    assert dialog.caller.superseded or dialog.callee.superseded

    @invariant()
    def who_is_blocked_is_blocked_in_all_that_it_sends(self) -> None:
        for call in self.table:
            for dialog in call.offers.dialogs if call.offers is not None else []:
                for session in dialog.all_sessions:
                    for number, leg in enumerate(session.legs):
                        party = dialog.party_on(Side(number % 2))
                        assert (leg.blocked, leg.dtmf_blocked) == (party.blocked, party.dtmf_blocked)

    @invariant()
    def nothing_expires_earlier_than_is_looked_at(self) -> None:
        for call in self.table:
            if call.offers is not None:
                assert call.next_expiry <= call.offers.next_expiry(now=self.ng.now)

    def teardown(self) -> None:
        for call in list(self.table):
            self.table.close_call(call.call_id, now=self.ng.now)
        assert self.ng.nothing_is_left

    # --- helpers ----------------------------------------------------------------------------------------

    @property
    def state(self) -> object:
        """Who has which ports, and between whom sessions run."""
        return (
            self.parties,
            sorted(map(str, self.ng.plane.open)),
            [(session.id, [leg.announced for leg in session.legs]) for session in self.ng.plane.running],
        )

    @property
    def parties(self) -> object:
        return {
            call.call_id: [(party.tag, party.branch, party.groups) for party in call.offers.parties]
            for call in self.table
            if call.offers is not None and not call.offers.is_empty
        }

    def offers(self, call_id: bytes) -> Offers | None:
        call = self.table.find_call(call_id)
        return call.offers if call is not None else None

    def dialog(self, call_id: bytes, one: bytes, other: bytes) -> Dialog | None:
        offers = self.offers(call_id)
        dialogs = offers.dialogs if offers is not None else []
        return next((each for each in dialogs if each.tags == {one, other}), None)

    def agreed(self, call_id: bytes) -> None:
        """A session for every medium that both ends of a dialog have in the same number of sockets."""
        offers = self.offers(call_id)
        for dialog in offers.dialogs if offers is not None else []:
            for index in range(3):
                groups = dialog.caller.find_group(index), dialog.callee.find_group(index)
                sizes = [len(group.components) for group in groups if group is not None]
                session = dialog.find_session(index)
                assert (session is not None) == (len(sizes) == 2 and sizes[0] == sizes[1])
                if session is not None:
                    assert (session.group_from, session.group_to) == groups


OffersMachine.TestCase.settings = settings(max_examples=examples(100), stateful_step_count=40, deadline=None)
TestAnySequenceOfOffers = OffersMachine.TestCase
