"""Whatever messages are lost, late or come twice: a warm copy that says so equals the records."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nh.supervisor.store.engine import StoredCall
from nh.supervisor.store.valkey.record import encode
from nh.supervisor.store.valkey.warm_copy import Changes, Position, WarmCopy
from tests.profiles import examples

CALLS = st.sampled_from([b"a", b"b", b"c", b"d"])
SNAPSHOTS = st.one_of(st.none(), st.binary(max_size=3))


class Server:
    """Records and stream as the scripts write them."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.stream: list[tuple[Position, bytes]] = []
        self.at = Position(1, 0)

    def write(self, call_id: bytes, snapshot: bytes | None) -> None:
        self.at = Position(self.at.epoch, self.at.number + 1)
        if snapshot is None:
            self.records.pop(call_id, None)
        else:
            self.records[call_id] = encode(StoredCall(call_id, snapshot, 1.5))
        self.stream.append((self.at, call_id))

    def after(self, position: Position, most: int) -> Changes:
        """What the script FOLLOW answers."""
        entries = [entry for entry in self.stream if entry[0] > position][:most]
        records = {call_id: self.records.get(call_id) for _, call_id in entries}
        return Changes(self.at, len(self.records), [at for at, _ in entries], records)


class Following(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.server = Server()
        self.copy = WarmCopy()
        self.late: list[Changes] = []

    @rule(call_id=CALLS, snapshot=SNAPSHOTS)
    def the_relay_writes(self, call_id: bytes, snapshot: bytes | None) -> None:
        self.server.write(call_id, snapshot)

    @rule()
    def another_relay_has_the_calls(self) -> None:
        self.server.at = Position(self.server.at.epoch + 1, 0)

    @rule(left=st.integers(0, 3))
    def the_stream_is_trimmed(self, left: int) -> None:
        self.server.stream = self.server.stream[-left:] if left else []

    @rule()
    def the_server_loses_all_data(self) -> None:
        epoch = self.server.at.epoch + 1
        self.server = Server()
        self.server.at = Position(epoch, 0)

    @rule(most=st.integers(1, 3), is_late=st.booleans())
    def the_standby_asks(self, most: int, is_late: bool) -> None:
        changes = self.server.after(self.copy.position, most)
        if is_late:
            self.late.append(changes)
        else:
            self.copy.apply(changes)

    @precondition(lambda self: self.late)
    @rule(data=st.data(), again=st.booleans())
    def a_late_answer_comes_perhaps_twice(self, data: st.DataObject, again: bool) -> None:
        number = data.draw(st.integers(0, len(self.late) - 1))
        changes = self.late[number] if again else self.late.pop(number)
        self.copy.apply(changes)

    @precondition(lambda self: not self.copy.is_whole)
    @rule()
    def all_records_are_read(self) -> None:
        self.copy.replace(self.server.at, list(self.server.records.items()))

    @invariant()
    def a_copy_that_is_whole_and_has_the_last_write_equals_the_records(self) -> None:
        if self.copy.equals(self.server.at):
            stored = {call_id: encode(call) for call_id, call in self.copy.calls.items()}
            assert stored == self.server.records
            assert self.copy.heads.keys() == stored.keys()


TestFollowing = Following.TestCase
TestFollowing.settings = settings(max_examples=examples(300), stateful_step_count=40, deadline=None)


def test_a_damaged_record_is_no_call_and_makes_the_copy_unusable_until_it_is_right() -> None:
    copy, at = WarmCopy(), Position(1, 1)
    good = encode(StoredCall(b"a", b"snapshot", 1.5))
    copy.replace(at, [(b"a", good), (b"b", good)])
    assert (list(copy.calls), copy.damaged, copy.equals(at)) == ([b"a"], {b"b"}, False)
    assert copy.apply(Changes(Position(1, 2), 1, [Position(1, 2)], {b"b": None}))
    assert copy.equals(Position(1, 2))
