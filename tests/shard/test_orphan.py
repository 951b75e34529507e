"""nh.shard.recovery.orphan: the calls of a shard without a supervisor, until a successor has them, or not."""

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import nh
from nh.calls.media import Endpoint
from nh.calls.settings import RelayConfig
from nh.calls.snapshots.codec import decode_snapshot
from nh.calls.snapshots.version import VERSION
from nh.ipc.backup_messages import BackupMessage
from nh.ipc.handover_messages import Exit, Transfer, Yield
from nh.ipc.link_codec import decode_from_shard, encode
from nh.ipc.link_messages import (
    Configure,
    Configured,
    Restore,
    RestoreCall,
    Restored,
    TakeSockets,
    ToShard,
    Waiting,
)
from nh.stats import Segment
from nh.supervisor.shards.process import SHARD_ARGV, ShardProcess
from tests.constants import set_constants
from tests.shard.successor import REPLY_S, ScriptedSuccessor
from tools.harness.call import RelayedCall
from tools.harness.deployment import Deployment, deployed_relay, has_ended
from tools.harness.media_peer import text_of
from tools.harness.waiting import TIMEOUT_S, eventually

CALLS = 3
SOCKETS_A_CALL = 4
UNPRIVILEGED_UID = 65_534


class LeftShard:
    """A shard with calls, whose supervisor is gone."""

    def __init__(self, deployment: Deployment) -> None:
        deployment.start(shards=1)
        self.calls: list[RelayedCall] = deployment.make_calls(CALLS, shards=1)
        (self.process,) = deployment.kill_supervisor()
        (self.path,) = deployment.handover_sockets()

    def assert_goes_on(self) -> None:
        for call in self.calls:
            call.talk()
        assert not has_ended(self.process)


def patient(deployment: Deployment) -> LeftShard:
    """A shard that waits for a successor as long as a test takes, however busy the host is."""
    with pytest.MonkeyPatch.context() as patch:
        set_constants(patch, {"nh.shard.recovery.orphan:PATIENCE_S": 600.0})
        return LeftShard(deployment)


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with deployed_relay() as deployment:
        yield deployment


@pytest.fixture(scope="module")
def shard(deployment: Deployment) -> LeftShard:
    """One for all tests after which it goes on as before."""
    return patient(deployment)


@pytest.fixture
def own_shard() -> Iterator[LeftShard]:
    with deployed_relay() as deployment:
        yield patient(deployment)


@pytest.fixture
def impatient_shard() -> Iterator[LeftShard]:
    with deployed_relay() as deployment:
        yield LeftShard(deployment)


def test_it_says_who_it_is(shard: LeftShard) -> None:
    with ScriptedSuccessor(shard.path) as successor:
        present = successor.present
    assert (present.shard, present.shards, present.calls) == (0, 1, CALLS)
    assert (present.version, present.snapshot_version) == (nh.__version__, VERSION)


def test_it_hands_over_each_call_with_its_sockets_and_its_counters(shard: LeftShard) -> None:
    with ScriptedSuccessor(shard.path) as successor:
        counters = successor.take_everything().counters
        assert list(successor.snapshots) == [call.call_id for call in shard.calls]
        for call_id, snapshot in successor.snapshots.items():
            assert decode_snapshot(snapshot).call_id == call_id
        assert len(successor.sockets) == SOCKETS_A_CALL * CALLS
        for endpoint, fd in successor.sockets.items():
            assert bound_at(fd) == endpoint
    assert counters["packets_in"] >= SOCKETS_A_CALL * CALLS
    assert counters["sessions_started"] == CALLS
    shard.assert_goes_on()


def test_media_go_on_after_a_successor_that_breaks_off(shard: LeftShard) -> None:
    for _ in range(3):
        with ScriptedSuccessor(shard.path) as successor:
            successor.take_everything()
        shard.assert_goes_on()


def test_what_was_sent_while_a_successor_had_the_calls_is_late_and_not_lost(shard: LeftShard) -> None:
    call = shard.calls[0]
    with ScriptedSuccessor(shard.path) as successor:
        successor.take_everything()
        for number in range(10):
            call.alice.send(b"%d" % number, call.for_alice)
        assert not call.bob.pending()
    assert [call.bob.receive()[0] for _ in range(10)] == [b"%d" % number for number in range(10)]


def test_nothing_is_touched_by_a_process_that_restored_the_calls_and_is_never_told_go(
    shard: LeftShard, segment: Segment, ports: range
) -> None:
    call = shard.calls[0]
    process = ShardProcess.start(SHARD_ARGV)
    assert process.receive(REPLY_S) == Waiting()
    with ScriptedSuccessor(shard.path) as successor:
        successor.take_everything()
        call.alice.send(b"waits", call.for_alice)
        peers = [peer_of(fd) for fd in successor.sockets.values()]
        assert any(peers)
        with process.link as link:
            for message, fds in restoring(successor, segment, ports):
                socket.send_fds(link, [encode(message)], fds)
            link.settimeout(TIMEOUT_S)
            while (said := decode_from_shard(link.recv(200_000))) != Restored(CALLS, 0):
                assert isinstance(said, BackupMessage | Configured)
            assert [peer_of(fd) for fd in successor.sockets.values()] == peers
        assert process.reap() == "exit status 3"
        assert [peer_of(fd) for fd in successor.sockets.values()] == peers
        assert not call.bob.pending()
    assert call.bob.receive()[0] == b"waits"
    shard.assert_goes_on()


def test_media_go_on_after_a_successor_that_leaves_in_the_middle(shard: LeftShard) -> None:
    with ScriptedSuccessor(shard.path) as successor:
        successor.say(Transfer())
    shard.assert_goes_on()


def test_media_go_on_while_a_successor_says_nothing(shard: LeftShard) -> None:
    with ScriptedSuccessor(shard.path):
        shard.assert_goes_on()


@pytest.mark.parametrize("record", [b"\xc1", b"garbage", b"\x81\xa4type\xa4what", b"x" * 100_000])
def test_who_says_what_is_not_understood_is_left(shard: LeftShard, record: bytes) -> None:
    with ScriptedSuccessor(shard.path) as successor:
        successor.say_bytes(record)
        assert successor.is_left()
    with ScriptedSuccessor(shard.path) as successor:
        successor.take_everything()
        successor.say_bytes(record)
        assert successor.is_left()
        shard.assert_goes_on()


def test_the_next_one_may_come_the_moment_that_the_last_one_has_gone(shard: LeftShard) -> None:
    for _ in range(20):
        shard.process.suspend()  # so that it hears of both at once
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as first:
            first.connect(str(shard.path))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as second:
            second.settimeout(TIMEOUT_S)
            second.connect(str(shard.path))
            shard.process.resume()
            assert second.recv(1000) != b""


def test_what_a_shard_is_not_told_changes_nothing(shard: LeftShard) -> None:
    with ScriptedSuccessor(shard.path) as successor:
        successor.say(Yield())
        successor.take_everything()
    shard.assert_goes_on()


def test_only_one_successor_is_spoken_to_at_a_time(shard: LeftShard) -> None:
    with ScriptedSuccessor(shard.path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as second:
            second.settimeout(TIMEOUT_S)
            second.connect(str(shard.path))
            assert second.recv(100) == b""
        shard.assert_goes_on()
    assert speaks(shard.path), "who comes when the first has gone is spoken to"


def speaks(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.connect(str(path))
        return sock.recv(1000) != b""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_another_user_is_told_nothing(shard: LeftShard) -> None:
    assert shard.path.stat().st_mode & 0o777 == 0o600
    shard.path.parent.chmod(0o755)
    shard.path.chmod(0o666)  # as if the file's mode did not keep them out
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.settimeout(TIMEOUT_S)
        os.seteuid(UNPRIVILEGED_UID)
        try:
            stranger.connect(str(shard.path))
        finally:
            os.seteuid(0)
            shard.path.chmod(0o600)
        assert stranger.recv(1000) == b""
    shard.assert_goes_on()
    assert speaks(shard.path)


# --- it departs -----------------------------------------------------------------------------------


def test_a_shard_that_departs_leaves_its_calls_sockets_to_who_has_them(own_shard: LeftShard) -> None:
    call = own_shard.calls[0]
    with ScriptedSuccessor(own_shard.path) as successor:
        successor.take_everything()
        call.alice.send(b"meanwhile", call.for_alice)
        successor.say(Exit())
        eventually(lambda: has_ended(own_shard.process), "it has ended")
        assert not own_shard.path.exists()
        call.alice.send(b"afterwards", call.for_alice)
        fd = successor.sockets[Endpoint(*call.for_alice)]
        assert packets_in(fd) == [b"meanwhile", b"afterwards"]
        assert not call.bob.pending()


@pytest.mark.full
def test_media_go_on_if_a_successor_is_slow_and_it_may_have_the_calls_all_the_same(
    impatient_shard: LeftShard,
) -> None:
    call = impatient_shard.calls[0]
    with ScriptedSuccessor(impatient_shard.path) as successor:
        successor.take_everything()
        call.alice.send(b"meanwhile", call.for_alice)
        eventually(lambda: call.bob.pending() == [b"meanwhile"], "it is relayed in the end")
        impatient_shard.assert_goes_on()
        successor.say(Exit())
        eventually(lambda: has_ended(impatient_shard.process), "it departs")


@pytest.mark.full
@pytest.mark.kernel
def test_no_flow_begins_that_a_slow_successor_does_not_know() -> None:
    with deployed_relay(kernel="on") as deployment, contextlib.ExitStack() as stack:
        deployment.start(shards=1)
        call = RelayedCall(deployment.address)  # its sources are not latched
        stack.callback(call.hang_up)
        deployment.kill_supervisor()
        (path,) = deployment.handover_sockets()
        with ScriptedSuccessor(path) as successor:
            successor.take_everything()
            call.alice.send(b"meanwhile", call.for_alice)
            eventually(lambda: call.bob.pending() == [b"meanwhile"], "it is relayed in the end")
            call.talk()
            call.talk()
            assert successor.flows() == 0
        with ScriptedSuccessor(path) as successor:
            eventually(lambda: successor.flows() == SOCKETS_A_CALL, "the one before left them to the shard")


@pytest.mark.full
def test_a_shard_that_is_killed_while_a_successor_has_its_calls_leaves_them_too(own_shard: LeftShard) -> None:
    call = own_shard.calls[0]
    with ScriptedSuccessor(own_shard.path) as successor:
        successor.take_everything()
        psutil.Process(own_shard.process.pid).kill()
        eventually(lambda: has_ended(own_shard.process), "it has ended")
        call.alice.send(b"afterwards", call.for_alice)
        assert packets_in(successor.sockets[Endpoint(*call.for_alice)]) == [b"afterwards"]


def restoring(
    successor: ScriptedSuccessor, segment: Segment, ports: range
) -> Iterator[tuple[ToShard, list[int]]]:
    """What a supervisor says to a process that is to have the calls, before Go."""
    yield Configure(RelayConfig(ports=(ports[0], ports[-1])), segment.name), []
    yield TakeSockets(tuple(successor.sockets)), list(successor.sockets.values())
    for call_id, snapshot in successor.snapshots.items():
        yield RestoreCall(call_id, snapshot), []
    yield Restore(), []


def peer_of(fd: int) -> tuple[str, int] | None:
    """Whom a socket is connected to."""
    with socket.socket(fileno=os.dup(fd)) as sock, contextlib.suppress(OSError):
        address, port = sock.getpeername()
        return address, port
    return None


def bound_at(fd: int) -> Endpoint:
    with socket.socket(fileno=os.dup(fd)) as sock:
        address, port = sock.getsockname()
        return Endpoint(address, port)


def packets_in(fd: int) -> list[bytes]:
    """What waits at a socket."""
    found = []
    with socket.socket(fileno=os.dup(fd)) as sock:
        while select.select([sock], [], [], 0)[0]:
            found.append(text_of(sock.recv(2000)))
    return found
