"""nh.supervisor.orphans.client and find: one that waits for a CPU is late, and one that hangs is found."""

import contextlib
import errno
import fcntl
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nh.calls.media import Endpoint
from nh.calls.snapshots.version import VERSION
from nh.errors import NotNow
from nh.ipc.backup_messages import SaveCall
from nh.ipc.fd_passing import close_all
from nh.ipc.handover_messages import (
    CallSockets,
    Exit,
    HandedOver,
    Hello,
    Transfer,
    UnconfirmedRecord,
    encode,
)
from nh.supervisor.host.child_process import wait_for_end
from nh.supervisor.host.cpu_use import CpuUse
from nh.supervisor.orphans import client as orphan_client
from nh.supervisor.orphans import find as orphan_search
from nh.supervisor.orphans.client import HandoverFailed, OrphanClient
from nh.supervisor.orphans.find import find_orphans
from tests.supervisor.scripted_shard import ScriptedShard

PID = 4711
HELLO = Hello(shard=1, shards=2, version="1", snapshot_version=VERSION)


class LateOrphan:
    """An orphan that says Hello when its CPU use has been looked at so often; the test plays both.

    Args:
        used_s: what it uses of a CPU between two looks; None: it sleeps.
    """

    def __init__(self, used_s: float | None, says_hello_at: int = 3) -> None:
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.looks = 0
        self._used_s = used_s
        self._says_hello_at = says_hello_at

    def cpu_use(self, pid: int) -> CpuUse:
        assert pid == PID
        self.looks += 1
        if self.looks == self._says_hello_at:
            self.theirs.send(encode(HELLO))
        return CpuUse(self._used_s is not None, self.looks * (self._used_s or 0.0))

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def orphan(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LateOrphan]:
    orphan = LateOrphan(request.param)
    monkeypatch.setattr(orphan_client, "REPLY_S", 0.1)
    monkeypatch.setattr(orphan_client, "cpu_use", orphan.cpu_use)
    yield orphan
    orphan.close()


@pytest.mark.parametrize("orphan", [0.0, 0.02], indirect=True)
def test_an_orphan_that_waits_for_a_cpu_is_waited_for(orphan: LateOrphan) -> None:
    assert OrphanClient(orphan.ours, PID).hello == HELLO


@pytest.mark.parametrize("orphan", [None, 0.03, 0.1], indirect=True)
def test_an_orphan_that_sleeps_or_runs_and_says_nothing_hangs(orphan: LateOrphan) -> None:
    with pytest.raises(HandoverFailed, match=r"it sent nothing for 0\.1 s"):
        OrphanClient(orphan.ours, PID)
    assert orphan.looks <= 2


def test_an_orphan_that_gets_little_of_a_cpu_hangs_once_it_had_time_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    orphan = LateOrphan(0.02, says_hello_at=100)
    monkeypatch.setattr(orphan_client, "REPLY_S", 0.1)
    monkeypatch.setattr(orphan_client, "cpu_use", orphan.cpu_use)
    with pytest.raises(HandoverFailed, match=r"it sent nothing for 0\.1 s"):
        OrphanClient(orphan.ours, PID)
    assert 6 <= orphan.looks <= 7
    orphan.close()


@pytest.mark.parametrize("ends", [True, False])
def test_a_process_is_waited_for_by_a_descriptor_of_any_number(ends: bool) -> None:
    """A supervisor has one for each media socket; select(2) takes the first 1024."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], min(before[1], 4096)), before[1]))
    pidfd = os.pidfd_open(process.pid)
    high = fcntl.fcntl(pidfd, fcntl.F_DUPFD_CLOEXEC, 1500)
    try:
        if ends:
            process.kill()
        assert wait_for_end(high, 30.0 if ends else 0.0) is ends
    finally:
        close_all([pidfd, high])
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        process.kill()
        process.wait()


def test_descriptors_that_come_with_a_call_or_a_record_are_closed(no_descriptor_leaks: None) -> None:
    """Another version of nh may send some there."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    taken: list[bytes] = []
    with ours, theirs:
        theirs.send(encode(HELLO))
        for message in (
            SaveCall(b"call", b"snapshot"),
            UnconfirmedRecord(b"{}", 1),
            HandedOver({"restarts": 1}),
        ):
            socket.send_fds(theirs, [encode(message)], [theirs.fileno()])
        orphan = OrphanClient(ours, PID)
        counters = orphan.transfer(
            lambda _call_id, snapshot, _sockets: taken.append(snapshot),
            lambda record, _number: taken.append(record),
        )
    assert counters == {"restarts": 1}
    assert taken == [b"snapshot", b"{}"]


def test_a_call_comes_without_the_sockets_for_which_there_is_no_descriptor(no_descriptor_leaks: None) -> None:
    """The kernel leaves out those at the end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    endpoints = tuple(Endpoint("127.0.0.1", port) for port in (1000, 1001, 1002))
    taken: list[Endpoint] = []

    def take(_call_id: bytes, _snapshot: bytes, sockets: list[tuple[Endpoint, int]]) -> None:
        taken.extend(endpoint for endpoint, _ in sockets)
        close_all([fd for _, fd in sockets])

    with ours, theirs:
        theirs.send(encode(HELLO))
        socket.send_fds(theirs, [encode(CallSockets(b"call", endpoints))], [theirs.fileno()] * 2)
        theirs.send(encode(SaveCall(b"call", b"snapshot")))
        theirs.send(encode(HandedOver()))
        OrphanClient(ours, PID).transfer(take)
    assert taken == list(endpoints[:2])


@pytest.mark.parametrize(
    ("message", "descriptors"),
    [(CallSockets(b"call", (Endpoint("127.0.0.1", 1000),)), 3), (HELLO, 2), (HELLO, 0)],
)
def test_an_error_says_how_many_descriptors_came_with_an_unexpected_message(
    message: CallSockets | Hello, descriptors: int, no_descriptor_leaks: None
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.send(encode(HELLO))
        socket.send_fds(theirs, [encode(message)], [theirs.fileno()] * descriptors)
        orphan = OrphanClient(ours, PID)
        with pytest.raises(HandoverFailed, match=f"{type(message).__name__} with {descriptors} descriptors"):
            orphan.transfer(lambda *_: None)


def test_an_orphan_that_cannot_be_killed_for_want_of_a_descriptor_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_room(_pid: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.send(encode(HELLO))
        orphan = OrphanClient(ours, PID)
        monkeypatch.setattr("os.pidfd_open", no_room)
        orphan.kill()
    assert "cannot be killed: Too many open files" in caplog.text


def test_an_orphan_that_accepts_no_connection_is_not_taken_for_one_that_is_gone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    no_descriptor_leaks: None,
) -> None:
    """Its calls would be restored from the store, where its ports are taken."""
    monkeypatch.setattr(orphan_search, "REPLY_S", 0.1)
    path, gone = tmp_path / "shard-0-hangs.sock", tmp_path / "shard-1-gone.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(str(gone))
    with contextlib.ExitStack() as stack:
        hung = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        hung.bind(str(path))
        hung.listen(1)
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                waiting.setblocking(False)
                waiting.connect(str(path))
        assert find_orphans(tmp_path) == []
    assert path.exists()
    assert not gone.exists()
    assert f"{path}: an orphaned shard does not accept connections: " in caplog.text


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    """The handover socket of an orphan, which says Hello to the first who connects."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as orphan:
        orphan.bind(str(tmp_path / "shard-1-abc.sock"))
        orphan.listen()
        yield orphan


@contextlib.contextmanager
def refused(monkeypatch: pytest.MonkeyPatch, operation: str, times: int) -> Iterator[None]:
    """The system refuses an operation so often, for want of descriptors."""
    real, left = getattr(orphan_search, operation), [None] * times

    def refusing(path: Path) -> object:
        if left:
            left.pop()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(orphan_search, operation, refusing)
        yield


@pytest.mark.parametrize("operation", ["_connect", "shard_sockets"])
def test_a_shortage_that_passes_leaves_no_orphan_out(
    tmp_path: Path, listening: socket.socket, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """Its ports would stay taken, and its calls could not be restored from the store."""
    for module in (orphan_client, orphan_search):
        monkeypatch.setattr(module, "REPLY_S", 60.0)  # the thread may wait for a CPU

    def say_hello() -> None:
        connection, _ = listening.accept()
        connection.send(encode(HELLO))
        connection.recv(1)
        connection.close()

    with ThreadPoolExecutor(1) as threads, refused(monkeypatch, operation, 3):
        done = threads.submit(say_hello)
        [orphan] = find_orphans(tmp_path)
        assert orphan.hello == HELLO
        orphan.close()
        done.result()


@pytest.mark.parametrize("operation", ["_connect", "shard_sockets"])
def test_a_shortage_that_lasts_is_no_start_without_the_orphans(
    tmp_path: Path,
    listening: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    no_descriptor_leaks: None,
) -> None:
    monkeypatch.setattr(orphan_search, "REPLY_S", 0.1)
    with (
        refused(monkeypatch, operation, 1_000_000),
        pytest.raises(NotNow, match="cannot be taken over: Too many open files; raise the limit"),
    ):
        find_orphans(tmp_path)


def test_what_cannot_be_removed_of_a_shard_that_is_gone_hinders_no_start(tmp_path: Path) -> None:
    (tmp_path / "shard-1-abc.sock").mkdir()
    assert find_orphans(tmp_path) == []


def test_an_orphan_is_asked_and_dismissed_a_moment_later_where_the_system_has_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would be killed with its calls, or relay them beside the shard that has restored them."""
    shard = ScriptedShard(0, 1, {b"a": b"snapshot"})
    refusals = 0
    send = socket.socket.send

    def refuse_each_first(sock: socket.socket, record: bytes) -> int:
        nonlocal refusals
        refusals += 1
        if refusals % 2:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return send(sock, record)

    monkeypatch.setattr(socket.socket, "send", refuse_each_first)
    found: dict[bytes, bytes] = {}

    def take(call_id: bytes, snapshot: bytes, sockets: list[tuple[Endpoint, int]]) -> None:
        found[call_id] = snapshot
        close_all([fd for _, fd in sockets])

    with contextlib.closing(shard):
        shard.orphan.transfer(take)
        shard.orphan.dismiss()
        assert found == {b"a": b"snapshot"}
        assert shard.told() == [Transfer, Exit]
