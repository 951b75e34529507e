"""nh.supervisor.records: the latest calls are remembered, and what is slow or full loses records, no more."""

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.call_event import CallEvent, Client
from nh.config import Settings
from nh.results import CallRecord
from nh.stats import SupervisorStats
from nh.supervisor.records import records as records_module
from nh.supervisor.records import targets, writer
from nh.supervisor.records.history import BYTES_A_CALL, History
from nh.supervisor.records.records import Records
from nh.supervisor.records.targets import FileTarget, fault_of, open_target
from nh.supervisor.records.writer import json_line
from nh.wire.native.values import from_json
from tests.no_threads import no_threads
from tools.harness.waiting import TIMEOUT_S, eventually

AT = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
CLIENT = Client("ng", "192.0.2.5:2223", "offer")


def record(call_id: bytes = b"c@h", **fields: object) -> bytes:
    values: dict[str, object] = {"tags": (b"a", b"b"), "packets": 3, "bytes": 500, **fields}
    return msgspec.msgpack.encode(
        CallRecord(call_id, 1, CLIENT, AT, AT, 0.0, "closed", CLIENT, **values)  # type: ignore[arg-type]
    )


class Running:
    """Records of these settings, as long as the test wants."""

    def __init__(self, **settings: object) -> None:
        self.stats = SupervisorStats()
        self.records = Records(Settings(**settings), self.stats)  # type: ignore[arg-type]
        self._open = True

    def counted(self, written: int, lost: int) -> None:
        """Wait until so many records were written and lost."""

        def holds() -> bool:
            self.records.update_stats()
            return (self.stats.records_written, self.stats.records_lost) == (written, lost)

        eventually(holds, f"{written} written, {lost} lost", details=lambda: repr(self.stats.records_lost))

    def close(self) -> None:
        if self._open:
            self._open = False
            self.records.close()


def _sum(running: Running) -> int:
    running.records.update_stats()
    return running.stats.records_written + running.stats.records_lost


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.json"


@pytest.fixture
def to_file(path: Path) -> Iterator[Running]:
    with contextlib.closing(Running(records=(str(path),))) as running:
        yield running


def lines(path: Path) -> list[str]:
    """The call-ids of a file of records."""
    return [json.loads(line)["call_id"] for line in path.read_bytes().splitlines()]


# --- files ----------------------------------------------------------------------------------------


def test_each_record_is_a_line_of_json_that_few_may_read(to_file: Running, path: Path) -> None:
    for number in range(3):
        to_file.records.add(b"call-%d" % number, record(b"call-%d" % number))
    to_file.counted(3, 0)
    assert lines(path) == ["call-0", "call-1", "call-2"]
    assert path.stat().st_mode & 0o777 & ~0o640 == 0
    first = json.loads(path.read_bytes().splitlines()[0])
    assert (first["begin"], first["client"]["address"]) == ("2026-01-01T00:01:00Z", "192.0.2.5:2223")


def test_a_file_that_was_moved_is_made_anew(to_file: Running, path: Path) -> None:
    to_file.records.add(b"a", record(b"a"))
    to_file.counted(1, 0)
    moved = path.rename(path.with_suffix(".1"))
    to_file.records.reopen()
    to_file.records.add(b"b", record(b"b"))
    to_file.counted(2, 0)
    assert (lines(moved), lines(path)) == (["a"], ["b"])


def test_a_full_disk_loses_records_with_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    with contextlib.closing(Running(records=("/dev/full",))) as full:
        for _ in range(5):
            full.records.add(b"a", record())
        full.counted(0, 5)
        assert len(full.records.history) == 5
    assert [each for each in caplog.messages if "No space left" in each] == [
        "records: /dev/full: No space left on device; the records of calls that end now are lost until that"
        " changes (records_lost counts them)"
    ]


def test_a_pipe_without_a_reader_loses_records_until_there_is_one(
    to_file: Running, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(path)
    to_file.records.add(b"lost", record(b"lost"))
    to_file.counted(0, 1)
    assert "no program reads this pipe; start it" in caplog.text
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as reader:
        to_file.records.add(b"read", record(b"read"))
        to_file.counted(1, 1)
        assert json.loads(reader.read())["call_id"] == "read"


def test_a_pipe_that_is_not_read_in_time_loses_one_record_and_the_next_has_a_line_of_its_own(
    to_file: Running, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "TIMEOUT_S", 0.01)
    os.mkfifo(path)
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as reader:
        room = fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
        to_file.records.add(b"lost", record(b"l" * 2 * room))
        to_file.counted(0, 1)
        assert len(reader.read(2 * room)) == room
        to_file.records.add(b"read", record(b"read"))
        to_file.counted(1, 1)
        _, line, rest = reader.read(2 * room).split(b"\n")
        assert (json.loads(line)["call_id"], rest) == ("read", b"")


def test_a_target_that_can_take_no_record_is_named_at_the_start_with_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sound = tmp_path / "calls.json"
    wrong = (
        f"{tmp_path}/none/calls.json",
        str(tmp_path),
        f"unix:{tmp_path}/reader",
        f"{tmp_path}/{'x' * 300}",
    )
    with contextlib.closing(Running(records=(str(sound), *wrong))):
        assert not sound.exists()
    lost = "till then the records of calls are lost"
    assert caplog.messages == [
        f"records: {wrong[0]}: there is no directory {tmp_path}/none; make it: {lost}",
        f"records: {wrong[1]}: it is a directory; name a file in it: {lost}",
        f"records: {wrong[2]}: {tmp_path}/reader: No such file or directory; start the program that reads it,"
        f" or name another target: {lost}",
        f"records: {wrong[3]}: File name too long; correct the path, or let the user of nh reach it: {lost}",
    ]


@pytest.mark.parametrize(
    "kind",
    [
        "link",
        "link to nothing",
        "hard link",
        pytest.param(
            "file", marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
        ),
    ],
)
def test_where_every_user_can_write_no_link_is_followed_and_no_file_of_another_user_gets_records(
    tmp_path: Path, kind: str
) -> None:
    shared, elsewhere = tmp_path / "shared", tmp_path / "elsewhere"
    shared.mkdir()
    shared.chmod(0o1777)
    planted = shared / "calls.json"
    if kind != "link to nothing":
        elsewhere.touch()
    if kind == "hard link":
        planted.hardlink_to(elsewhere)
    elif kind == "file":
        planted.touch()
        os.chown(planted, 65_534, 65_534)
    else:
        planted.symlink_to(elsewhere)
    assert "every user can write" in fault_of(str(planted))
    with pytest.raises(OSError, match=r"symbolic links|another user"):
        FileTarget(planted).write(b"{}")
    assert not planted.exists() or planted.read_bytes() == b""
    if os.geteuid() == 0:
        below = shared / "theirs"
        below.mkdir()
        os.chown(below, 65_534, 65_534)
        assert "every user can write" in fault_of(str(below / "calls.json"))
        with pytest.raises(PermissionError, match="another user"):
            FileTarget(below / "calls.json").write(b"{}")
    own = shared / "own.json"
    target = FileTarget(own)
    target.write(b"{}")
    target.reopen()
    assert own.read_bytes() == b"{}\n"
    assert fault_of(str(own)) == ""


def test_a_link_in_a_directory_of_its_own_is_followed(tmp_path: Path) -> None:
    link, elsewhere = tmp_path / "calls.json", tmp_path / "elsewhere"
    link.symlink_to(elsewhere)
    target = FileTarget(link)
    target.write(b"{}")
    target.reopen()
    assert elsewhere.read_bytes() == b"{}\n"


def test_a_record_that_does_not_fit_leaves_no_part_of_a_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = FileTarget(path)
    target.write(b'{"first":1}')
    write, room = os.write, [4]

    def write_a_little(fd: int, data: bytes) -> int:
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data[: room.pop()])

    with monkeypatch.context() as full, pytest.raises(OSError, match="No space"):
        full.setattr(os, "write", write_a_little)
        target.write(b'{"second":2}')
    target.write(b'{"third":3}')
    target.reopen()
    assert path.read_bytes() == b'{"first":1}\n{"third":3}\n'


def test_a_directory_that_is_not_there_loses_records_until_it_is(tmp_path: Path) -> None:
    path = tmp_path / "later" / "calls.json"
    with contextlib.closing(Running(records=(str(path),))) as running:
        running.records.add(b"a", record(b"a"))
        running.counted(0, 1)
        path.parent.mkdir()
        running.records.add(b"b", record(b"b"))
        running.counted(1, 1)
    assert lines(path) == ["b"]


# --- sockets --------------------------------------------------------------------------------------


def test_a_host_without_threads_loses_records_until_it_has_one(to_file: Running, path: Path) -> None:
    with no_threads("records"):
        to_file.records.add(b"lost", record(b"lost"))
        to_file.counted(written=0, lost=1)
    to_file.records.add(b"next", record(b"next"))
    to_file.counted(written=1, lost=1)
    assert lines(path) == ["next"]


def test_nh_ends_well_where_it_never_had_a_thread_for_records(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with no_threads("records"), contextlib.closing(Running(records=(str(path),))) as running:
        running.records.add(b"lost", record(b"lost"))
    assert "no thread can be started; raise the limit on processes" in caplog.text
    assert running.stats.records_lost == 1


def test_a_reader_of_datagrams_gets_one_for_each_and_may_come_and_go(tmp_path: Path) -> None:
    where = tmp_path / "reader.sock"
    with contextlib.closing(Running(records=(f"unix:{where}",))) as running:
        running.records.add(b"a", record(b"a"))
        running.counted(0, 1)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
            reader.bind(str(where))
            reader.settimeout(TIMEOUT_S)
            running.records.add(b"b", record(b"b"))
            assert json.loads(reader.recv(200_000))["call_id"] == "b"
        running.counted(1, 1)


def test_a_reader_that_does_not_read_delays_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "TIMEOUT_S", 0.01)
    where, path = tmp_path / "slow.sock", tmp_path / "calls.json"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader,
        contextlib.closing(Running(records=(f"unix:{where}", str(path)))) as running,
    ):
        reader.bind(str(where))
        for number in range(40):
            running.records.add(b"%d" % number, record(b"%d" % number, tags=(bytes(30_000),)))
        eventually(lambda: path.exists() and path.read_bytes().count(b"\n") == 40, "the file has all")
        eventually(lambda: _sum(running) == 80, "every record was written or lost")
        assert running.stats.records_lost > 0


def test_too_many_that_wait_are_lost_and_so_is_what_waits_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records_module, "GRACE_S", 0.05)
    monkeypatch.setattr(targets, "TIMEOUT_S", 30.0)
    monkeypatch.setattr(writer, "MAX_WAITING", 10)
    where = tmp_path / "stuck.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(where))
        running = Running(records=(f"unix:{where}",))
        for number in range(200):
            running.records.add(b"%d" % number, record(b"%d" % number, tags=(bytes(8000),)))
        running.close()
        # one is under way: the thread ends with the process
        assert running.stats.records_written + running.stats.records_lost in (199, 200)


def test_what_waits_when_nh_ends_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a handover it is lost where it takes long, because calls wait for the next process."""
    monkeypatch.setattr(records_module, "GRACE_S", TIMEOUT_S)
    monkeypatch.setattr(records_module, "HANDOVER_GRACE_S", 0.0)
    count = 2000
    running = Running(records=(str(path),))
    for number in range(count):
        running.records.add(b"%d" % number, record(b"%d" % number))
    running.close()
    assert (running.stats.records_written, running.stats.records_lost) == (count, 0)


@pytest.mark.parametrize(
    ("name", "begins"), [("syslog", b"<134>nh["), ("journal", b"SYSLOG_IDENTIFIER=nh\n")]
)
def test_syslog_and_journal_get_the_record_in_their_protocols(
    name: str, begins: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = str(tmp_path / "log")
    monkeypatch.setattr(targets, f"{name.upper()}_PATH", where)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(where)
        reader.settimeout(TIMEOUT_S)
        target = open_target(name)
        target.write(b'{"call_id":"a"}')
        target.reopen()
        got = reader.recv(1000)
    assert got.startswith(begins)
    assert b'{"call_id":"a"}' in got


# --- the history ----------------------------------------------------------------------------------


def test_the_latest_calls_are_listed_first_in_pages() -> None:
    history = History(5)
    for number in range(7):
        history.add(b"call-%d" % number, record(b"call-%d" % number))
    page = history.page(contains=b"", before=0, limit=3)
    assert [call.call_id for call in page.calls] == [b"call-6", b"call-5", b"call-4"]
    rest = history.page(contains=b"", before=page.next, limit=3)
    assert ([call.call_id for call in rest.calls], rest.next) == ([b"call-3", b"call-2"], 0)
    assert [call.call_id for call in history.page(contains=b"-5", before=0, limit=9).calls] == [b"call-5"]
    assert history.find(b"call-0") is None


def test_a_call_id_that_came_again_is_its_latest_call() -> None:
    history = History(2)
    history.add(b"a", record(b"a", packets=1))
    history.add(b"a", record(b"a", packets=2))
    history.add(b"b", record(b"b"))
    found = history.find(b"a")
    assert found is not None
    assert found.packets == 2


def test_no_history_has_nothing_and_a_full_one_is_bounded_in_bytes() -> None:
    none = History(0)
    none.add(b"a", record(b"a"))
    assert (len(none), none.find(b"a")) == (0, None)
    large = History(10)
    for number in range(50):
        large.add(b"%d" % number, record(b"%d" % number, tags=(bytes(BYTES_A_CALL * 3),)))
    assert 1 <= len(large) <= 3


def test_a_lost_call_has_a_record_too() -> None:
    with contextlib.closing(Running()) as running:
        running.records.add_lost(b"gone", 1)
        running.records.add_encoded(record(b"late"))
        running.records.add_encoded(b"\xc1")
        assert [
            call.reason for call in running.records.history.page(contains=b"", before=0, limit=9).calls
        ] == [
            "closed",
            "lost",
        ]
        assert running.stats.records_lost == 1


@given(st.binary(max_size=200), st.binary(max_size=50), st.text(max_size=50))
def test_hostile_identifiers_are_json_on_one_line_and_come_back(
    call_id: bytes, tag: bytes, detail: str
) -> None:
    events = (CallEvent(1.0, "source", tag, 4000, detail),)
    line = json_line(record(call_id, tags=(tag,), events=events))
    assert b"\n" not in line
    again = from_json(json.loads(line), CallRecord)
    assert (again.call_id, again.tags, again.events) == (call_id, (tag,), events)
    assert again.ended_by == CLIENT


def test_a_file_system_that_is_mounted_read_only_is_named_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    assert "change its owner or its permissions" in targets.fault_of(str(tmp_path / "calls.jsonl"))
    monkeypatch.setattr("os.statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    assert targets.fault_of(str(tmp_path / "calls.jsonl")).startswith("its file system is mounted read-only")
