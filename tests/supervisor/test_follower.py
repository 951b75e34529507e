"""A standby follows the calls of another relay on a real server: its copy equals the records, and it alone
gets them."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nh.errors import StoreUnavailable
from nh.supervisor.store.engine import StoredCall, StoreHeld, StoreRefused
from nh.supervisor.store.valkey import scripts
from nh.supervisor.store.valkey.record import encode
from nh.supervisor.store.writer import StoreWriter
from tests.profiles import examples
from tests.supervisor.valkey_group import Group

if TYPE_CHECKING:
    from nh.supervisor.store.valkey.engine import ValkeyEngine
    from nh.supervisor.store.valkey.follower import Follower

pytestmark = pytest.mark.valkey


def call(call_id: bytes, snapshot: bytes = b"snapshot") -> StoredCall:
    return StoredCall(call_id, snapshot, 1.5)


def warm(follower: Any) -> Mapping[bytes, bytes]:
    return {call_id: each.snapshot for call_id, each in follower.copy.calls.items()}


class Clock:
    """A clock that each look advances so far that all records may be read again."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10.0
        return self.now


def patient_follower(group: Group, holder: str = "relay-2") -> Any:
    return group.follower(holder, clock=Clock())


class SetClock:
    """The monotonic clock, `ahead_s` seconds later."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


EVENTS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from([b"a", b"b", b"c"]), st.binary(max_size=3)),
    st.tuples(st.just("remove"), st.sampled_from([b"a", b"b", b"c"]), st.just(b"")),
    st.tuples(
        st.sampled_from(["poll", "trim", "restart the relay", "lose all", "save", "go back", "cut off"]),
        st.just(b""),
        st.just(b""),
    ),
)


@given(events=st.lists(EVENTS, max_size=25))
@settings(
    max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_happens_the_copy_equals_the_records_in_the_end(
    group: Group, events: list[tuple[str, bytes, bytes]]
) -> None:
    group.remove()
    relay, follower, client = group.engine("relay-1"), patient_follower(group), group.client
    stored = {each.call_id: each for each in relay.open()}
    saved: dict[str, bytes] = {}
    for event, call_id, snapshot in events:
        match event:
            case "write":
                stored[call_id] = call(call_id, snapshot)
                relay.write({call_id: stored[call_id]})
            case "remove":
                stored.pop(call_id, None)
                relay.write({call_id: None})
            case "poll":
                follower.poll()
            case "trim":
                client.xtrim(group.key("changes"), maxlen=1, approximate=False)
            case "cut off":
                follower.close()
            case "save":
                keys = [group.key(name) for name in ("group", "calls", "changes")]
                saved = {key: data for key in keys if (data := client.dump(key)) is not None}
            case _:
                if event != "restart the relay":
                    group.remove()
                if event == "go back":
                    for key, data in saved.items():
                        client.restore(key, 0, data)
                relay.close()
                relay = group.engine("relay-1")
                lost: dict[bytes, StoredCall | None] = {each.call_id: None for each in relay.open()}
                relay.write({**lost, **stored})
    follower.poll()
    assert warm(follower) == group.contents() == {key: each.snapshot for key, each in stored.items()}
    relay.close()
    successor = group.engine("relay-2", follower=follower)
    assert {each.call_id: each for each in successor.open()} == stored
    successor.write({b"new": call(b"new")})
    successor.check()
    successor.close()


def test_changes_are_known_without_reading_the_other_calls(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, follower = group.engine("relay-1"), group.follower()
    relay.open()
    relay.write({b"%d" % number: call(b"%d" % number) for number in range(1500)})
    assert follower.poll().lease_s > 0
    monkeypatch.setattr(follower, "_read_all", None)
    for number in range(300):
        relay.write({b"%d" % number: None, b"new": call(b"new", b"%d" % number)})
    follower.poll()
    assert warm(follower) == group.contents()
    assert len(warm(follower)) == 1201
    monkeypatch.setattr("nh.supervisor.store.valkey.engine.ValkeyEngine._read", None)
    relay.write({b"last": call(b"last")})
    relay.close()
    successor = group.engine("relay-2", follower=follower)
    assert {each.call_id for each in successor.open()} == {b"last", *warm(follower)}
    successor.close()


def test_changes_that_the_server_keeps_no_longer_are_told_with_what_is_read_instead(
    group: Group, caplog: pytest.LogCaptureFixture
) -> None:
    relay, follower = group.engine("relay-1"), patient_follower(group)
    relay.open()
    relay.write({b"a": call(b"a")})
    caplog.set_level("INFO")
    follower.poll()
    assert "changes were missed" not in caplog.text, "it has read all for the first time"
    relay.write({b"b": call(b"b")})
    relay.write({b"c": call(b"c")})
    group.client.xtrim(group.key("changes"), maxlen=1, approximate=False)
    follower.poll()
    assert f"standby for {group.prefix}: changes were missed; 3 calls read again" in caplog.text
    assert warm(follower) == group.contents()
    follower.close()
    relay.close()


def test_a_server_that_lost_its_data_leaves_the_calls_to_the_relay_that_has_them(group: Group) -> None:
    clock = SetClock()
    relay, follower = group.engine("relay-1"), group.follower("relay-2", clock=clock)
    relay.open()
    relay.write({b"a": call(b"a")})
    follower.poll()
    group.remove()
    assert not follower.is_free(follower.poll())
    with pytest.raises(StoreUnavailable, match="lost its data"):
        relay.write({b"b": call(b"b")})
    relay.close()
    assert relay.open() == []
    relay.write({b"a": call(b"a"), b"b": call(b"b")})
    clock.ahead_s = 10.0
    assert not follower.is_free(follower.poll())
    assert warm(follower) == group.contents()
    relay.close()
    assert follower.is_free(follower.poll())
    follower.close()


def test_a_standby_that_starts_with_a_server_without_data_leaves_the_calls_to_a_relay_that_has_them(
    group: Group,
) -> None:
    clock = SetClock()
    relay, follower = group.engine("relay-1"), group.follower("relay-2", clock=clock)
    relay.open()
    relay.write({b"a": call(b"a")})
    group.remove()  # as where the server and the standby are on a host that was started anew
    for clock.ahead_s in (0.0, follower.lease_s):
        assert not follower.is_free(follower.poll())
    with pytest.raises(StoreUnavailable, match="lost its data"):
        relay.check()
    relay.close()
    relay.open()
    relay.write({b"a": call(b"a")})
    clock.ahead_s += 10.0
    assert not follower.is_free(follower.poll())
    assert warm(follower) == group.contents()
    relay.close()
    assert follower.is_free(follower.poll())
    follower.close()


def test_a_group_that_no_relay_writes_within_a_lease_is_a_standbys(group: Group) -> None:
    clock = SetClock()
    follower = group.follower("relay-1", clock=clock)
    assert not follower.is_free(follower.poll())
    clock.ahead_s = follower.lease_s + 1.0
    assert follower.is_free(follower.poll())
    standby = group.engine("relay-1", follower=follower)
    assert standby.open() == []
    standby.close()


def test_a_standby_has_the_calls_that_a_server_lost_together_with_their_relay(group: Group) -> None:
    clock = SetClock()
    relay, follower = group.engine("relay-1"), group.follower("relay-2", clock=clock)
    relay.open()
    relay.write({b"a": call(b"a"), b"b": call(b"b")})
    follower.poll()
    group.remove()
    assert not follower.is_free(follower.poll())
    clock.ahead_s = 10.0
    assert follower.is_free(follower.poll())
    writer = StoreWriter(group.engine("relay-2", follower=follower))
    assert {each.call_id for each in writer.expected.calls} == {b"a", b"b"}
    while not writer.write({}):
        pass
    assert group.contents() == {b"a": b"snapshot", b"b": b"snapshot"}
    writer.close()


def test_of_two_standbys_exactly_one_gets_the_calls(group: Group) -> None:
    relay = group.engine("relay-1")
    relay.open()
    relay.write({b"a": call(b"a")})
    followers = [group.follower(f"standby-{number}") for number in range(2)]
    for follower in followers:
        assert not follower.is_free(follower.poll())
    relay.close()
    assert all(follower.is_free(follower.poll()) for follower in followers)
    engines = [group.engine(f"standby-{number}", follower=each) for number, each in enumerate(followers)]
    outcomes = in_threads([engine.open for engine in engines])
    assert sorted(map(str, outcomes)) == sorted([str([call(b"a")]), str(next(filter(is_held, outcomes)))])
    for engine in engines:
        engine.close()


def in_threads(actions: list[Callable[[], object]]) -> list[object]:
    """Call them at once; what each returned, or raised as StoreUnavailable."""
    outcomes: list[object] = []
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], object]) -> None:
        barrier.wait()
        try:
            outcomes.append(action())
        except StoreUnavailable as exc:
            outcomes.append(exc)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def is_held(outcome: object) -> bool:
    return isinstance(outcome, StoreHeld)


def test_a_group_that_is_given_to_a_standby_is_no_other_relays_for_a_lease(group: Group) -> None:
    relay = group.engine("relay-1")
    relay.open()
    relay.write({b"a": call(b"a")})
    named, other = group.follower("named"), group.follower("other")
    for follower in (named, other, named, other):  # who has read the calls announces itself
        follower.poll()
    relay.check()
    assert relay.lease.standbys == {"named": 1, "other": 1}
    relay.lease.give_to = "named"
    relay.close()
    assert not other.is_free(other.poll())
    with pytest.raises(StoreHeld):
        group.engine("other", follower=other).open()
    assert named.is_free(named.poll())
    successor = group.engine("named", follower=named)
    assert successor.open() == [call(b"a")]
    assert not successor.continues, "its journal is older than the calls"
    successor.close()


def giving(group: Group) -> tuple["ValkeyEngine", "Follower"]:
    """A relay that lets a standby have its call, and the standby, which has not taken it yet."""
    relay, standby = group.engine("relay-1"), group.follower("standby")
    relay.open()
    relay.write({b"a": call(b"a")})
    standby.poll()
    relay.lease.give_to = "standby"
    relay.check()
    return relay, standby


def test_a_relay_writes_on_until_the_standby_has_the_group_and_learns_that(group: Group) -> None:
    relay, standby = giving(group)
    relay.write({b"b": call(b"b")})
    relay.check()
    assert standby.is_free(standby.poll())
    successor = group.engine("standby", follower=standby)
    assert successor.open() == [call(b"a"), call(b"b")]
    with pytest.raises(StoreHeld):
        relay.check()
    assert relay.lease.lost_to == "standby"
    successor.close()


@pytest.mark.parametrize("reconnects", [False, True])
def test_a_group_that_the_standby_does_not_take_is_taken_back(group: Group, reconnects: bool) -> None:
    relay, standby = giving(group)
    if reconnects:  # after an error that the server, or the network, has made
        relay.close()
        relay.lease.give_to = ""
        assert relay.open() == [call(b"a")]
    relay.lease.give_to = ""
    relay.check()
    assert not relay.lease.given_to
    assert not standby.is_free(standby.poll())
    with pytest.raises(StoreHeld):
        group.engine("standby", follower=standby).open()
    relay.write({b"b": call(b"b")})
    relay.close()


def test_a_relay_that_reconnects_learns_that_the_standby_has_the_group(group: Group) -> None:
    relay, standby = giving(group)
    relay.close()
    successor = group.engine("standby", follower=standby)
    assert successor.open() == [call(b"a")]
    with pytest.raises(StoreHeld):
        relay.open()
    assert relay.lease.lost_to == "standby"
    successor.close()


def lose_answers(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """The server executes a script, and the connection is lost before its answer has come."""
    from nh.supervisor.store.valkey.group import Group as OwnGroup  # noqa: PLC0415  needs the extra valkey

    run = OwnGroup._run

    def lossy(group: "OwnGroup", body: str, *arguments: bytes | int, **options: bool) -> object:
        answer = run(group, body, *arguments, **options)
        if body == script:
            raise ConnectionResetError
        return answer

    monkeypatch.setattr(OwnGroup, "_run", lossy)


@pytest.mark.parametrize("taken", [False, True])
def test_a_relay_learns_whether_the_standby_has_the_group_if_the_answer_was_lost(
    group: Group, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    relay, standby = group.engine("relay-1"), group.follower("standby")
    relay.open()
    relay.write({b"a": call(b"a")})
    standby.poll()
    relay.lease.give_to = "standby"
    with monkeypatch.context() as lossy:
        lose_answers(lossy, scripts.GIVE)
        with pytest.raises(StoreUnavailable):
            relay.check()
    relay.close()
    assert relay.lease.given_to == "standby", "it may have the calls"
    assert standby.is_free(standby.poll())
    successor = group.engine("standby", follower=standby)
    if taken:
        assert successor.open() == [call(b"a")]
        with pytest.raises(StoreHeld):
            relay.open()
        assert relay.lease.lost_to == "standby"
    else:
        relay.lease.give_to = ""
        assert relay.open() == [call(b"a")]
        assert not relay.lease.lost_to
        with pytest.raises(StoreHeld):
            successor.open()
    relay.close()
    successor.close()


@pytest.mark.parametrize("state", ["before the group was given", "before it was taken"])
@pytest.mark.parametrize("knows", [False, True], ids=["the relay does not know", "the relay knows"])
def test_one_relay_has_a_group_whose_taking_the_server_has_lost(
    group: Group, state: str, knows: bool
) -> None:
    relay, standby = group.engine("relay-1"), group.follower("standby")
    relay.open()
    relay.write({b"a": call(b"a")})
    standby.poll()
    before = group.client.dump(group.key("group"))
    relay.lease.give_to = "standby"
    relay.check()
    if state == "before it was taken":
        before = group.client.dump(group.key("group"))
    successor = StoreWriter(group.engine("standby", follower=standby))
    if knows:
        with pytest.raises(StoreHeld):
            relay.check()
    group.client.restore(group.key("group"), 0, before, replace=True)
    assert not successor.write({}), "the server has not got its last writes"
    assert successor.write({b"b": call(b"b")})
    with pytest.raises(StoreHeld):
        relay.check()
    relay.close()
    with pytest.raises(StoreHeld):
        relay.open()
    assert group.contents() == {b"a": b"snapshot", b"b": b"snapshot"}
    successor.close()


def test_a_server_that_has_lost_its_data_gives_nothing_to_a_standby(group: Group) -> None:
    relay, _ = giving(group)
    group.remove()
    with pytest.raises(StoreUnavailable, match="lost its data"):
        relay.check()
    assert not relay.lease.given_to
    relay.lease.give_to = ""
    assert relay.open() == []
    relay.close()


def test_names_that_are_shown_with_escapes_are_the_same_in_every_place(group: Group) -> None:
    name = "host:/run/\x1b[31m\n\\x41 é"
    relay, follower = group.engine("relay-1"), group.follower(name)
    relay.open()
    for _ in range(2):
        follower.poll()
    follower.want()
    relay.check()
    assert relay.lease.standbys == {name: 0}
    assert relay.lease.wanted_by == name
    relay.lease.give_to = relay.lease.wanted_by
    relay.close()
    assert follower.is_free(follower.poll())
    successor = group.engine(name, follower=follower)
    assert successor.open() == []
    successor.close()


def test_the_fresher_copy_of_a_standby_counts_after_a_failover_that_lost_the_last_writes(
    group: Group,
) -> None:
    relay, follower = group.engine("relay-1"), patient_follower(group)
    relay.open()
    for number in range(3):
        relay.write({b"%d" % number: call(b"%d" % number)})
    relay.write({b"0": None, b"1": call(b"1", b"newer")})
    follower.poll()
    calls = warm(follower)
    lose_writes(group, {b"0": call(b"0"), b"1": call(b"1")}, remove=b"2")
    follower.poll()
    standing = follower.poll()
    assert warm(follower) == calls
    assert follower.is_free(standing)
    writer = StoreWriter(group.engine("relay-2", follower=follower))
    assert {each.call_id: each.snapshot for each in writer.expected.calls} == calls
    assert not writer.write({}), "the server has not got all of them"
    assert writer.write({})
    assert group.contents() == calls
    writer.close()


def test_a_relay_that_lives_notices_that_the_server_has_lost_its_last_writes(group: Group) -> None:
    relay = group.engine("relay-1")
    writer = StoreWriter(relay)
    assert writer.write({b"a": call(b"a"), b"b": call(b"b")})
    assert writer.write({b"a": call(b"a", b"newer")})
    group.client.hset(group.key("calls"), b"a", encode(call(b"a")))
    group.client.hincrby(group.key("group"), "number", -1)
    relay._checked_at = 0.0
    assert not writer.write({})
    assert writer.write({})
    assert group.contents() == {b"a": b"newer", b"b": b"snapshot"}
    writer.close()


def lose_writes(group: Group, older: Mapping[bytes, StoredCall], *, remove: bytes) -> None:
    """The last two writes are lost, and the lease is over."""
    client, calls = group.client, group.key("calls")
    client.hset(calls, mapping={call_id: encode(each) for call_id, each in older.items()})
    client.hdel(calls, remove)
    client.hincrby(group.key("group"), "number", -2)
    client.hset(group.key("group"), "until", 0)
    for entry, _ in client.xrevrange(group.key("changes"), count=2):
        client.xdel(group.key("changes"), entry)


def test_a_standby_that_wants_the_calls_is_known_to_their_relay_until_it_has_them(group: Group) -> None:
    relay, follower = group.engine("relay-1"), group.follower("named")
    relay.open()
    follower.want()
    relay.check()
    assert relay.lease.wanted_by == "named"
    successor = group.engine("named", follower=follower, force=True)
    successor.open()
    successor.check()
    assert successor.lease.wanted_by == ""
    with pytest.raises(StoreHeld, match="the relay named has taken"):
        relay.write({b"a": call(b"a")})
    relay.close()
    successor.close()


def test_a_standby_that_has_ended_gets_no_calls(group: Group) -> None:
    relay, follower = group.engine("relay-1"), group.follower("named")
    relay.open()
    for _ in range(2):  # who has read the calls announces itself
        follower.poll()
    relay.check()
    assert relay.lease.standbys == {"named": 0}
    follower.leave()
    relay._checked_at = 0.0  # its next look is due
    relay.check()
    assert relay.lease.standbys == {}
    follower.leave()
    relay.close()


def test_a_standby_that_has_taken_the_calls_is_no_standby_of_its_own(group: Group) -> None:
    relay, follower = group.engine("relay-1"), group.follower("named")
    relay.open()
    for _ in range(2):
        follower.poll()
    relay.close()
    successor = group.engine("named", follower=follower)
    successor.open()
    successor.check()
    assert successor.lease.standbys == {}, "it could be given its own calls"
    successor.close()


# --- calls that the key here does not open --------------------------------------------------------


def test_a_standby_with_another_key_says_so_from_the_start_and_never_gets_the_calls(group: Group) -> None:
    clock = SetClock()
    relay = group.engine("relay-1", key_check="one")
    relay.open()
    follower = group.follower("standby", key_check="two", clock=clock)
    assert "encrypted with another key" in follower.find_obstacle(follower.poll())
    relay.write({b"a": call(b"a")})
    follower.poll()
    follower.poll()
    relay.check()
    assert relay.lease.standbys == {}, "the calls cannot be moved there"
    relay.close()
    assert not follower.is_free(follower.poll())
    with pytest.raises(StoreRefused, match="encrypted with another key"):
        group.engine("standby", follower=follower, force=True, key_check="two").open()
    group.remove()
    clock.ahead_s = 10.0
    assert not follower.is_free(follower.poll()), "its copy is of no use, even if no other is left"
    follower.close()


def test_a_standby_without_a_key_says_what_it_lacks_and_one_with_the_key_is_sound(group: Group) -> None:
    relay = group.engine("relay-1", key_check="one")
    relay.open()
    relay.write({b"a": call(b"a")})
    without, sound = group.follower("without"), group.follower("sound", key_check="one")
    assert "name the key with --state-key-file" in without.find_obstacle(without.poll())
    assert sound.find_obstacle(sound.poll()) == ""
    relay.close()
    assert sound.is_free(sound.poll())
    assert not without.is_free(without.poll())
    successor = group.engine("sound", follower=sound, key_check="one")
    assert successor.open() == [call(b"a")]
    successor.write({b"a": None})
    successor.close()
    assert without.is_free(without.poll()), "there is no call that it could not read"
    without.close()


def test_a_key_can_be_changed_when_there_are_no_calls(group: Group) -> None:
    for key in ("", "one", "two", ""):
        relay = group.engine("relay-1", key_check=key)
        relay.open()
        follower = group.follower("standby", key_check=key)
        assert follower.find_obstacle(follower.poll()) == ""
        follower.close()
        relay.close()
