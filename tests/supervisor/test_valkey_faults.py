"""The server of the store is away, slow, full, empty, another's: each says what, and no call is lost."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from valkey import Valkey
from valkey.exceptions import ConnectionError as NoConnection
from valkey.exceptions import ResponseError
from valkey.exceptions import TimeoutError as NoReply

from nh.errors import StoreUnavailable
from nh.supervisor.store.engine import StoreDamaged, StoreHeld, StoreRefused
from nh.supervisor.store.journal import Journal
from nh.supervisor.store.journal_load import EPOCH_NAME, JournalOpener
from nh.supervisor.store.journal_records import JournalRecord
from nh.supervisor.store.store import Store
from nh.supervisor.store.valkey.engine import ValkeyEngine
from nh.supervisor.store.valkey.failures import REPLY_S, failures
from nh.supervisor.store.valkey.follower import Follower
from tests.supervisor.stores import stored_call, until_written
from tests.supervisor.valkey_group import Group
from tools.harness.waiting import eventually

pytestmark = pytest.mark.valkey

SECRET = "open-sesame"


def fill(store: Store, count: int) -> dict[bytes, bytes]:
    """Put calls into a store."""
    calls = {b"call %d" % number: b"snapshot %d" % number for number in range(count)}
    for call_id, snapshot in calls.items():
        store.put(call_id, snapshot)
    return calls


def fail(*_arguments: object) -> NoReturn:
    """Fail as a server does that is away."""
    raise StoreUnavailable("the server is away")


def until_failed(store: Store) -> None:
    eventually(lambda: store._writer.errors, "a write has failed")


@pytest.fixture
def store(own_group: Group) -> Iterator[Store]:
    """A store on a server of the test's own."""
    store = Store(own_group.engine())
    yield store
    store.close(5.0)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nh.supervisor.store.store.RETRY_S", 0.1)
    monkeypatch.setattr("nh.supervisor.store.lease.RENEW_S", 0.2)


# --- the server is away, slow or has lost what it had ---------------------------------------------


def test_a_server_that_is_restarted_empty_gets_all_calls_again(own_group: Group, store: Store) -> None:
    calls = fill(store, 1200)
    until_written(store)
    own_group.server.stop()
    store.delete(b"call 7")
    store.put(b"new", b"while it was away")
    until_failed(store)
    own_group.server.start()
    until_written(store)
    del calls[b"call 7"]
    assert own_group.contents() == calls | {b"new": b"while it was away"}


def test_a_server_that_is_away_at_the_start_is_written_when_it_comes(
    own_group: Group, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StoreUnavailable, match="Connection refused"):
        own_group.server.stop()
        Store(own_group.engine())
    store = Store(own_group.engine(), may_be_away=True)
    calls = fill(store, 3)
    own_group.server.start()
    until_written(store)
    assert own_group.contents() == calls
    store.close(5.0)
    assert sum("calls go on but are not stored" in line for line in caplog.messages) == 1


def test_calls_that_only_a_server_has_that_was_away_at_the_start_are_removed_and_logged(
    own_group: Group, caplog: pytest.LogCaptureFixture
) -> None:
    first = Store(own_group.engine())
    fill(first, 2)
    until_written(first)
    first.close(5.0)
    os.kill(own_group.server.program.pid, signal.SIGSTOP)
    second = Store(own_group.engine(), may_be_away=True)
    second.put(b"call 0", b"newer")
    os.kill(own_group.server.program.pid, signal.SIGCONT)
    until_written(second)
    assert own_group.contents() == {b"call 0": b"newer"}
    second.close(5.0)
    assert any("1 call of an earlier run removed, not restored" in line for line in caplog.messages)


def test_calls_of_a_dead_relay_on_a_server_that_was_away_at_the_start_are_kept_for_the_next_start(
    own_group: Group,
) -> None:
    dead = own_group.engine("relay-1", options="&lease=3")
    dead.open()
    dead.write({b"of the dead relay": stored_call(b"of the dead relay")})
    os.kill(own_group.server.program.pid, signal.SIGSTOP)
    store = Store(own_group.engine("relay-2"), may_be_away=True)
    store.put(b"new", b"snapshot")
    os.kill(own_group.server.program.pid, signal.SIGCONT)
    until_written(store)
    assert store.adopted == 1
    store.close(5.0)
    again = Store(own_group.engine("relay-2"))
    assert {each.call_id for each in again.load()} == {b"of the dead relay", b"new"}
    again.close(5.0)


def test_calls_of_a_dead_relay_on_a_server_that_goes_away_while_they_are_read_are_kept_for_the_next_start(
    own_group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = own_group.engine("relay-1", options="&lease=1")
    dead.open()
    dead.write({b"of the dead relay": stored_call(b"of the dead relay")})
    with monkeypatch.context() as away:
        away.setattr(ValkeyEngine, "_read", fail)
        store = Store(own_group.engine("relay-2", options="&lease=1"), may_be_away=True)
    until_written(store)
    eventually(lambda: store.works, "it is there again")
    assert store.adopted == 1
    assert set(own_group.contents()) == {b"of the dead relay"}
    store.close(5.0)


def test_a_stopped_server_delays_no_put_and_its_late_write_does_not_count(
    own_group: Group, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.put(b"a", b"1")
    until_written(store)
    os.kill(own_group.server.program.pid, signal.SIGSTOP)
    begun = time.monotonic()
    store.put(b"a", b"2")
    for number in range(2000):
        store.put(b"b", b"%d" % number)
    assert time.monotonic() - begun < REPLY_S, "none has waited for the server"
    until_failed(store)
    store.delete(b"b")
    os.kill(own_group.server.program.pid, signal.SIGCONT)
    until_written(store)
    assert own_group.contents() == {b"a": b"2"}
    assert any("has not answered within 2 s" in line for line in caplog.messages)


def test_a_write_that_comes_after_the_group_was_acquired_again_is_refused(group: Group) -> None:
    late, again = group.engine(), group.engine()
    late.open()
    again.open()
    with pytest.raises(StoreHeld, match="the relay relay-1 has taken the calls of this prefix over"):
        late.write({b"a": stored_call(b"a")})
    assert again.open() == []
    again.close()


def test_full_memory_is_said_and_all_is_written_when_there_is_room(
    own_group: Group, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.put(b"a", b"1")
    until_written(store)
    own_group.client.config_set("maxmemory", "1")
    calls = fill(store, 20)
    until_failed(store)
    own_group.client.config_set("maxmemory", "0")
    until_written(store)
    assert own_group.contents() == calls | {b"a": b"1"}
    assert any("the server's memory is full; raise its maxmemory" in line for line in caplog.messages)


def test_a_read_only_replica_is_said_and_written_when_it_is_the_primary(
    own_group: Group, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.put(b"a", b"1")
    until_written(store)
    own_group.client.replicaof("127.0.0.1", 1)
    store.put(b"a", b"2")
    until_failed(store)
    own_group.client.replicaof("NO", "ONE")
    until_written(store)
    assert own_group.contents() == {b"a": b"2"}
    assert any("read-only replica" in line and "?sentinel=NAME" in line for line in caplog.messages)


# --- what another program does to the keys --------------------------------------------------------


def test_a_call_that_was_evicted_is_noticed_and_written_again(own_group: Group, store: Store) -> None:
    calls = fill(store, 10)
    until_written(store)
    own_group.client.hdel(own_group.key("calls"), "call 3")
    eventually(lambda: own_group.contents() == calls, "the call is there again")


def test_a_record_that_was_changed_is_found_and_written_again(
    own_group: Group, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fill(store, 10)
    until_written(store)
    own_group.damage()
    monkeypatch.setattr("nh.supervisor.store.valkey.engine.RECONCILE_S", 0.0)
    eventually(lambda: own_group.client.exists(own_group.key("quarantine")), "the damaged calls are aside")
    eventually(lambda: own_group.contents() == calls, "all are written again")


def test_the_lease_is_renewed_while_all_calls_are_read_from_a_slow_server(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nh.supervisor.store.valkey.engine._SCAN", 10)
    monkeypatch.setattr("nh.supervisor.store.valkey.engine.RECONCILE_S", 0.0)
    engine = group.engine(options="&lease=3")
    engine.open()
    engine.write({b"%d" % number: stored_call(b"%d" % number, bytes(1000)) for number in range(1500)})
    renewed: list[float] = []
    engine.lease.on_renewed = renewed.append
    hscan = Valkey.hscan

    def slow_hscan(*args: Any, **options: Any) -> Any:
        time.sleep(0.03)
        return hscan(*args, **options)

    monkeypatch.setattr(Valkey, "hscan", slow_hscan)
    engine.check()
    assert renewed[-1] - renewed[0] > 3.0, "it took longer than the lease"
    assert len(renewed) >= 3
    engine.close()


def test_keys_of_another_program_are_refused_and_stay(group: Group) -> None:
    client = group.client
    for make, kind in ((client.set, b"string"), (client.sadd, b"set"), (client.rpush, b"list")):
        make(group.key("calls"), "another's")
        with pytest.raises(StoreRefused, match="another program's; choose another prefix"):
            group.engine().open()
        assert client.type(group.key("calls")) == kind
        client.delete(group.key("calls"))
    client.hset(group.key("group"), "name", "another's")
    with pytest.raises(StoreRefused, match="choose another prefix"):
        group.engine().open()
    assert client.hgetall(group.key("group")) == {b"name": b"another's"}


def test_calls_of_another_version_are_quarantined(group: Group) -> None:
    engine = group.engine()
    engine.open()
    engine.write({b"a": stored_call(b"a")})
    engine.close()
    group.client.hset(group.key("group"), "format", "99")
    with pytest.raises(StoreDamaged, match="another version of nh"):
        group.engine().open()
    store = Store(group.engine())
    assert store.load() == []
    store.put(b"b", b"1")
    until_written(store)
    store.close(5.0)
    assert group.contents() == {b"b": b"1"}
    assert group.client.hkeys(group.key("quarantine")) == [b"a"]
    assert group.client.ttl(group.key("quarantine")) > 0


def test_records_of_another_version_are_damaged_and_the_others_are_kept(group: Group) -> None:
    engine = group.engine()
    engine.open()
    engine.write({b"a": stored_call(b"a"), b"b": stored_call(b"b")})
    engine.close()
    record = group.client.hget(group.key("calls"), "a")
    group.client.hset(group.key("calls"), "a", b"\xff" + record[1:])
    with pytest.raises(StoreDamaged, match="damaged in 1 call") as found:
        group.engine().open()
    assert found.value.calls == (stored_call(b"b"),)


# --- who has the group ----------------------------------------------------------------------------


def test_a_second_relay_is_refused_while_the_first_lives(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = group.engine("relay-1"), group.engine("relay-2")
    first.open()
    monkeypatch.setattr("time.sleep", lambda _s: first.write({b"a": stored_call(b"a")}))
    with pytest.raises(StoreHeld, match="those of the relay relay-1, which lives; choose another prefix"):
        second.open()
    first.close()
    assert second.open() == [stored_call(b"a")]
    second.close()


def test_a_relay_that_was_killed_is_followed_at_once_by_itself_and_after_its_lease_by_another(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def lease_ends(wait_s: float) -> None:
        waits.append(wait_s)
        group.client.hset(group.key("group"), "until", 0)

    monkeypatch.setattr("time.sleep", lease_ends)
    group.engine("relay-1").open()
    again = group.engine("relay-1")
    again.open()
    assert not waits
    other = group.engine("relay-2", options="&lease=60")
    other.open()
    assert len(waits) == 1
    assert 0 < waits[0] < 6, "the lease of the first counts, not that of the second"
    other.close()


def test_a_relay_that_was_replaced_never_takes_the_calls_back(group: Group) -> None:
    first, second = group.engine("relay-1"), group.engine("relay-2")
    first.open()
    first.write({b"a": stored_call(b"a")})
    first.close()
    second.open()
    for _ in range(2):
        with pytest.raises(StoreHeld, match="the relay relay-2 has taken the calls of this prefix over"):
            first.open()
    second.write({b"b": stored_call(b"b")})
    second.close()
    with pytest.raises(StoreHeld):
        first.open()
    assert set(group.contents()) == {b"a", b"b"}


def test_the_journal_of_a_relay_that_was_killed_counts_unless_another_had_the_calls_since(
    group: Group, tmp_path: Path
) -> None:
    def left_by_a_kill(call_id: bytes) -> None:
        journal = Journal(tmp_path)
        journal.add(JournalRecord(call_id, b"1", time.time()))
        journal.close()

    left_by_a_kill(b"a")
    again = Store(group.engine("relay-1"), tmp_path)
    assert [each.call_id for each in again.load()] == [b"a"]
    until_written(again)
    again.close(5.0)
    left_by_a_kill(b"over")
    other = group.engine("relay-2")
    other.open()
    other.close()
    back = Store(group.engine("relay-1"), tmp_path)
    assert [each.call_id for each in back.load()] == [b"a"]
    back.close(5.0)


def test_a_relay_that_was_replaced_leaves_no_journal(group: Group, tmp_path: Path) -> None:
    store = Store(group.engine("relay-1"), tmp_path)
    store.put(b"a", b"1")
    until_written(store)
    group.client.hset(group.key("group"), "until", 0)
    other = group.engine("relay-2")
    other.open()
    store.put(b"b", b"1")
    eventually(lambda: store.why_lost(0.0, may_run_out=False), "it is told")
    assert "the relay relay-2 has the calls now" in store.why_lost(0.0, may_run_out=False)
    store.close(5.0)
    assert list(tmp_path.iterdir()) == []
    other.close()
    assert set(group.contents()) == {b"a"}


def test_an_upgrade_keeps_the_lease_and_an_end_gives_it_up(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _s: None)
    Store(group.engine("relay-1")).close(5.0, keep_lease=True)
    with pytest.raises(StoreHeld):
        group.engine("relay-2").open()
    Store(group.engine("relay-1")).close(5.0)
    other = group.engine("relay-2")
    assert other.open() == []
    other.close()


def test_calls_whose_group_alone_the_server_has_lost_are_those_of_their_relay(
    own_group: Group, store: Store
) -> None:
    store.put(b"a", b"1")
    store.put(b"over", b"1")
    until_written(store)
    own_group.client.delete(own_group.key("group"))
    store.put(b"b", b"1")
    store.delete(b"over")
    until_written(store)
    assert own_group.contents() == {b"a": b"1", b"b": b"1"}


def test_calls_whose_group_is_lost_with_their_relay_are_those_of_its_standby(group: Group) -> None:
    """The standby has missed the last writes, which the server has."""
    relay, standby = group.engine("relay-1"), group.follower("relay-2")
    relay.open()
    relay.write({b"over": stored_call(b"over"), b"a": stored_call(b"a")})
    standby.poll()
    relay.write({b"over": None, b"b": stored_call(b"b")})
    group.client.delete(group.key("group"))
    taken = group.engine("relay-2", follower=standby)
    assert {each.call_id for each in taken.open()} == {b"a", b"b"}
    taken.write({b"c": stored_call(b"c")})
    taken.check()
    assert set(group.contents()) == {b"a", b"b", b"c"}
    with pytest.raises(StoreHeld):
        relay.write({b"late": stored_call(b"late")})
    taken.close()


def test_calls_and_their_group_that_are_lost_with_their_relay_come_from_its_standby(group: Group) -> None:
    relay, standby = group.engine("relay-1"), group.follower("relay-2")
    relay.open()
    relay.write({b"a": stored_call(b"a")})
    standby.poll()
    group.client.delete(group.key("group"), group.key("calls"))
    taken = group.engine("relay-2", follower=standby)
    assert [each.call_id for each in taken.open()] == [b"a"]
    taken.close()


def test_a_standby_that_was_started_when_the_group_was_lost_does_not_take_the_calls(group: Group) -> None:
    """Their relay may live: this standby has never heard whose they are, however often it has looked."""
    now = [0.0]
    relay, standby = group.engine("relay-1"), group.follower("relay-2", clock=lambda: now[0])
    relay.open()
    relay.write({b"a": stored_call(b"a")})
    group.client.delete(group.key("group"))
    for _ in range(20):
        standby.poll()
        with pytest.raises(StoreRefused, match="is lost, which says whose the calls are"):
            group.engine("relay-2", follower=standby).open()
        now[0] += 1.0
    taken = group.engine("relay-2", follower=standby, force=True)
    assert [each.call_id for each in taken.open()] == [b"a"]
    taken.close()


def follow_with_an_old_journal(group: Group, directory: Path) -> tuple[ValkeyEngine, Follower]:
    """A relay with the call `a`, and its standby, which has a journal of a time when it was their relay."""
    before = Journal(directory)
    before.add(JournalRecord(b"over since", b"1", 1.0))
    before.close()
    relay, standby = group.engine("relay-1"), group.follower("relay-2")
    relay.open()
    relay.write({b"a": stored_call(b"a")})
    standby.poll()
    return relay, standby


@pytest.mark.parametrize("lost", ["group", "group calls changes standbys"], ids=["group", "everything"])
def test_a_standby_takes_nothing_from_its_old_journal_where_the_server_has_lost_whose_the_calls_are(
    group: Group, tmp_path: Path, lost: str
) -> None:
    """It was their relay once, and was killed; another relay has had them since."""
    _relay, standby = follow_with_an_old_journal(group, tmp_path)
    group.client.delete(*map(group.key, lost.split()))
    store = Store(group.engine("relay-2", follower=standby), tmp_path)
    assert [each.call_id for each in store.load()] == [b"a"]
    store.close(5.0)


@pytest.mark.parametrize("ahead_s", [-600.0, 600.0])
@pytest.mark.parametrize("was_last", [False, True])
def test_calls_whose_group_is_lost_are_taken_by_force_with_the_journal_of_their_last_relay_alone(
    group: Group, tmp_path: Path, was_last: bool, ahead_s: float
) -> None:
    """The standby was started too late to hear whose they are; the stream says in which epoch they were
    written.

    The clock of a host may be minutes ahead of the server's, or behind it.
    """
    of_journal = group.engine("relay-2")
    of_journal.open()
    of_journal.write({b"a": stored_call(b"a")})
    before = JournalOpener(tmp_path, lost_s=1.0)
    before.note_epoch(of_journal.epoch)
    journal = before.open()
    assert journal is not None
    journal.add(JournalRecord(b"not stored", b"1", time.time() + ahead_s))
    journal.close()
    if not was_last:
        of_journal.close()
        relay = group.engine("relay-1")
        relay.open()
        relay.write({b"a": stored_call(b"a")})
    group.client.delete(group.key("group"))
    standby = group.follower("relay-2")
    standby.poll()
    store = Store(group.engine("relay-2", follower=standby, force=True), tmp_path)
    assert {each.call_id for each in store.load()} == ({b"a", b"not stored"} if was_last else {b"a"})
    store.close(5.0)


def test_the_journal_is_of_the_epoch_in_which_its_relay_has_the_calls(
    own_group: Group, tmp_path: Path
) -> None:
    def epoch() -> int:
        return JournalOpener(tmp_path, lost_s=1.0).epoch

    relay = own_group.engine("relay-1")
    store = Store(relay, tmp_path)
    first = relay.epoch
    assert epoch() == first > 0
    own_group.client.flushall()
    store.put(b"a", b"1")
    eventually(lambda: epoch() > first, "the relay has the calls anew, and its journal is of then")
    assert epoch() == relay.epoch
    (tmp_path / EPOCH_NAME).unlink()
    store.put(b"b", b"1")
    eventually(epoch, "another program has removed the file, and it is written anew")
    store.close(5.0)
    assert epoch() == 0, "no journal is left"


def test_an_epoch_that_cannot_be_noted_or_read_is_unknown(tmp_path: Path) -> None:
    journals = JournalOpener(tmp_path / "is not there", lost_s=1.0)
    journals.note_epoch(7)
    assert journals.epoch == 0
    (tmp_path / EPOCH_NAME).write_bytes(b"none")
    assert JournalOpener(tmp_path, lost_s=1.0).epoch == 0
    JournalOpener(None, lost_s=1.0).note_epoch(7)


def test_a_standby_takes_nothing_from_its_old_journal_behind_a_promotion_that_has_failed(
    group: Group, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then the server has this relay's name for the one that has the calls."""
    relay, standby = follow_with_an_old_journal(group, tmp_path)
    relay.close()
    with monkeypatch.context() as away, pytest.raises(StoreUnavailable):
        away.setattr(ValkeyEngine, "_complete", fail)
        Store(group.engine("relay-2", follower=standby), tmp_path)
    standby.poll()
    store = Store(group.engine("relay-2", follower=standby), tmp_path)
    assert [each.call_id for each in store.load()] == [b"a"]
    store.close(5.0)


def test_calls_whose_group_is_lost_are_taken_by_force_alone_from_a_relay_without_a_standby(
    group: Group,
) -> None:
    """It may live, and writes the group again. The remedy is in the message."""
    relay = group.engine("relay-1")
    relay.open()
    relay.write({b"a": stored_call(b"a")})
    group.client.delete(group.key("group"))
    with pytest.raises(StoreRefused, match="take them: nh promote --force"):
        group.engine("relay-2").open()
    taken = group.engine("relay-2", force=True)
    assert [each.call_id for each in taken.open()] == [b"a"]
    taken.close()


def test_a_relay_that_another_has_followed_does_not_take_calls_whose_group_is_lost(group: Group) -> None:
    one, two = group.engine("relay-1"), group.engine("relay-2", force=True)
    one.open()
    two.open()
    two.write({b"a": stored_call(b"a")})
    group.client.delete(group.key("group"))
    with pytest.raises(StoreRefused, match="is lost, which says whose the calls are"):
        one.open()
    assert [each.call_id for each in two.open()] == [b"a"]
    two.close()


def test_the_epoch_grows_also_when_the_server_has_lost_all_data(own_group: Group) -> None:
    epochs: list[int] = []
    for _ in range(3):
        engine = own_group.engine()
        engine.open()
        engine.write({b"a": stored_call(b"a")})
        ((entry, _),) = own_group.client.xrevrange(own_group.key("changes"), count=1)
        epochs.append(int(entry.split(b"-")[0]))
        own_group.client.flushall()
    assert epochs == sorted(set(epochs))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ResponseError("Protocol error: unauthenticated multibulk length"), "the server wants a password"),
        (
            ResponseError("MOVED 1 h:1"),
            "the calls are at another node of a cluster (MOVED 1 h:1); a URL with",
        ),
        (ResponseError("ASK 1 h:1"), "the calls are moving to another node of the cluster (ASK 1 h:1);"),
        (ResponseError("TRYAGAIN Multiple keys"), "the calls are moving to another node of the cluster (TRY"),
        (ResponseError("CLUSTERDOWN Hash slot not served"), "the cluster is down (CLUSTERDOWN Hash slot not"),
        (ResponseError("MASTERDOWN Link with MASTER"), "the server is a replica without its primary (MAS"),
        (ResponseError("NOREPLICAS Not enough"), "the server has too few replicas to write (NOREPLICAS Not"),
        (ResponseError("MISCONF Valkey is"), "the server cannot save its data (MISCONF Valkey is); look at"),
        (ResponseError("unknown command 'SENTINEL', with args"), "the server is no Sentinel; name the"),
        (ResponseError("unknown command `SENTINEL`, with args"), "the server is no Sentinel; name the"),
        (ResponseError("unknown command 'HGET', with"), "the server lacks a command (unknown command 'HGET'"),
        (
            NoConnection("Error while reading: tlsv1 alert unknown ca (_ssl.c:1)"),
            "TLS: Error while reading: tlsv1 alert unknown ca (_ssl.c:1); the server refuses nh's",
        ),
        (
            NoConnection("Error while reading: sslv3 alert certificate expired (_ssl.c:1)"),
            "TLS: Error while reading: sslv3 alert certificate expired (_ssl.c:1); the server refuses nh's",
        ),
        (
            NoConnection("Error while reading: tlsv13 alert certificate required (_ssl.c:1)"),
            "TLS: Error while reading: tlsv13 alert certificate required (_ssl.c:1); the server wants a",
        ),
        (
            NoConnection("Error 8 while writing to socket. EOF occurred in violation of protocol"),
            "the server has ended the TLS connection (Error 8 while writing to socket. EOF",
        ),
        (NoReply("Timeout connecting to server"), "there is no connection to the server in time (Timeout"),
        (NoReply("Timeout reading from socket"), "the server has not answered within 2 s (Timeout reading"),
        (NoConnection("Error 111 connecting to host:1."), "there is no connection to the server (Error"),
    ],
)
def test_an_error_of_the_client_is_told_in_words_of_nh(error: Exception, said: str) -> None:
    with pytest.raises(StoreUnavailable) as caught, failures("valkey://host:1/0"):
        raise error
    assert str(caught.value).startswith(f"valkey://host:1/0: {said}")


# --- accounts -------------------------------------------------------------------------------------


def test_a_password_is_needed_read_from_a_file_and_never_shown(
    own_group: Group, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own_group.client.config_set("requirepass", SECRET)
    with pytest.raises(StoreRefused, match="wants a password"):
        own_group.engine().open()
    with pytest.raises(StoreRefused, match="refuses user and password"):
        own_group.engine(account=":wrong@").open()
    file = tmp_path / "password"
    with pytest.raises(StoreRefused, match="cannot be read"):
        own_group.engine(options=f"&password_file={file}").open()
    file.write_text(f"{SECRET}\n")
    file.chmod(0o640)
    with pytest.raises(StoreRefused, match=r"open to other users \(mode 0640\); chmod 600"):
        own_group.engine(options=f"&password_file={file}").open()
    file.chmod(0o600)
    for engine in (
        own_group.engine(options=f"&password_file={file}"),
        own_group.engine(account=f":{SECRET}@"),
    ):
        engine.open()
        engine.close()
        assert SECRET not in engine.name
    assert SECRET not in caplog.text


def test_a_password_that_changes_while_nh_runs_stops_the_store_until_the_file_has_it(
    own_group: Group, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_text("first")
    own_group.client.config_set("requirepass", "first")
    store = Store(own_group.engine(options=f"&password_file={file}"))
    client = own_group.server.client(password="first")
    client.config_set("requirepass", SECRET)
    client.client_kill_filter(_type="normal", skipme=True)
    store.put(b"a", b"1")
    until_failed(store)
    file.write_text(SECRET)
    until_written(store)
    store.close(5.0)
    assert SECRET not in caplog.text


def test_a_user_of_the_acl_needs_the_keys_of_the_prefix_and_the_documented_commands(own_group: Group) -> None:
    own_group.client.execute_command(
        *("ACL", "SETUSER", "nh", "on", f">{SECRET}", "resetkeys", "~{nh}:*", "-@all"),
        *(
            "+ping",
            "+eval",
            "+evalsha",
            "+script|load",
            "+hscan",
            "+type",
            "+exists",
            "+hget",
            "+hmget",
            "+hset",
        ),
        *(
            "+hdel",
            "+hlen",
            "+hincrby",
            "+xadd",
            "+xrange",
            "+xrevrange",
            "+expire",
            "+time",
            "+rename",
            "+del",
            "+hgetall",
        ),
    )
    engine = own_group.engine(account=f"nh:{SECRET}@")
    engine.open()
    engine.write({b"a": stored_call(b"a"), b"b": stored_call(b"b")})
    engine.write({b"a": None})
    engine.check()
    follower = own_group.follower(account=f"nh:{SECRET}@")
    assert follower.poll().lease_s
    follower.want()
    follower.close()
    engine.quarantine([])
    engine.close()
    other = Group(own_group.server, "other")
    with pytest.raises(StoreRefused, match="ACL refuses a command"):
        other.engine(account=f"nh:{SECRET}@").open()
