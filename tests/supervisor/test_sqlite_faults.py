"""SQLite on full disks, and with files that are damaged or another's: calls go on, and the store recovers."""

import contextlib
import itertools
import math
import os
import random
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nh.errors import StoreUnavailable
from nh.stats.layout import SupervisorStats
from nh.supervisor.store import store as store_module
from nh.supervisor.store.engine import StoredCall
from nh.supervisor.store.sqlite import SCHEMA, SqliteEngine
from nh.supervisor.store.sqlite_files import QUARANTINED, exchange_files, finish_exchange
from nh.supervisor.store.sqlite_rows import row_of
from nh.supervisor.store.store import Store
from nh.supervisor.store.writer import StoreWriter
from tests.supervisor.killed_files import Files, Killed
from tests.supervisor.stores import (
    OWNER,
    contents,
    file_system,
    fill,
    occupy,
    opened,
    quarantined,
    until_written,
)
from tools.harness.waiting import eventually

CALLS = {b"call %d" % number: b"%d" % number * 500 for number in range(100)}


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store tries again soon, and not after seconds."""
    monkeypatch.setattr(store_module, "FLUSH_S", 0.2)
    monkeypatch.setattr(store_module, "RETRY_S", 0.1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.sqlite3"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for two megabytes."""
    with file_system(tmp_path / "disk", "size=2m") as where:
        yield where


def errors_of(store: Store) -> int:
    stats = SupervisorStats()
    store.count_in(stats)
    return stats.store_errors


# --- no room --------------------------------------------------------------------------------------


def test_a_full_disk_loses_nothing_and_is_written_again_when_there_is_room(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = small_disk / "calls"
    with opened(path) as store:
        store.put(b"before", b"1")
        until_written(store)
        filler = occupy(small_disk)
        for call_id, snapshot in CALLS.items():
            store.put(call_id, snapshot)
        store.delete(b"before")
        eventually(lambda: errors_of(store) >= 2, "it was tried twice")
        assert store.pending == len(CALLS) + 1
        assert caplog.text.count("calls go on but are not stored") == 1
        filler.unlink()
        until_written(store)
        eventually(lambda: "works again" in caplog.text, "that is said")
    assert contents(path) == CALLS
    assert quarantined(path) == []


def test_a_store_on_a_full_disk_can_be_opened_and_read(small_disk: Path) -> None:
    path = small_disk / "calls"
    fill(path, CALLS)
    filler = occupy(small_disk)
    with opened(path) as store:
        assert len(store.load()) == len(CALLS)
        store.put(b"new", bytes(100_000))
        eventually(lambda: errors_of(store), "it was tried")
        filler.unlink()
        until_written(store)
    assert contents(path) == CALLS | {b"new": bytes(100_000)}


def test_a_store_for_which_there_is_no_room_is_made_when_there_is(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = small_disk / "calls"
    filler = occupy(small_disk)
    with opened(path) as store:
        assert store.load() == []
        for call_id, snapshot in CALLS.items():
            store.put(call_id, snapshot)
        eventually(lambda: errors_of(store) >= 2, "it was tried twice")
        assert caplog.text.count("calls go on but are not stored") == 1
        filler.unlink()
        until_written(store)
    assert contents(path) == CALLS
    assert quarantined(path) == []


def test_the_log_leaves_room_for_the_file_on_a_small_disk(small_disk: Path) -> None:
    writer = StoreWriter(SqliteEngine(small_disk / "calls", OWNER))
    calls = {call_id: StoredCall(call_id, bytes(5000), 1.0) for call_id in CALLS}
    assert all(writer.write({call_id: calls[call_id]}) for _ in range(10) for call_id in calls)
    assert writer.written == 10 * len(calls), "more than the disk has room for"
    writer.close()
    assert len(contents(small_disk / "calls")) == len(calls)


def test_calls_that_had_no_room_together_are_stored_when_most_have_ended(small_disk: Path) -> None:
    """What the log has of them leaves no room for their end, and none to take it into the file."""
    path = small_disk / "calls"
    writer = StoreWriter(SqliteEngine(path, OWNER))
    calls = {call_id: StoredCall(call_id, bytes(40_000), 1.0) for call_id in CALLS}
    assert not all(writer.write({call_id: call}) for call_id, call in calls.items())
    assert not writer.write(calls), "they need more room than there is"
    few = dict(list(calls.items())[:5])
    assert writer.write({call_id: None for call_id in calls if call_id not in few}, may_empty=True)
    writer.close()
    assert contents(path) == {call_id: call.snapshot for call_id, call in few.items()}
    assert quarantined(path) == []


def test_a_store_that_could_not_be_made_is_not_there(small_disk: Path) -> None:
    occupy(small_disk)
    with pytest.raises(StoreUnavailable, match="full"):
        SqliteEngine(small_disk / "calls", OWNER).open()
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_new_store_that_has_no_room_for_all_calls_is_not_there(small_disk: Path) -> None:
    """The calls go on without a store; the next one is made with all of them."""
    path = small_disk / "calls"
    path.write_text("what is this?")
    name = SqliteEngine(path, OWNER).quarantine([StoredCall(b"a", bytes(3_000_000), 1.0)])
    assert [each.name for each in small_disk.iterdir()] == [name]


def test_a_limit_on_the_size_of_files_is_like_a_full_disk(path: Path) -> None:
    writer = StoreWriter(SqliteEngine(path, OWNER))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        assert not writer.write({b"a": StoredCall(b"a", bytes(200_000), 1.0)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert writer.write({b"b": StoredCall(b"b", b"1", 1.0)})
    writer.close()
    assert contents(path) == {b"a": bytes(200_000), b"b": b"1"}


def test_a_disk_that_becomes_read_only_and_writable_again(small_disk: Path) -> None:
    path = small_disk / "calls"
    with opened(path) as store:
        store.put(b"a", b"1")
        until_written(store)
        store._writer.close()  # a file system with a file that is written to cannot become read-only
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        store.put(b"a", b"2")
        eventually(lambda: errors_of(store) >= 2, "it was tried twice")
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        until_written(store)
    assert contents(path) == {b"a": b"2"}
    assert quarantined(path) == []


def test_a_read_only_directory_is_an_error_at_the_start(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreUnavailable, match="Read-only file system"):
        Store(SqliteEngine(small_disk / "calls", OWNER))


def test_a_store_that_another_program_has_open_is_an_error_at_the_start(path: Path) -> None:
    fill(path, CALLS)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable, match="locked"):
            Store(SqliteEngine(path, OWNER))
    assert contents(path) == CALLS


def test_a_quarantine_leaves_a_complete_store_or_none_whatever_room_there_is(small_disk: Path) -> None:
    """A new database whose log is not in its file when it is closed would be there without its calls."""
    path = small_disk / "calls"
    calls = [StoredCall(call_id, snapshot, 1.0) for call_id, snapshot in CALLS.items()]
    left: list[dict[bytes, bytes] | None] = []
    for room in range(0, 512 << 10, 16 << 10):
        path.write_text("no store")
        filler = occupy(small_disk)
        os.truncate(filler, filler.stat().st_size - room)
        SqliteEngine(path, OWNER).quarantine(calls)
        filler.unlink()
        left.append(contents(path) if path.exists() else None)
        for each in small_disk.iterdir():
            each.unlink()
    assert left[0] is None
    assert left[-1] == CALLS
    assert all(each in (None, CALLS) for each in left)


# --- another program's hands ------------------------------------------------------------------------


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("name", ["calls.sqlite3", "calls.sqlite3-wal"])
def test_a_file_of_the_store_that_is_removed_while_it_is_open_is_written_anew_with_all_calls(
    path: Path, name: str, replace: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is written to a file without a name is lost at the next start."""
    with opened(path) as store:
        for call_id, snapshot in CALLS.items():
            store.put(call_id, snapshot)
        until_written(store)
        path.with_name(name).unlink()
        if replace:
            path.with_name(name).write_text("what is this?")
        store.put(b"new", b"1")
        eventually(lambda: errors_of(store), "it is noticed")
        until_written(store)
        assert f"{name}: {'the file was replaced' if replace else 'No such file'}" in caplog.text
        after_a_kill = shutil.copytree(path.parent, path.parent / "after a kill") / path.name
        assert contents(after_a_kill) == CALLS | {b"new": b"1"}
    assert contents(path) == CALLS | {b"new": b"1"}


def test_damage_that_only_writing_finds_makes_a_new_store_with_all_calls(path: Path) -> None:
    fill(path, CALLS)
    with path.open("r+b") as file:
        file.seek(18)
        file.write(b"\x03")  # the header now says that this SQLite is too old to write to it
    with opened(path) as store:
        assert len(store.load()) == len(CALLS)
        store.put(b"new", b"1")
        until_written(store)
    assert contents(path) == CALLS | {b"new": b"1"}
    assert len(quarantined(path)) == 1


# --- what cannot be used is quarantined -------------------------------------------------------------


def make_database(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE calls (number, call_id, written, snapshot, checksum)")
        other.commit()


def make_newer(path: Path) -> None:
    fill(path, CALLS)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as store:
        store.execute(f"PRAGMA user_version = {SCHEMA + 1}")


def make_directory(path: Path) -> None:
    path.mkdir()
    (path / "something").touch()


def make_of_another_relay(path: Path) -> None:
    with opened(path, b"/run/other") as store:
        store.put(b"a", b"1")


@pytest.mark.parametrize("written_at", [math.inf, -math.inf])
def test_a_call_of_an_endless_time_is_damaged_and_the_others_are_there(path: Path, written_at: float) -> None:
    """All later changes would have its time."""
    fill(path, {b"a": b"1"})
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as store:
        row = row_of(7, StoredCall(b"b", b"2", written_at))
        store.execute("INSERT INTO calls VALUES (?, ?, ?, ?, ?)", row)
    with opened(path) as store:
        assert [call.call_id for call in store.load()] == [b"a"]
    assert len(quarantined(path)) == 1


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (make_database, "is another program's database"),
        (make_newer, "was written by another version of nh"),
        (make_directory, "is not a regular file"),
        (make_of_another_relay, "belongs to the relay of /run/other"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"once upon a time " * 300), "is damaged"),
        (lambda path: path.symlink_to(path.parent / "elsewhere"), "is not a regular file"),
        (os.mkfifo, "is not a regular file"),
        (lambda path: path.with_name(path.name + "-wal").mkdir(), "is not a regular file"),
    ],
)
def test_what_is_no_store_of_this_relay_is_quarantined_and_a_new_one_made(
    path: Path, make: Callable[[Path], None], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    make(path)
    with opened(path) as store:
        assert store.load() == []
        store.put(b"a", b"mine")
    (line,) = caplog.messages
    assert line.startswith(f"store {path} {why}")
    assert f"moved to {path.name}.quarantine-" in line
    assert contents(path) == {b"a": b"mine"}
    assert any(path.parent.glob(f"{path.name}.quarantine-*"))


def test_a_store_that_was_quarantined_keeps_its_calls(path: Path) -> None:
    make_of_another_relay(path)
    contents(path)
    (old,) = quarantined(path)
    assert contents(old, b"/run/other") == {b"a": b"1"}


def test_a_call_whose_bytes_have_changed_is_left_out_and_the_others_are_kept(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(path, CALLS)
    data = path.read_bytes()
    assert data.count(CALLS[b"call 55"]) == 1
    path.write_bytes(data.replace(CALLS[b"call 55"], b"6" + CALLS[b"call 55"][1:]))
    assert contents(path) == {call_id: CALLS[call_id] for call_id in CALLS if call_id != b"call 55"}
    assert "is damaged in 1 call" in caplog.text
    assert "with the 99 calls that nh has" in caplog.text
    assert len(quarantined(path)) == 1


def test_a_kill_at_any_step_of_a_quarantine_loses_no_call_that_could_be_read(tmp_path: Path) -> None:
    made = tmp_path / "made" / "calls.sqlite3"
    made.parent.mkdir()
    fill(made, CALLS | {b"ended": b"1"})
    writer = StoreWriter(SqliteEngine(made, OWNER))
    newer = {call_id: b"new" + CALLS[call_id] for call_id in list(CALLS)[:20]}
    assert writer.write({each: StoredCall(each, newer[each], 1.0) for each in newer} | {b"ended": None})
    for kill_at in itertools.count():
        path = tmp_path / str(kill_at) / made.name
        path.parent.mkdir()
        shutil.copy(made.with_name(made.name + "-wal"), path.parent)
        path.write_bytes(made.read_bytes().replace(CALLS[b"call 55"], b"6" + CALLS[b"call 55"][1:]))
        files = Files(kill_at)
        with contextlib.suppress(Killed), files.counted():
            StoreWriter(SqliteEngine(path, OWNER)).close()
        intact = {call_id: snapshot for call_id, snapshot in CALLS.items() if call_id != b"call 55"}
        assert contents(path) == intact | newer
        assert len(quarantined(path)) == 1
        if files.done <= kill_at:
            break
    writer.close()
    assert kill_at > 3, "it was killed before, between and behind the renames"


def test_a_kill_while_files_are_exchanged_leaves_no_database_without_its_log(tmp_path: Path) -> None:
    """It would look intact, and is old."""
    for kill_at in itertools.count():
        path = tmp_path / str(kill_at) / "calls"
        path.parent.mkdir()
        for name in ("calls", "calls-wal", "calls-journal", "calls.new"):
            path.with_name(name).write_text(name)
        files = Files(kill_at)
        with contextlib.suppress(Killed), files.counted():
            exchange_files(path)
        finish_exchange(path)
        there = {each.name.replace("calls", "", 1): each.read_text() for each in path.parent.iterdir()}
        if there != {"": "calls", "-wal": "calls-wal", "-journal": "calls-journal"}:
            (old,) = (each.name.removeprefix("calls") for each in quarantined(path) if each.suffix[-1] == "Z")
            old_files = {old: "calls", f"{old}-wal": "calls-wal", f"{old}-journal": "calls-journal"}
            assert there == {"": "calls.new"} | old_files
        if files.done <= kill_at:
            break
    assert kill_at == 4, "renames"


def test_a_kill_while_files_are_exchanged_mixes_no_two_databases_where_the_clock_was_set_back(
    tmp_path: Path,
) -> None:
    for kill_at in range(4):
        path = tmp_path / str(kill_at) / "calls"
        path.parent.mkdir()
        earlier = path.with_name("calls.quarantine-29991231T235959.999999Z")
        for each in (path, path.with_name("calls-wal"), path.with_name("calls.new"), earlier):
            each.write_text(each.name)
        with contextlib.suppress(Killed), Files(kill_at).counted():
            exchange_files(path)
        finish_exchange(path)
        assert not earlier.with_name(earlier.name + "-wal").exists(), "it had no log"
        (log,) = path.parent.glob("*-wal")
        assert log.with_name(log.name.removesuffix("-wal")).read_text() == "calls"


def test_a_file_that_an_operator_has_named_is_left_alone(path: Path) -> None:
    own = [path.with_name(f"{path.name}.quarantine-{name}") for name in ("", "2026", "ask-the-vendor", "z")]
    for each in own:
        each.write_text("evidence")
    path.write_text("no store")
    SqliteEngine(path, OWNER).quarantine([])
    assert [each.read_text() for each in own] == ["evidence"] * 4
    assert len(quarantined(path)) == len(own) + 1


def test_a_kill_while_files_are_exchanged_mixes_none_with_a_file_that_an_operator_has_named(
    path: Path,
) -> None:
    own = path.with_name(path.name + ".quarantine-for-the-vendor")
    for each in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + ".new"), own):
        each.write_text(each.name)
    with contextlib.suppress(Killed), Files(1).counted():
        exchange_files(path)
    finish_exchange(path)
    assert not own.with_name(own.name + "-wal").exists(), "it had no log"
    assert path.read_text() == path.name + ".new"


def test_only_the_newest_stay_quarantined(path: Path) -> None:
    for number in range(QUARANTINED + 2):
        path.write_text(str(number))
        SqliteEngine(path, OWNER).quarantine([])
    assert [name.read_text() for name in quarantined(path)] == [str(n) for n in range(2, QUARANTINED + 2)]


def damage(file: Path, chance: random.Random) -> None:
    """Cut a file off, or have other bytes in it."""
    data = bytearray(file.read_bytes())
    size = len(data)
    match chance.randrange(4):
        case 0:
            places = (
                chance.randrange(size + 1),
                chance.randrange(200),
                chance.randrange(size // 4096) * 4096,
            )
            data = data[: chance.choice(places)]
        case 1:
            for _ in range(chance.choice((1, 5, 50))):
                data[chance.randrange(size)] = chance.randrange(256)
        case 2:
            start = chance.randrange(size)
            data[start : start + chance.choice((16, 4096, 20_000))] = chance.randbytes(
                chance.choice((16, 4096))
            )
        case _:
            for _ in range(8):
                data[chance.randrange(100)] = chance.randrange(256)
    file.write_bytes(data)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_damaged_only_whole_calls_are_loaded_and_the_store_works(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    fill(path, CALLS)
    writer = StoreWriter(SqliteEngine(path, OWNER))
    newer = {call_id: StoredCall(call_id, b"new" + CALLS[call_id], 1.0) for call_id in list(CALLS)[:20]}
    assert writer.write(newer)
    killed = path.parent / "killed"
    killed.mkdir()
    for file in (path, path.with_name(path.name + "-wal")):
        shutil.copy(file, killed)
    writer.close()
    damage(chance.choice(sorted(killed.iterdir())), chance)

    store = StoreWriter(SqliteEngine(killed / path.name, OWNER))
    for call in store.expected.calls:
        assert call.snapshot in (CALLS[call.call_id], b"new" + CALLS[call.call_id])
    # damage that does not show in what is read shows when it is written, and then the store begins anew
    last = {call_id: StoredCall(call_id, b"last" + CALLS[call_id], 1.0) for call_id in CALLS}
    assert store.write(last) or store.write({})
    store.close()
    assert contents(killed / path.name) == {call_id: call.snapshot for call_id, call in last.items()}
