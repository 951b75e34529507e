"""What is put is there again, whatever ends the process, and no caller waits for it."""

import logging
import os
import stat
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nh.stats.layout import SupervisorStats
from nh.supervisor.store.engine import Changes, StoredCall
from nh.supervisor.store.packing import Packed, SnapshotPacker
from nh.supervisor.store.sqlite import SqliteEngine
from nh.supervisor.store.store import BATCH_S, Store
from nh.supervisor.store.writer import ROWS, StoreWriter
from tests.profiles import examples, quick_first
from tests.supervisor.stores import (
    OWNER,
    MemoryEngine,
    MemoryServer,
    contents,
    fill,
    hanging_disk,
    opened,
    quarantined,
    until_written,
)
from tools.harness.waiting import TIMEOUT_S, eventually


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.sqlite3"


# --- what is in it --------------------------------------------------------------------------------


def test_a_new_store_is_empty(path: Path) -> None:
    assert contents(path) == {}


def test_any_bytes_come_back_with_the_time_at_which_they_were_put(path: Path) -> None:
    calls = {b"": b"", b"\0": b"\xff" * 3, bytes(range(256)): b"\0", "ü@host".encode(): os.urandom(200_000)}
    before = time.time()
    fill(path, calls)
    with opened(path) as store:
        loaded = store.load()
    assert {call.call_id: call.snapshot for call in loaded} == calls
    assert all(before <= call.written_at <= time.time() for call in loaded)


def test_the_newest_snapshot_counts_and_a_deleted_call_is_gone(path: Path) -> None:
    fill(path, {b"a": b"1", b"b": b"1", b"c": b"1"})
    with opened(path) as store:
        store.put(b"a", b"2")
        store.delete(b"b")
        store.delete(b"never there")
        store.put(b"d", b"1")
        store.delete(b"d")
        store.delete(b"c")
        store.put(b"c", b"3")
    assert contents(path) == {b"a": b"2", b"c": b"3"}


def test_what_was_loaded_stays_in_the_file_and_is_handed_over_once(path: Path) -> None:
    fill(path, {b"a": b"1"})
    with opened(path) as store:
        assert [call.call_id for call in store.load()] == [b"a"]
        assert store.load() == []
    assert contents(path) == {b"a": b"1"}


def test_snapshots_that_the_store_holds_packed_come_back_as_they_were_put(path: Path) -> None:
    packer = SnapshotPacker()
    calls = {b"%d" % number: b"%d is like others" % number * 30 for number in range(300)}
    with opened(path) as store:
        for call_id, snapshot in calls.items():
            store.put(call_id, snapshot)
            packed = packer.pack(snapshot)
            assert isinstance(packed, Packed)
            store.hold_packed(call_id, snapshot, packed)
        until_written(store)
        store.put(b"0", b"newer")
    assert contents(path) == calls | {b"0": b"newer"}


_CALL_IDS = st.sampled_from([b"", b"a", b"b", b"c", b"\0\xff"])
_CHANGES = st.lists(st.dictionaries(_CALL_IDS, st.none() | st.binary(max_size=9000), max_size=5), max_size=12)


@settings(max_examples=examples(40), deadline=None)
@given(batches=_CHANGES)
def test_after_any_changes_the_file_holds_what_a_dictionary_would(
    batches: list[dict[bytes, bytes | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("store") / "calls"
    model: dict[bytes, bytes] = {}
    writer = StoreWriter(SqliteEngine(path, OWNER))
    for batch in batches:
        assert writer.write({k: None if v is None else StoredCall(k, v, 1.0) for k, v in batch.items()})
        model |= {call_id: snapshot for call_id, snapshot in batch.items() if snapshot is not None}
        model = {
            call_id: snapshot for call_id, snapshot in model.items() if batch.get(call_id, b"") is not None
        }
    writer.close()
    assert contents(path) == model


def test_the_files_are_for_their_owner_alone(path: Path) -> None:
    fill(path, {b"a": b"1"})
    path.chmod(0o644)
    with opened(path) as store:
        store.put(b"a", b"2")
        until_written(store)
        files = list(path.parent.iterdir())
        assert len(files) == 2  # the log, too
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_nothing_is_left_of_calls_that_have_ended(path: Path) -> None:
    """Its keys of SRTP would open what others have recorded of it."""
    keys = {b"%d" % number: os.urandom(16) for number in range(60)}
    filled = {call_id: os.urandom((800, 3900, 9000)[int(call_id) % 3]) + key for call_id, key in keys.items()}
    fill(path, filled)
    with opened(path) as store:
        for call_id in list(keys)[::2]:
            store.delete(call_id)
    found = path.read_bytes()
    assert [key in found for key in keys.values()] == [False, True] * 30


def test_the_log_does_not_grow_with_what_is_written(path: Path) -> None:
    writer = StoreWriter(SqliteEngine(path, OWNER))
    for number in range(40):
        batch = {b"%d" % n: StoredCall(b"%d" % n, bytes(2000), number) for n in range(ROWS)}
        assert writer.write(batch)
    size = path.with_name(path.name + "-wal").stat().st_size
    writer.close()
    assert writer.written == 40 * ROWS  # 40 MB
    assert size < 8 << 20


# --- no caller waits ---------------------------------------------------------------------------------


def test_ten_thousand_snapshots_of_one_call_are_few_writes(path: Path) -> None:
    stats = SupervisorStats()
    begin = time.monotonic()
    with opened(path) as store:
        for number in range(10_000):
            store.put(b"a", b"%d" % number)
        until_written(store)
        batches = (time.monotonic() - begin) / BATCH_S + 2
        store.count_in(stats)
    assert 1 <= stats.store_written <= batches
    assert (stats.store_errors, stats.store_pending) == (0, 0)
    assert contents(path) == {b"a": b"9999"}


def test_a_put_takes_microseconds_while_ten_thousand_calls_are_written(path: Path) -> None:
    snapshots = {os.urandom(24): os.urandom(2000) for _ in range(10_000)}
    took = []
    with opened(path) as store:
        for _ in range(3):
            for call_id, snapshot in snapshots.items():
                begin = time.perf_counter()
                store.put(call_id, snapshot)
                took.append(time.perf_counter() - begin)
    assert statistics.median(took) < 20e-6  # about 1 on a quiet machine; this one may be anything but
    assert contents(path) == snapshots


def test_a_hanging_disk_delays_no_put_and_the_newest_is_written_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, goes_on = hanging_disk(monkeypatch)
    with opened(path) as store:
        store.put(b"a", b"old")
        assert hangs.wait(TIMEOUT_S)
        begin = time.monotonic()
        for number in range(10_000):
            store.put(b"%d" % (number % 100), b"%d" % number)
        assert time.monotonic() - begin < 5.0
        assert store.pending == 101  # not 10,001: it is bounded by the number of calls
        goes_on.set()
        until_written(store)
    assert contents(path) == {b"a": b"old"} | {b"%d" % n: b"%d" % (9900 + n) for n in range(100)}


def test_close_waits_no_longer_than_it_may_and_says_what_is_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    goes_on = threading.Event()
    write = SqliteEngine.write

    def slow(engine: SqliteEngine, changes: Changes) -> None:
        goes_on.wait(30)
        write(engine, changes)

    monkeypatch.setattr(SqliteEngine, "write", slow)
    store = Store(SqliteEngine(path, OWNER))
    store.put(b"a", b"1")
    begin = time.monotonic()
    store.close(timeout_s=0.2)
    assert time.monotonic() - begin < 20.0, "the disk hangs for 30"
    assert (
        "closed before the changes of 1 call were written because the store is slow; they are lost"
        in caplog.text
    )
    goes_on.set()
    store._thread.join(TIMEOUT_S)  # or the next test finds it at work


def test_close_writes_what_is_left_and_a_second_one_does_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(SqliteEngine(path, OWNER))
    for number in range(3 * ROWS):
        store.put(b"%d" % number, b"x")
    store.close(TIMEOUT_S)
    store.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # no log: all is in the file
    assert len(contents(path)) == 3 * ROWS
    assert caplog.records == []


# --- the end comes at any time --------------------------------------------------------------------

WRITTEN_CALLS = 200

_WRITES_FOR_EVER = f"""
import itertools, sys, time
from pathlib import Path
from nh.stats.layout import SupervisorStats
from nh.supervisor.store.sqlite import SqliteEngine
from nh.supervisor.store.store import Store
store = Store(SqliteEngine(Path(sys.argv[1]), b"/run/nh"))
stats = SupervisorStats()
for number in itertools.count():
    for call in range({WRITTEN_CALLS}):
        store.put(b"%d" % call, b"%d" % number * 300)
    store.count_in(stats)
    print(number, stats.store_written, flush=True)
    time.sleep(0.002)  # as a loop does: who never rests keeps the interpreter from the thread that writes
"""


def next_line(writer: "subprocess.Popen[str]") -> tuple[int, int]:
    """The number of a round that was put, and how many changes were written by then."""
    assert writer.stdout is not None
    number, written = writer.stdout.readline().split()
    return int(number), int(written)


@pytest.mark.parametrize("lines", quick_first([1, 40, 300]))
def test_what_is_older_than_a_moment_survives_kill_9_while_it_is_written(path: Path, lines: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _WRITES_FOR_EVER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        before, written = [next_line(writer) for _ in range(lines)][-1]
        # the batch that was under way may lack some of the round, the next one has the rest
        eventually(lambda: next_line(writer)[1] >= written + 2 * WRITTEN_CALLS, "the round is written")
        writer.kill()
    found = contents(path)
    assert set(found) == {b"%d" % call for call in range(WRITTEN_CALLS)}
    for snapshot in found.values():
        number = int(snapshot[: len(snapshot) // 300])
        assert snapshot == b"%d" % number * 300
        assert number >= before
    assert quarantined(path) == []


def test_nothing_is_logged_while_all_is_well(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        fill(path, {b"a": b"1"})
        contents(path)
    assert caplog.records == []


def test_a_closed_store_leaves_no_descriptor(path: Path, no_descriptor_leaks: None) -> None:
    fill(path, {b"a": b"1"})


@pytest.mark.parametrize("goes_on", [False, True], ids=["end", "upgrade"])
def test_a_store_that_is_away_when_it_is_closed_says_whether_calls_go_on(
    caplog: pytest.LogCaptureFixture, goes_on: bool
) -> None:
    server = MemoryServer()
    store = Store(MemoryEngine(server))
    server.away = True
    store.put(b"call", b"1")
    store.close(keep_lease=goes_on)
    assert ("nh ends, and the store does not have 1 change" in caplog.text) is not goes_on
    assert ("calls go on" in caplog.text) is goes_on
