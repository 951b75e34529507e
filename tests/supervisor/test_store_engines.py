"""The contract of engines (nh.supervisor.store.engine): those of SQLite, Valkey and one in memory;
and the writer."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nh.errors import StoreUnavailable
from nh.supervisor.store.engine import Changes, StoreDamaged, StoredCall, StoreEngine, StoreFull
from nh.supervisor.store.journal import Journal
from nh.supervisor.store.packing import Packed, SnapshotPacker
from nh.supervisor.store.sqlite import SqliteEngine
from nh.supervisor.store.store import Store
from nh.supervisor.store.writer import ROWS, StoreWriter
from tests.supervisor.stores import OWNER, MemoryEngine, MemoryServer, stored_call, until_written
from tools.harness.waiting import eventually

Host = tuple[Callable[[], StoreEngine], Callable[[], object], Callable[[], None]]
"""Makes an engine of the same store each time; damages the store; removes it behind the engine's back."""


@pytest.fixture(params=["sqlite", "memory", pytest.param("valkey", marks=pytest.mark.valkey)])
def host(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    if request.param == "sqlite":
        path = tmp_path / "calls"
        return (
            lambda: SqliteEngine(path, OWNER),
            lambda: path.write_bytes(b"x" * 4096),
            path.unlink,
        )
    if request.param == "valkey":
        monkeypatch.setattr("nh.supervisor.store.lease.RENEW_S", 0.0)
        group = request.getfixturevalue("group")
        return group.engine, group.damage, group.remove
    server = MemoryServer()
    return (
        lambda: MemoryEngine(server),
        lambda: setattr(server, "damage", "is damaged"),
        lambda: setattr(server, "records", None),
    )


@contextlib.contextmanager
def opened(engine: StoreEngine) -> Iterator[list[StoredCall]]:
    """What is in the store; closed after the block."""
    found = engine.open()
    try:
        yield found
    finally:
        engine.close()


# --- the contract ---------------------------------------------------------------------------------


def test_a_new_store_is_empty(host: Host) -> None:
    make, _, _ = host
    with opened(make()) as found:
        assert found == []


def test_what_was_written_is_there_when_it_is_opened_again(host: Host) -> None:
    make, _, _ = host
    engine = make()
    with opened(engine):
        engine.write(
            {
                b"a": stored_call(b"a"),
                b"b": stored_call(b"b"),
                b"\0\xff": stored_call(b"\0\xff", bytes(9000), 2.25),
            }
        )
        engine.flush()
        engine.write({b"a": stored_call(b"a", b"newer", 3.0), b"b": None, b"never stored": None})
    for again in (engine, make()):
        with opened(again) as found:
            assert {each.call_id: each for each in found} == {
                b"a": stored_call(b"a", b"newer", 3.0),
                b"\0\xff": stored_call(b"\0\xff", bytes(9000), 2.25),
            }


def test_what_is_closed_can_be_closed_again_but_not_written(host: Host) -> None:
    make, _, _ = host
    engine = make()
    engine.close()
    with opened(engine):
        engine.check()
    engine.close()
    with pytest.raises(StoreUnavailable):
        engine.write({b"a": stored_call(b"a")})


def test_a_store_that_was_removed_is_noticed(host: Host) -> None:
    make, _, remove = host
    engine = make()
    with opened(engine):
        engine.write({b"a": stored_call(b"a")})
        remove()
        with pytest.raises(StoreUnavailable):
            engine.check()
    with opened(engine) as found:
        assert found == []


def test_a_damaged_store_is_refused_until_it_is_quarantined(host: Host) -> None:
    make, damage, _ = host
    engine = make()
    with opened(engine):
        engine.write({b"a": stored_call(b"a")})
    damage()
    for _ in range(2):
        with pytest.raises(StoreDamaged):
            engine.open()
    assert engine.quarantine([stored_call(b"b")])
    with opened(engine) as found:
        assert found == [stored_call(b"b")]
        engine.write({b"b": None, b"c": stored_call(b"c")})
    with opened(make()) as found:
        assert found == [stored_call(b"c")]


def test_a_store_has_a_name_for_log_lines(host: Host) -> None:
    make, _, _ = host
    assert make().name


# --- the writer, whatever the engine --------------------------------------------------------------


def test_a_removed_store_is_written_again_with_all_calls(host: Host) -> None:
    make, _, remove = host
    writer = StoreWriter(make())
    calls = {b"%d" % number: stored_call(b"%d" % number) for number in range(2 * ROWS + 1)}
    assert writer.write(calls)
    remove()
    assert not writer.write({b"new": stored_call(b"new"), b"0": None})
    assert writer.write({})
    writer.close()
    with opened(make()) as found:
        assert {each.call_id for each in found} == (calls.keys() - {b"0"}) | {b"new"}


def test_what_is_held_packed_is_written_as_it_was_put(host: Host) -> None:
    make, _, remove = host
    writer, packer = StoreWriter(make()), SnapshotPacker()
    snapshots = {b"%d" % number: b"%d has much in common with others" % number * 20 for number in range(5)}
    assert writer.write({call_id: stored_call(call_id, snapshot) for call_id, snapshot in snapshots.items()})
    for call_id, snapshot in snapshots.items():
        packed = packer.pack(snapshot)
        assert isinstance(packed, Packed)
        writer.expected.hold_packed(call_id, snapshot, packed)
        writer.expected.hold_packed(b"unknown", snapshot, packed)
    late = packer.pack(snapshots[b"0"])
    assert isinstance(late, Packed)
    assert writer.write({b"0": stored_call(b"0", b"newer"), b"1": None})
    writer.expected.hold_packed(b"0", snapshots.pop(b"0"), late)
    writer.expected.hold_packed(b"1", snapshots.pop(b"1"), late)
    snapshots[b"0"] = b"newer"
    assert {each.call_id: each.snapshot for each in writer.expected.calls} == snapshots
    assert {each.call_id: each.snapshot for each in writer.expected.records(0.0)} == snapshots
    remove()
    writer.write({})
    assert writer.write({})
    writer.close()
    with opened(make()) as found:
        assert {each.call_id: each.snapshot for each in found} == snapshots


def test_only_the_difference_is_written_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    server = MemoryServer()
    writer = StoreWriter(MemoryEngine(server))
    assert writer.write({b"a": stored_call(b"a"), b"b": stored_call(b"b")})
    server.away = True
    for number in range(3):
        assert not writer.write({b"a": stored_call(b"a", b"%d" % number), b"c": None})
    assert (writer.errors, writer.written, writer.expected.unwritten) == (3, 2, 2)
    assert (writer.works, writer.fault) == (False, "memory: away")
    server.away = False
    assert writer.write({})
    assert (writer.works, writer.fault) == (True, "")
    assert writer.written == 3, "one call was written, and one that is not there was not removed"
    assert server.records == {b"a": stored_call(b"a", b"2"), b"b": stored_call(b"b")}
    away, works = caplog.messages
    assert "memory: away; calls go on but are not stored" in away
    assert works == "store memory: works again, all calls are stored"


def test_the_intact_calls_of_a_damaged_store_are_in_the_new_one() -> None:
    server = MemoryServer()
    server.records, server.damage = {b"a": stored_call(b"a")}, "is damaged"
    writer = StoreWriter(MemoryEngine(server))
    assert writer.expected.calls == [stored_call(b"a")]
    assert server.records == {b"a": stored_call(b"a")}
    assert server.quarantined == [{b"a": stored_call(b"a")}]


def test_the_log_says_how_many_calls_a_store_gets_whose_damage_a_write_has_found(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = MemoryServer()
    writer = StoreWriter(MemoryEngine(server))
    assert writer.write({b"a": stored_call(b"a"), b"b": stored_call(b"b")})
    server.damage = "is damaged"
    assert not writer.write({b"c": stored_call(b"c")})
    assert "a new store is made with the 3 calls that nh has" in caplog.text


def test_a_store_without_room_at_the_start_is_made_later_and_one_that_is_away_is_an_error() -> None:
    server = MemoryServer()
    server.full = True
    with pytest.raises(StoreFull):
        MemoryEngine(server).open()
    writer = StoreWriter(MemoryEngine(server))
    assert not writer.write({b"a": stored_call(b"a")})
    server.full = False
    assert writer.write({})
    assert server.records == {b"a": stored_call(b"a")}
    server.away = True
    with pytest.raises(StoreUnavailable):
        StoreWriter(MemoryEngine(server))


def full_server() -> MemoryServer:
    """One that has a call and no room for another, unless it is emptied."""
    server = MemoryServer()
    server.records = {b"a": stored_call(b"a")}
    server.full = server.makes_room = True
    return server


def test_a_full_store_is_emptied_when_the_journal_has_all_calls(tmp_path: Path) -> None:
    server = full_server()
    store = Store(MemoryEngine(server), tmp_path)
    store.put(b"b", b"1")
    until_written(store)
    store.close(10.0)
    assert server.emptied == 1
    assert {each.snapshot for each in (server.records or {}).values()} == {b"snapshot", b"1"}


@pytest.mark.parametrize("journal", ["none", "cannot be compacted"])
def test_a_full_store_that_has_the_only_copy_is_not_emptied(
    journal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("nh.supervisor.store.store.RETRY_S", 0.1)
    server = full_server()
    store = Store(MemoryEngine(server), None if journal == "none" else tmp_path)
    if journal == "cannot be compacted":
        monkeypatch.setattr(Journal, "write_compacted", no_room)
    store.put(b"b", b"1")
    eventually(lambda: store._writer.errors >= 3, "it was tried again")
    store.close(0.2)
    assert (server.emptied, server.records) == (0, {b"a": stored_call(b"a")})


def test_a_store_on_any_engine_recovers_by_itself_and_is_there_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "nh.supervisor.store.store.FLUSH_S", 3600.0
    )  # no look at an idle store has it tried again
    server = MemoryServer()
    store = Store(MemoryEngine(server), tmp_path)
    store.put(b"a", b"1")
    until_written(store)
    server.away = True
    store.put(b"a", b"2")
    store.put(b"b", b"1")
    eventually(lambda: store._writer.errors, "it was tried")
    server.away = False
    until_written(store)
    store.close(10.0)
    again = Store(MemoryEngine(server), tmp_path)
    assert {each.call_id: each.snapshot for each in again.load()} == {b"a": b"2", b"b": b"1"}
    again.close(10.0)


def test_an_error_of_nhs_own_ends_no_thread_that_writes(caplog: pytest.LogCaptureFixture) -> None:
    server = MemoryServer()

    class Broken(MemoryEngine):
        faults = 2

        def write(self, changes: Changes) -> None:
            if self.faults:
                self.faults -= 1
                raise TypeError("an unexpected reply")
            super().write(changes)

        def flush(self) -> None:
            raise ZeroDivisionError

    writer = StoreWriter(Broken(server))
    assert not writer.write({b"one": stored_call(b"one")})
    assert not writer.write({b"two": stored_call(b"two")})
    assert writer.expected.unwritten == 2
    assert caplog.text.count("this is a bug in nh") == 1, "once for each time that the store fails"
    assert writer.write({})
    assert server.records == {b"one": stored_call(b"one"), b"two": stored_call(b"two")}
    assert not writer.flush()
    assert not writer.works
