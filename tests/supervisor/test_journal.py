"""The journal: what was put is there again after a kill, although the store never wrote it."""

import contextlib
import errno
import itertools
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nh.supervisor.store.engine import Changes
from nh.supervisor.store.journal import MAX_BYTES, NAMES, NEW_NAME, RESERVE_NAME, Journal
from nh.supervisor.store.journal_file import JournalFile
from nh.supervisor.store.journal_records import JournalRecord, encode_record, encoded_bytes
from nh.supervisor.store.reserved_room import RESERVED_BYTES
from nh.supervisor.store.sqlite import SqliteEngine
from nh.supervisor.store.store import Store
from tests.profiles import examples
from tests.supervisor.killed_files import Files, Killed
from tests.supervisor.stores import (
    OWNER,
    MemoryEngine,
    MemoryServer,
    file_system,
    hanging_disk,
    occupy,
    until_written,
)
from tools.harness.waiting import TIMEOUT_S, eventually


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path)
    yield journal
    journal.close()


def found(directory: Path) -> list[JournalRecord]:
    """What the next Journal finds there."""
    journal = Journal(directory)
    journal.close()
    return journal.load()


def sizes(directory: Path) -> list[int]:
    return [(directory / name).stat().st_size for name in NAMES]


# --- the files ------------------------------------------------------------------------------------

_RECORDS = st.lists(
    st.builds(JournalRecord, st.binary(max_size=9), st.none() | st.binary(max_size=99), st.floats(0, 9))
)


@settings(max_examples=examples(40), deadline=None)
@given(batches=st.lists(st.tuples(_RECORDS, st.booleans()), max_size=6))
def test_records_come_back_in_order_until_their_batch_is_over(
    batches: list[tuple[list[JournalRecord], bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    journal = Journal(directory)
    every: list[JournalRecord] = []
    over = 0
    for batch, works in batches:
        for record in batch:
            journal.add(record)
        every += batch
        journal.begin_batch()
        if works:
            over = len(every)
            journal.end_batch()
    journal.close()
    there = found(directory)
    assert there == every[len(every) - len(there) :], "the newest, and none is missing among them"
    assert len(there) >= len(every) - over, "what is not over yet is there"


class StoredJournal:
    """A journal, and the test as the store behind it, which takes the latest record of each call.

    Attributes:
        latest: what was recorded of each call.
        taken: what the store has taken, and is writing.
        in_store: what it has.
    """

    def __init__(self, directory: Path) -> None:
        self.journal = Journal(directory)
        self.latest: dict[bytes, JournalRecord] = {}
        self.taken: dict[bytes, JournalRecord] = {}
        self.in_store: dict[bytes, JournalRecord] = {}
        self._directory = directory

    def draw(self, data: st.DataObject, call_ids: Sequence[bytes], number: int) -> JournalRecord:
        """A change of one of these calls, not yet in the journal."""
        call_id = data.draw(st.sampled_from(call_ids))
        snapshot = data.draw(st.sampled_from([None, b"%d" % number]))
        self.latest[call_id] = record = JournalRecord(call_id, snapshot, float(number))
        return record

    def begin(self) -> None:
        self.taken = dict(self.latest)
        self.journal.begin_batch()

    def end(self) -> None:
        self.in_store = self.taken
        self.journal.end_batch()

    def close(self) -> dict[bytes, JournalRecord]:
        """What the next journal finds, the latest of each call."""
        self.journal.close()
        return {record.call_id: record for record in found(self._directory)}


@settings(max_examples=examples(60), deadline=None)
@given(
    steps=st.lists(st.sampled_from(["add", "end", "begin", "compact", "fail"]), max_size=40), data=st.data()
)
def test_whatever_is_compacted_the_latest_of_each_call_is_there(
    steps: list[str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What the store took at begin_batch() is what is compacted."""
    stored = StoredJournal(tmp_path_factory.mktemp("journal"))
    journal = stored.journal
    for number, step in enumerate(steps):
        match step:
            case "add":
                journal.add(stored.draw(data, [b"a", b"b", b"c"], number))
            case "begin":
                stored.begin()
            case "end":
                stored.begin()
                stored.end()
            case "compact" | "fail":
                size = journal.write_compacted(stored.taken.values())
                if step == "compact":
                    journal.use_compacted(size)
    there = stored.close()
    assert stored.in_store | there == stored.latest


def compact_in_place(journal: Journal, records: Iterable[JournalRecord]) -> None:
    latest = {record.call_id: record for record in records}
    for _ in journal.compact_in_place(latest.get, latest):
        pass


def over_its_room(journal: Journal, record: JournalRecord) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nh.supervisor.store.journal.MAX_BYTES", -1 << 40)
        journal.add(record)


@settings(max_examples=examples(100), deadline=None)
@given(
    steps=st.lists(
        st.sampled_from(["add", "miss", "begin", "end", "compact", "compact in place"]),
        min_size=5,
        max_size=40,
    ),
    data=st.data(),
)
def test_no_record_is_older_than_what_the_store_has_of_its_call(
    steps: list[str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Records that have no room among them: it would bring back a call that has ended."""
    stored = StoredJournal(tmp_path_factory.mktemp("journal"))
    journal = stored.journal
    for number, step in enumerate(steps):
        match step:
            case "add":
                journal.add(stored.draw(data, [b"a", b"b"], number))
            case "miss":
                over_its_room(journal, stored.draw(data, [b"a", b"b"], number))
            case "begin":
                stored.begin()
            case "end":
                stored.end()
            case "compact":
                journal.use_compacted(journal.write_compacted(stored.taken.values()))
            case "compact in place":
                if journal.has_room_in_place(0):
                    compact_in_place(journal, stored.taken.values())
    there = stored.close()
    for call_id in there.keys() & stored.in_store.keys():
        assert there[call_id].changed_at >= stored.in_store[call_id].changed_at


def test_a_journal_of_a_store_that_is_away_has_the_size_of_its_calls(
    journal: Journal, tmp_path: Path
) -> None:
    records = [JournalRecord(b"a", bytes(MAX_BYTES // 4), float(number)) for number in range(40)]
    for record in records:
        journal.add(record)
        journal.begin_batch()
        if not journal.is_compact:
            journal.use_compacted(journal.write_compacted([record]))
        assert sum(sizes(tmp_path)) < MAX_BYTES
    assert found(tmp_path)[-1] == records[-1]


def test_what_is_recorded_while_a_batch_is_written_stays(journal: Journal, tmp_path: Path) -> None:
    first, second = JournalRecord(b"a", b"1", 1.0), JournalRecord(b"b", None, 2.0)
    journal.add(first)
    journal.begin_batch()
    journal.add(second)
    assert found(tmp_path) == [first, second]
    journal.end_batch()
    assert found(tmp_path) == [second]
    journal.begin_batch()
    journal.end_batch()
    assert sizes(tmp_path) == [0, 0]


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_half_a_record_costs_no_other_and_none_that_comes(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path)
    journal.add(JournalRecord(b"a", b"1" * 20, 1.0))
    journal.add(JournalRecord(b"b", b"2" * 20, 1.0))
    journal.close()
    os.truncate(tmp_path / NAMES[0], sizes(tmp_path)[0] - cut)
    journal = Journal(tmp_path)
    journal.add(JournalRecord(b"c", b"3", 2.0))
    journal.close()
    assert [record.call_id for record in found(tmp_path)] == [b"a", b"c"]


@pytest.mark.parametrize("at", [0, 5, 14, 30])
def test_a_damaged_record_is_none(tmp_path: Path, at: int) -> None:
    journal = Journal(tmp_path)
    journal.add(JournalRecord(b"a", b"1" * 20, 1.0))
    journal.close()
    data = bytearray((tmp_path / NAMES[0]).read_bytes())
    data[at] ^= 0x80
    (tmp_path / NAMES[0]).write_bytes(data)
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "changed_at"),
    [(2**64 - 1, 2.0), (2**63, 2.0), (2, math.inf), (2, -math.inf), (2, math.nan)],
)
def test_a_record_that_no_journal_writes_is_damaged_and_those_before_and_behind_it_count(
    tmp_path: Path, number: int, changed_at: float
) -> None:
    before, behind = JournalRecord(b"a", b"1", 1.0), JournalRecord(b"c", b"3", 3.0)
    impossible = encode_record(number, JournalRecord(b"b", b"2", changed_at))
    (tmp_path / NAMES[0]).write_bytes(encode_record(1, before) + impossible)
    (tmp_path / NAMES[0]).chmod(0o600)
    journal = Journal(tmp_path)
    journal.add(behind)
    journal.close()
    assert found(tmp_path) == [before, behind]


def test_records_take_no_more_room_than_they_may_and_old_ones_never_count_alone(
    journal: Journal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot = bytes(MAX_BYTES // 4)
    for number in range(4):  # the last one has no room
        journal.add(JournalRecord(b"%d" % number, snapshot, 1.0))
    assert sizes(tmp_path) == [0, 0]
    assert "a kill of all processes loses the changes of calls that the store does not have" in caplog.text
    journal.add(JournalRecord(b"a", b"1", 1.0))
    assert found(tmp_path) == [JournalRecord(b"a", b"1", 1.0)]


def complete(journal: Journal, record: JournalRecord) -> None:
    """What a store that is away, or was emptied, does not have."""
    journal.add(record)
    journal.begin_batch()
    journal.use_compacted(journal.write_compacted([record]))
    assert journal.is_complete


def test_a_record_that_has_no_room_costs_no_other_if_no_store_may_have_these(
    journal: Journal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alive, late, newer = (JournalRecord(each, b"1", 1.0) for each in (b"alive", b"late", b"newer"))
    complete(journal, alive)
    for _ in range(2):
        journal.add(JournalRecord(b"large", bytes(2 * MAX_BYTES), 1.0))
        journal.add(late)
        assert found(tmp_path)[0] == alive
        assert found(tmp_path)[-1] == late
    assert "loses the latest changes of calls" in caplog.text
    assert not journal.is_complete
    assert not journal.is_compact, "it is tried again"
    journal.use_compacted(journal.write_compacted([alive]))
    assert not journal.is_complete, "the large one came later than what was compacted"
    journal.begin_batch()
    journal.add(newer)
    journal.use_compacted(journal.write_compacted([alive, late]))
    assert journal.is_complete
    assert found(tmp_path) == [alive, late, newer]


def test_what_is_compacted_once_more_may_take_the_room_of_the_batch(journal: Journal, tmp_path: Path) -> None:
    alive, newer = (JournalRecord(each, b"1", 1.0) for each in (b"alive", b"newer"))
    complete(journal, alive)
    assert not journal.has_room_in_place(encoded_bytes([alive])), "these are all calls"
    journal.add(JournalRecord(b"large", bytes(2 * MAX_BYTES), 1.0))
    journal.begin_batch()
    journal.add(newer)
    assert journal.has_room_in_place(encoded_bytes([alive]))
    compact_in_place(journal, [alive])
    assert journal.is_complete
    assert journal.is_compact
    assert found(tmp_path) == [alive, newer]


_CALLS = [JournalRecord(b"%d" % number, bytes(3000), 1.0) for number in range(100)]


@pytest.fixture
def full_journal(tmp_path: Path) -> Iterator[Journal]:
    """One that has _CALLS, and lacks the end of the first one, on a disk without room for a copy."""
    with file_system(tmp_path / "disk", "size=1200k") as disk, contextlib.closing(Journal(disk)) as journal:
        for record in _CALLS:
            journal.add(record)
        journal.begin_batch()
        journal.use_compacted(journal.write_compacted(_CALLS))
        occupy(disk)
        journal.add(JournalRecord(b"0", None, 2.0))
        while not journal._missing:  # what the last page had room for
            journal.add(JournalRecord(b"1", bytes(3000), 2.0))
        journal.begin_batch()
        with pytest.raises(OSError, match="No space"):
            journal.write_compacted(_CALLS)
        yield journal


def test_on_a_full_disk_calls_are_moved_through_the_room_that_is_kept_for_that(
    full_journal: Journal, tmp_path: Path
) -> None:
    latest = [JournalRecord(b"0", None, 2.0), *(each._replace(snapshot=bytes(2900)) for each in _CALLS[1:])]
    assert full_journal.has_room_in_place(encoded_bytes(latest))
    compact_in_place(full_journal, latest)
    assert full_journal.is_complete
    there = {each.call_id: each for each in found(tmp_path / "disk")}
    assert there == {each.call_id: each for each in latest}


def test_clients_do_not_wait_while_what_is_moved_is_read(
    full_journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps are done under the lock that each answer needs; the journal may have many megabytes."""
    latest = {each.call_id: each for each in _CALLS}
    steps = full_journal.compact_in_place(latest.get, latest)
    monkeypatch.setattr(JournalFile, "ends", None)
    assert all(steps)
    assert {each.call_id for each in found(tmp_path / "disk")} == latest.keys()


def test_no_call_is_dropped_for_what_has_no_room_in_its_place_either(
    full_journal: Journal, tmp_path: Path
) -> None:
    large = [each._replace(snapshot=bytes(12_000)) for each in _CALLS]
    assert not full_journal.has_room_in_place(encoded_bytes(large))
    before = sizes(tmp_path / "disk")
    for _ in range(2):
        with pytest.raises(OSError):
            compact_in_place(full_journal, large)
    assert sizes(tmp_path / "disk") == before, "a try leaves nothing behind"
    there = found(tmp_path / "disk")
    assert {each.call_id for each in there} == {each.call_id for each in _CALLS}
    assert not full_journal.is_complete


def test_calls_are_not_moved_where_no_part_of_them_has_room(full_journal: Journal, tmp_path: Path) -> None:
    """Each try would read them all, and there is one every second."""
    latest = [each._replace(snapshot=bytes(2900)) for each in _CALLS]
    assert full_journal.has_room_in_place(encoded_bytes(latest))
    full_journal._reserved.release()
    filler = tmp_path / "disk" / "more"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    assert not full_journal.has_room_in_place(encoded_bytes(latest))


def test_a_call_whose_end_had_no_room_is_gone_when_the_store_has_taken_all(
    journal: Journal, tmp_path: Path
) -> None:
    complete(journal, JournalRecord(b"alive", b"1", 1.0))
    journal.add(JournalRecord(b"ended", b"1", 2.0))
    over_its_room(journal, JournalRecord(b"ended", None, 3.0))
    journal.begin_batch()
    newer = JournalRecord(b"newer", b"1", 4.0)
    journal.add(newer)
    journal.end_batch()
    assert found(tmp_path) == [newer]


def test_a_call_that_begins_while_a_batch_is_written_and_whose_end_has_no_room_is_gone(
    journal: Journal, tmp_path: Path
) -> None:
    complete(journal, JournalRecord(b"alive", b"1", 1.0))
    journal.add(JournalRecord(b"newer", b"0", 1.0))
    journal.begin_batch()
    journal.add(JournalRecord(b"ended", b"1", 2.0))
    over_its_room(journal, JournalRecord(b"ended", None, 3.0))
    journal.end_batch()
    assert found(tmp_path) == []
    newer = JournalRecord(b"newer", b"1", 4.0)
    journal.add(newer)
    assert found(tmp_path) == [newer]
    alive = JournalRecord(b"alive", b"1", 1.0)
    journal.use_compacted(journal.write_compacted([alive]))
    assert found(tmp_path) == [alive, newer]


def test_what_is_recorded_behind_a_batch_stays_when_the_end_of_an_older_call_had_no_room(
    journal: Journal, tmp_path: Path
) -> None:
    complete(journal, JournalRecord(b"alive", b"1", 1.0))
    journal.add(JournalRecord(b"ended", b"1", 2.0))
    over_its_room(journal, JournalRecord(b"ended", None, 3.0))
    journal.begin_batch()
    newer = JournalRecord(b"newer", b"1", 4.0)
    journal.add(newer)
    (tmp_path / NEW_NAME).mkdir()  # no file can be rewritten
    journal.end_batch()
    assert found(tmp_path) == [newer]


def test_a_file_that_could_not_be_compacted_takes_no_room(journal: Journal, tmp_path: Path) -> None:
    def records() -> Iterator[JournalRecord]:
        yield JournalRecord(b"a", b"1", 1.0)
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        journal.write_compacted(records())
    assert not (tmp_path / NEW_NAME).exists()


def two_records(journal: Journal) -> list[JournalRecord]:
    """One in each file; the newer one ends the call of the older one."""
    records = [JournalRecord(b"a", b"1", 1.0), JournalRecord(b"a", None, 2.0)]
    journal.add(records[0])
    journal.begin_batch()
    journal.add(records[1])
    assert all(sizes(journal._directory))
    return records


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("names", [NAMES[:1], NAMES[1:], NAMES])
def test_a_file_that_is_removed_while_it_is_open_is_written_anew(
    journal: Journal, tmp_path: Path, names: Sequence[str], replace: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is in a file without a name is lost at the next start."""
    records = two_records(journal)
    for name in names:
        (tmp_path / name).unlink()
        if replace:
            (tmp_path / name).symlink_to("what is this?")
    journal.check()
    assert found(tmp_path) == records
    assert "another program removed or replaced the file" in caplog.text
    journal.add(JournalRecord(b"b", b"1", 3.0))
    assert found(tmp_path) == [*records, JournalRecord(b"b", b"1", 3.0)]
    journal.end_batch()
    assert [each.call_id for each in found(tmp_path)] == [b"a", b"b"], "what is behind the batch stays"


def test_files_that_are_where_they_were_are_not_written_anew(journal: Journal, tmp_path: Path) -> None:
    two_records(journal)
    before = [(tmp_path / name).stat() for name in NAMES]
    journal.check()
    assert [(tmp_path / name).stat() for name in NAMES] == before


def test_a_kill_while_files_are_written_anew_brings_back_no_ended_call(tmp_path: Path) -> None:
    for kill_at in itertools.count():
        place = tmp_path / str(kill_at)
        place.mkdir()
        files = Files(kill_at)
        with contextlib.closing(Journal(place)) as journal:
            records = two_records(journal)
            for name in NAMES:
                (place / name).unlink()
            with contextlib.suppress(Killed), files.counted():
                journal.check()
        if files.done <= kill_at:
            assert found(place) == records
            break
        assert found(place) in ([], records[1:], records)


def test_a_directory_that_is_removed_and_made_again_gets_all_records(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    with contextlib.closing(Journal(directory)) as journal:
        records = two_records(journal)
        shutil.rmtree(directory)
        journal.check()
        assert "cannot be written" in caplog.text
        records.append(JournalRecord(b"b", b"1", 3.0))
        journal.add(records[-1])
        directory.mkdir()
        journal.check()
        assert found(directory) == records


def test_the_room_that_is_kept_is_taken_again_when_its_file_was_removed(
    journal: Journal, tmp_path: Path
) -> None:
    (tmp_path / RESERVE_NAME).unlink()
    journal.begin_batch()
    journal.end_batch()
    assert (tmp_path / RESERVE_NAME).stat().st_size == RESERVED_BYTES


def test_anothers_file_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / NAMES[1]).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        Journal(tmp_path)
    (tmp_path / NAMES[1]).unlink()
    (tmp_path / NAMES[1]).touch(0o666)
    (tmp_path / NAMES[1]).chmod(0o666)
    with pytest.raises(OSError, match="alone"):
        Journal(tmp_path)


def test_closed_files_leave_no_descriptor(tmp_path: Path, no_descriptor_leaks: None) -> None:
    Journal(tmp_path).close()
    (tmp_path / NAMES[1]).chmod(0o666)
    with pytest.raises(OSError, match="alone"):
        Journal(tmp_path)


def test_a_compaction_that_fails_leaves_no_descriptor(
    journal: Journal, tmp_path: Path, no_descriptor_leaks: None
) -> None:
    record = JournalRecord(b"a", b"1", 1.0)
    journal.add(record)
    journal.begin_batch()
    size = journal.write_compacted([record])
    for name in NAMES:
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()  # no file takes its place
    with pytest.raises(IsADirectoryError):
        journal.use_compacted(size)


@pytest.mark.parametrize("why", [OSError("no room"), MemoryError()])
def test_a_journal_that_cannot_be_read_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: Exception, no_descriptor_leaks: None
) -> None:
    def refuse(_fd: int, _size: int) -> None:
        raise why

    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(type(why)):
        Journal(tmp_path)


# --- the store with them --------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path


def opened(place: Path) -> Store:
    return Store(SqliteEngine(place / "calls.sqlite3", OWNER), place / "run")


def calls_in(place: Path) -> dict[bytes, bytes]:
    store = opened(place)
    calls = {call.call_id: call.snapshot for call in store.load()}
    until_written(store)
    store.close(TIMEOUT_S)
    return calls


_SETS_UP_CALLS = """
import itertools, sys, time
from pathlib import Path
from nh.supervisor.store.reserved_room import RESERVED_BYTES
from nh.supervisor.store.sqlite import SqliteEngine
from nh.supervisor.store.store import Store
place = Path(sys.argv[1])
store = Store(SqliteEngine(place / "calls.sqlite3", b"/run/nh"), place / "run")
for number in itertools.count():
    store.put(b"%d" % number, b"x" * 500)
    if number % 3 == 2:
        store.delete(b"%d" % (number - 2))
    print(number, flush=True)
    time.sleep(0.001)
"""


@pytest.mark.parametrize("answers", [1, 50, 400])
def test_nothing_that_was_answered_is_forgotten_by_kill_9(place: Path, answers: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _SETS_UP_CALLS, str(place)], stdout=subprocess.PIPE, text=True
    ) as nh:
        assert nh.stdout is not None
        for _ in range(answers):
            nh.stdout.readline()
        nh.kill()
        answered = answers + len(nh.stdout.read().split())
    set_up = {number for number in range(answered) if number % 3 or number + 2 >= answered}
    known = {int(call_id) for call_id in calls_in(place)}
    assert set_up <= known
    assert known <= set_up | {answered}, "what ended is not back"


def test_records_are_stored_at_the_next_start_and_are_gone_then(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(place / "run")
    journal.add(JournalRecord(b"a", b"1", 1.0))
    journal.close()
    assert calls_in(place) == {b"a": b"1"}
    assert list((place / "run").iterdir()) == []
    assert calls_in(place) == {b"a": b"1"}


def test_an_old_record_does_not_undo_what_is_stored(place: Path) -> None:
    store = opened(place)
    store.put(b"a", b"new")
    store.close(TIMEOUT_S)
    journal = Journal(place / "run")
    journal.add(JournalRecord(b"a", b"old", 1.0))
    journal.close()
    assert calls_in(place) == {b"a": b"new"}


def test_what_is_recorded_after_the_wall_clock_was_set_back_is_newer_than_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, at_the_kill = MemoryServer(), MemoryServer()
    store = Store(MemoryEngine(server), tmp_path)
    for call_id in (b"ended", b"goes on"):
        store.put(call_id, b"old")
    until_written(store)
    server.away = True
    an_hour_ago = time.time() - 3600
    monkeypatch.setattr(time, "time", lambda: an_hour_ago)
    store.delete(b"ended")
    store.put(b"goes on", b"new")
    at_the_kill.records = dict(server.records or {})
    store.close(TIMEOUT_S)  # the journal is compacted: the store is away
    again = Store(MemoryEngine(at_the_kill), tmp_path)
    assert {call.call_id: call.snapshot for call in again.load()} == {b"goes on": b"new"}
    again.close(TIMEOUT_S)


def test_records_stay_while_the_disk_hangs_and_go_when_it_goes_on(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(place)
    hangs, goes_on = hanging_disk(monkeypatch)
    store.put(b"a", b"1")
    assert hangs.wait(TIMEOUT_S)
    store.put(b"b", b"2")
    assert [record.call_id for record in found(place / "run")] == [b"a", b"b"]
    goes_on.set()
    eventually(lambda: sizes(place / "run") == [0, 0], "the records are stored and gone")
    store.close(TIMEOUT_S)


def test_what_a_slow_disk_leaves_at_the_end_is_there_at_the_next_start(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    store = opened(place)
    with monkeypatch.context() as patch:
        patch.setattr(SqliteEngine, "write", lambda *_: goes_on.wait(30))
        store.put(b"a", b"1")
        store.close(timeout_s=0.1)
        goes_on.set()
        store._thread.join(TIMEOUT_S)  # or the next one finds the file taken
    assert calls_in(place) == {b"a": b"1"}


def test_while_the_store_is_away_the_journal_alone_brings_all_calls_back(tmp_path: Path) -> None:
    server = MemoryServer()
    store = Store(MemoryEngine(server), tmp_path)
    store.put(b"before", b"1")
    store.put(b"over", b"1")
    until_written(store)
    server.away = True
    store.put(b"during", b"1")
    store.delete(b"over")
    eventually(lambda: store._writer.errors, "a write has failed")
    eventually(lambda: {each.call_id for each in found(tmp_path)} >= {b"before", b"during"}, "all are there")
    store.close(0.1)
    again = Store(MemoryEngine(server), tmp_path, may_be_away=True)
    assert {each.call_id for each in again.load()} == {b"before", b"during"}
    server.away = False
    until_written(again)
    assert set(server.records or ()) == {b"before", b"during"}
    again.close(TIMEOUT_S)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_away", [False, True])
def test_a_journal_that_is_removed_is_written_anew_although_no_call_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_away: bool
) -> None:
    monkeypatch.setattr("nh.supervisor.store.store.FLUSH_S", 0.1)
    monkeypatch.setattr("nh.supervisor.store.store.RETRY_S", 0.1)
    server = MemoryServer()
    store = Store(MemoryEngine(server), tmp_path)
    store.put(b"before", b"1")
    until_written(store)
    server.away = is_away
    if is_away:
        store.put(b"during", b"1")
        eventually(lambda: store._journal is not None and store._journal.is_complete, "it is compacted")
    for name in NAMES:
        (tmp_path / name).unlink()
    eventually(lambda: all((tmp_path / name).exists() for name in NAMES), "it is written anew")
    assert {each.call_id for each in found(tmp_path)} == ({b"before", b"during"} if is_away else set())
    store.close(0.1)


@contextlib.contextmanager
def no_room_for_descriptors() -> Iterator[None]:
    """No file of a journal can be opened within the block."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nh.supervisor.store.journal_file._open", refuse)
        yield


def test_a_journal_that_could_not_be_opened_at_the_start_is_opened_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = MemoryServer()
    with no_room_for_descriptors():
        store = Store(MemoryEngine(server), tmp_path)
        store.put(b"stored", b"1")
        until_written(store)
    server.away = True
    store.put(b"only in the journal", b"1")
    eventually(
        lambda: {each.call_id for each in found(tmp_path)} == {b"stored", b"only in the journal"},
        "a kill loses none",
    )
    server.away = False
    store.close(TIMEOUT_S)
    assert list(tmp_path.iterdir()) == []
    assert caplog.text.count("cannot be opened: Too many open files; trying again") == 1


@pytest.mark.parametrize("opens", [True, False], ids=["it opens", "it does not"])
def test_a_journal_of_before_a_start_that_could_not_open_it_brings_no_call_back(
    tmp_path: Path, *, opens: bool
) -> None:
    with contextlib.closing(Journal(tmp_path)) as before:
        before.add(JournalRecord(b"over", b"1", time.time()))
    server = MemoryServer()
    with contextlib.ExitStack() as shortage:
        shortage.enter_context(no_room_for_descriptors())
        store = Store(MemoryEngine(server), tmp_path)
        if opens:
            shortage.close()
        store.put(b"goes on", b"1")
        until_written(store)
        shortage.close()
        assert {each.call_id for each in found(tmp_path)} <= {b"goes on"}, "what a kill leaves"
        store.close(TIMEOUT_S)


def test_a_journal_that_is_left_to_the_next_start_stays(tmp_path: Path) -> None:
    server, goes_on = MemoryServer(), threading.Event()

    class Engine(MemoryEngine):
        def write(self, changes: Changes) -> None:
            goes_on.wait(TIMEOUT_S)
            super().write(changes)

    store = Store(Engine(server), tmp_path)
    store.put(b"a", b"1")
    store.close(0.1)
    goes_on.set()
    store._thread.join(TIMEOUT_S)
    assert {each.call_id for each in found(tmp_path)} == {b"a"}


def test_the_store_takes_no_end_of_a_call_before_the_journal_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill behind the write would bring the call back: the journal has an older record of it."""
    monkeypatch.setattr("nh.supervisor.store.store.RETRY_S", 3600.0)
    server, at_the_write = MemoryServer(), []

    class Engine(MemoryEngine):
        def write(self, changes: Changes) -> None:
            at_the_write.append({record.call_id: record.snapshot for record in found(tmp_path)})
            super().write(changes)

    store = Store(Engine(server), tmp_path)
    store.put(b"over", b"1")
    until_written(store)
    server.away = True
    store.put(b"newer", b"1")
    eventually(lambda: store._journal is not None and store._journal.is_complete, "it is compacted")
    with monkeypatch.context() as patch:
        patch.setattr("nh.supervisor.store.journal.MAX_BYTES", -1 << 40)
        store.delete(b"over")
    server.away = False
    at_the_write.clear()
    store.close(TIMEOUT_S)
    assert at_the_write == [{b"newer": b"1", b"over": None}]


def test_a_directory_without_room_for_a_journal_is_said_and_stops_nothing(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(SqliteEngine(place / "calls.sqlite3", OWNER), place / "not there")
    store.put(b"a", b"1")
    store.close(TIMEOUT_S)
    assert "a kill of all processes loses the changes of calls in the last" in caplog.text
    assert calls_in(place) == {b"a": b"1"}


class FailingDisk:
    """The disk of a journal: while it fails, its files can neither be written nor cut.

    Attributes:
        appends: whether they can be written all the same.
        fails: whether it fails.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, appends: bool) -> None:
        self.fails = False
        write, cut = os.write, os.ftruncate

        def write_or_fail(fd: int, data: bytes) -> int:
            if self.fails and not appends:
                written = write(fd, data[: len(data) // 2])
                assert written < len(data)
                raise OSError(errno.EIO, "Input/output error")
            return write(fd, data)

        def cut_or_fail(fd: int, size: int) -> None:
            if self.fails:
                raise OSError(errno.EIO, "Input/output error")
            cut(fd, size)

        monkeypatch.setattr(os, "write", write_or_fail)
        monkeypatch.setattr(os, "ftruncate", cut_or_fail)


@pytest.mark.parametrize("appends", [False, True])
def test_a_disk_that_takes_nothing_for_a_while_costs_its_changes_and_brings_no_ended_call_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, appends: bool
) -> None:
    disk = FailingDisk(monkeypatch, appends=appends)
    journal = Journal(tmp_path)
    journal.add(JournalRecord(b"ends", b"1", 1.0))
    journal.begin_batch()
    disk.fails = True
    if appends:
        journal.clear()
    journal.add(JournalRecord(b"ends", None, 2.0))
    journal.add(JournalRecord(b"lost", b"1", 2.0))
    journal.begin_batch()
    journal.end_batch()
    size = sum(sizes(tmp_path))
    journal.add(JournalRecord(b"lost", b"2", 2.0))
    assert sum(sizes(tmp_path)) <= size, "it does not grow for each change that it does not take"
    disk.fails = False
    journal.add(JournalRecord(b"begins", b"1", 3.0))
    journal.close()
    assert found(tmp_path) == [JournalRecord(b"begins", b"1", 3.0)]


def test_what_is_compacted_behind_a_failure_of_the_disk_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is away meanwhile, so the journal alone has the calls."""
    disk = FailingDisk(monkeypatch, appends=False)
    journal = Journal(tmp_path)
    old = JournalRecord(b"old", b"1", 1.0)
    journal.add(old)
    disk.fails = True
    journal.add(JournalRecord(b"lost", b"1", 2.0))
    disk.fails = False
    journal.begin_batch()
    journal.use_compacted(journal.write_compacted([old]))
    assert journal.is_complete
    journal.add(JournalRecord(b"new", b"1", 3.0))
    journal.close()
    assert {each.call_id for each in found(tmp_path)} == {b"old", b"new"}


def test_a_disk_that_fails_costs_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command changes is put into the store before its client gets an answer."""
    disk = FailingDisk(monkeypatch, appends=False)
    server = MemoryServer()
    store = Store(MemoryEngine(server), tmp_path)
    disk.fails = True
    for number in range(3):
        store.put(b"call-%d" % number, b"1")
    until_written(store)
    disk.fails = False
    store.close()
    assert server.records is not None
    assert len(server.records) == 3


@pytest.mark.parametrize("function", ["begin_batch", "end_batch"])
def test_a_bug_between_two_writes_does_not_end_the_thread_that_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, function: str
) -> None:
    """It renews the lease of the calls, too."""
    server = MemoryServer()
    store = Store(MemoryEngine(server), tmp_path)
    with monkeypatch.context() as broken:

        def fail(_journal: Journal) -> None:
            raise RuntimeError("a bug")

        broken.setattr(Journal, function, fail)
        store.put(b"call", b"1")
        eventually(lambda: not store.works, "the bug is told as a failure of the store")
    store.put(b"other", b"1")
    until_written(store)
    eventually(lambda: store.works, "it writes again")
    store.close()
    assert server.records is not None
    assert set(server.records) == {b"call", b"other"}
    assert "this is a bug in nh" in caplog.text
