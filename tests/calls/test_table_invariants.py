"""Any sequence of commands and expiries: what is counted is what is open, and everything comes back."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nh.calls.media import Media, Side
from nh.calls.settings import RelaySettings
from nh.errors import Refused
from tests.calls.fakes import RELAY, START, make_proxy, receive
from tests.profiles import examples

CALL_IDS = st.sampled_from([b"one", b"two", b"three"])
IDS = st.sampled_from([b"alice", b"bob", b"carol"])
CSEQS = st.integers(1, 3)
MEDIA = st.lists(
    st.builds(
        Media, st.sampled_from(["198.51.100.1", "0.0.0.0"]), st.sampled_from([0, 4000]), st.integers(1, 4)
    ),
    max_size=2,
).map(tuple)
LIMITED = RelaySettings(max_calls=2, max_sockets=24, max_sockets_in_group=7)


class TableMachine(RuleBasedStateMachine):
    """The fake plane itself fails on a double start, a double close, or a close under a running session."""

    def __init__(self) -> None:
        super().__init__()
        self.proxy = make_proxy(LIMITED, ports=(20_000, 20_031))
        self.table = self.proxy.table
        self.now = START

    @rule(call_id=CALL_IDS, id_from=IDS, id_to=IDS, cseq=CSEQS, side=st.sampled_from(Side), media=MEDIA)
    def allocate(
        self, *, call_id: bytes, id_from: bytes, id_to: bytes, cseq: int, side: Side, media: tuple[Media, ...]
    ) -> None:
        before = set(self.proxy.plane.open)
        try:
            self.table.allocate(
                call_id=call_id,
                id_from=id_from,
                id_to=id_to,
                cseq=cseq,
                side=side,
                address=RELAY,
                media=media,
                now=self.now,
            )
        except Refused:
            assert set(self.proxy.plane.open) == before, "a refusal keeps nothing"

    @rule(call_id=CALL_IDS, id_from=IDS, id_to=IDS, cseq=CSEQS)
    def activate(self, call_id: bytes, id_from: bytes, id_to: bytes, cseq: int) -> None:
        running = list(self.proxy.plane.running)
        try:
            created = self.table.activate(
                call_id=call_id, id_from=id_from, id_to=id_to, cseq=cseq, param={}, now=self.now
            )
        except Refused:
            created = False
        assert len(self.proxy.plane.running) == len(running) + created

    @rule(call_id=CALL_IDS, id_from=IDS, id_to=IDS, cseq=CSEQS, media=MEDIA)
    def connect(
        self, *, call_id: bytes, id_from: bytes, id_to: bytes, cseq: int, media: tuple[Media, ...]
    ) -> None:
        """What a proxy does for an offer and its answer: commands drawn one by one hardly ever meet."""
        for side in Side:
            self.allocate(call_id=call_id, id_from=id_from, id_to=id_to, cseq=cseq, side=side, media=media)
        self.activate(call_id=call_id, id_from=id_from, id_to=id_to, cseq=cseq)

    @rule(call_id=CALL_IDS, id_from=IDS, id_to=IDS, cseq=st.none() | st.integers(0, 3))
    def close(self, call_id: bytes, id_from: bytes, id_to: bytes, cseq: int | None) -> None:
        try:
            self.table.close(call_id=call_id, id_from=id_from, id_to=id_to, cseq=cseq, now=self.now)
        except Refused:
            return
        if not cseq:
            assert frozenset((id_from, id_to)) not in self.active_ends(call_id)

    @rule(call_id=CALL_IDS)
    def close_call(self, call_id: bytes) -> None:
        try:
            self.table.close_call(call_id, now=self.now)
        except Refused:
            return
        assert call_id not in {call.call_id for call in self.table}

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 10.0, 30.0, 180.0]))
    def expire(self, seconds: float) -> None:
        self.now += seconds
        self.table.expire(now=self.now)
        for session in self.proxy.plane.running:
            assert session.expires_at(LIMITED) > self.now

    @rule(data=st.data())
    def packets(self, data: st.DataObject) -> None:
        if not self.proxy.plane.running:
            return
        session = data.draw(st.sampled_from(self.proxy.plane.running))
        for leg in session.legs:
            receive(leg, 172, at=self.now)
        session.note(now=self.now)

    @invariant()
    def what_is_counted_is_what_is_open(self) -> None:
        resources, plane = self.table.resources, self.proxy.plane
        groups = [group for call in self.table for t in call.transactions for group in t.groups]
        assert resources.sockets == len(plane.open) == sum(len(group.components) for group in groups)
        assert resources.sessions == len(plane.running)
        assert {id(session) for session in self.table.running} == {id(session) for session in plane.running}
        for session in plane.running:
            assert session.group_from in groups
            assert session.group_to in groups

    @invariant()
    def every_group_counts_its_sessions(self) -> None:
        users: dict[int, int] = {}
        for session in self.proxy.plane.running:
            for group in (session.group_from, session.group_to):
                users[id(group)] = users.get(id(group), 0) + 1
        for call in self.table:
            for transaction in call.transactions:
                for group in transaction.groups:
                    assert group.users == users.get(id(group), 0)

    @invariant()
    def one_session_between_two_ends_is_active(self) -> None:
        for call in self.table:
            ends = self.active_ends(call.call_id)
            assert len(ends) == len(set(ends))

    @invariant()
    def there_are_no_empty_calls_and_no_more_than_allowed(self) -> None:
        assert len(self.table) <= 2
        assert all(not call.is_empty for call in self.table)
        assert self.table.resources.sockets <= 24

    @invariant()
    def nothing_expires_earlier_than_is_looked_at(self) -> None:
        for call in self.table:
            due = min(transaction.next_expiry(LIMITED) for transaction in call.transactions)
            assert call.next_expiry <= due

    def active_ends(self, call_id: bytes) -> list[frozenset[bytes]]:
        """The ends of each active session of a call; replaced ones are not active."""
        return [
            frozenset((transaction.id_from, session.group_to.id))
            for call in self.table
            if call.call_id == call_id
            for transaction in call.transactions
            for session in transaction.sessions
        ]

    def teardown(self) -> None:
        for call in list(self.table):
            self.table.close_call(call.call_id, now=self.now)
        assert self.proxy.nothing_is_left


TestAnySequenceOfCommands = TableMachine.TestCase
TestAnySequenceOfCommands.settings = settings(
    max_examples=examples(60), stateful_step_count=40, deadline=None
)
