"""nh run --takeover: another process goes on in place of the one that runs, and that one ends."""

import contextlib
import errno
import fcntl
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import nh
from nh.client import NativeClient
from nh.commands import CloseCall, Ping
from nh.ipc.channel import receive_record
from nh.ipc.fd_passing import close_all
from nh.ipc.handover_messages import HandoverMessage, TakenOver, Yield, decode_from_old, encode
from nh.results import Closed, Pong
from nh.supervisor.handover.receive import NAME
from nh.wire import native
from tests.constants import set_constants
from tests.supervisor.test_run import pipelined
from tools.harness.command import nh_ok
from tools.harness.deployment import SHARDS, Deployment, assert_goes_on, deployed_relay, has_ended
from tools.harness.program import Program
from tools.harness.relay import Relay, kill_those_that_run
from tools.harness.waiting import TIMEOUT_S, eventually

CALLS = 4


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    with deployed_relay(ng="127.0.0.1:0", rtpproxy="127.0.0.1:0", interface="pub/127.0.0.1") as deployment:
        yield deployment


def ping(address: str, timeout_s: float = TIMEOUT_S) -> Pong:
    with NativeClient(address, timeout_s) as client:
        return client.request(Ping())


def assert_left(relay: Relay) -> None:
    """It ends, with status 0, when its shards have gone."""
    eventually(lambda: relay.program.ended, "the old one has ended")
    assert relay.program.wait() == 0


def assert_no_call_was_harmed(deployment: Deployment) -> None:
    """After the end of the one that was taken over."""
    assert deployment.relay.stats().supervisor.pid == deployment.relay.program.pid
    assert ping(deployment.relay.unix_address) == ping(deployment.relay.tcp_address) == Pong(nh.__version__)
    assert (deployment.place.directory / NAME).exists()


def test_the_new_one_has_the_calls_and_the_old_one_ends(deployment: Deployment) -> None:
    old = deployment.start()
    calls = deployment.make_calls(CALLS)
    before = [old.call(call.call_id) for call in calls]
    shards = old.shard_processes()
    new = deployment.start("--takeover")
    assert_left(old)
    assert all(map(has_ended, shards))
    assert new.stats().supervisor.taken_over == 2
    for call, then in zip(calls, before, strict=True):
        assert_goes_on(then, new.call(call.call_id))
        call.talk()
    calls.append(deployment.make_call(b"new"))
    assert_no_call_was_harmed(deployment)
    assert [call.end() for call in calls] == [1] * len(calls)
    assert new.program.stop() == 0
    assert sorted(path.name for path in deployment.place.directory.iterdir()) == ["nh.lock"]


def test_its_listening_sockets_are_those_of_the_old_one(deployment: Deployment) -> None:
    old = deployment.start()
    where = old.program.wait_for_line("ready").split("; ")[1:4]
    assert [part.split()[0] for part in where] == ["rpc", "ng", "rtpproxy"]
    new = deployment.start("--takeover")
    assert new.program.wait_for_line("ready").split("; ")[1:4] == where
    host, port = where[1].removeprefix("ng ").rsplit(":", 1)
    assert_left(old)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(TIMEOUT_S)
        udp.sendto(b"1 V", (host, int(where[2].rpartition(":")[2])))
        assert udp.recv(100) == b"1 20040107\n"
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as tcp:
        tcp.sendall(b"1 d7:command4:pinge")
        assert tcp.recv(100) == b"1 d6:result4:ponge"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(TIMEOUT_S)
        udp.connect((host, int(port)))
        udp.send(b"2 d7:command4:pinge")
        assert udp.recv(100) == b"2 d6:result4:ponge"


def test_a_connected_client_is_answered_by_the_new_one(deployment: Deployment) -> None:
    old = deployment.start()
    ng = old.program.wait_for_line("ready").split("; ")[2].removeprefix("ng ")
    host, port = ng.rsplit(":", 1)
    with (
        NativeClient(old.unix_address, TIMEOUT_S) as client,
        socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as ng_client,
    ):
        assert client.request(Ping()) == Pong(nh.__version__)
        ng_client.sendall(b"1 d7:command4:pinge")
        assert ng_client.recv(100) == b"1 d6:result4:ponge"
        deployment.start("--takeover")
        assert_left(old)
        assert client.request(Ping()) == Pong(nh.__version__)
        ng_client.sendall(b"2 d7:command4:pinge")
        assert ng_client.recv(100) == b"2 d6:result4:ponge"


@pytest.mark.full
def test_the_new_one_can_be_taken_over_and_upgraded(deployment: Deployment) -> None:
    deployment.start()
    call = deployment.make_call(b"call")
    for _ in range(2):
        old = deployment.relay
        deployment.start("--takeover")
        assert_left(old)
        call.talk()
    nh_ok(deployment.place, "upgrade")
    call.talk()
    assert_no_call_was_harmed(deployment)
    assert call.end() == 1


@pytest.mark.full
def test_settings_of_the_new_one_may_be_others(deployment: Deployment) -> None:
    old = deployment.start()
    calls = deployment.make_calls(CALLS)
    another = str(deployment.place.directory / "another.sock")
    new = deployment.start("--takeover", "--rpc", another, shards=3)
    assert_left(old)
    assert ping(another) == Pong(nh.__version__)
    assert len(new.shard_processes()) == 3
    for call in calls:
        call.talk()
    old, new = new, deployment.start("--takeover", silent_s=1)
    assert_left(old)
    eventually(lambda: not new.calls().calls, "its calls fall silent when its settings say so")
    eventually(new.all_ports_are_free, "all ports are free")


def test_without_another_nh_it_just_starts(deployment: Deployment) -> None:
    relay = deployment.start("--takeover")
    assert "nothing to take over" in relay.program.output
    deployment.make_call(b"call")
    deployment.kill_supervisor()
    relay = deployment.start("--takeover")
    assert [call.call_id for call in relay.calls().calls] == [b"call"]


def test_a_signal_to_the_old_one_while_it_leaves_hurts_no_call(deployment: Deployment) -> None:
    old = deployment.start()
    calls = deployment.make_calls(CALLS)
    supervisor = psutil.Process(old.program.pid)
    new = deployment.launch("--takeover")
    old.program.wait_for_line("takeover: handing the calls over")
    for _ in range(3):
        with contextlib.suppress(psutil.NoSuchProcess):
            supervisor.send_signal(signal.SIGTERM)
    new.wait_until_ready()
    assert_left(old)
    for call in calls:
        call.talk()
        assert call.end() == 1


def test_commands_in_flight_are_answered_by_the_old_one(deployment: Deployment) -> None:
    # the suspended shard is neither hung nor late, however long the next process takes to start
    old = deployment.start(hang_s=0, command_timeout_s=20)
    call = deployment.make_call(b"call")
    shard = psutil.Process(old.stats().shards[old.call(b"call").shard].pid)
    with pipelined(deployment.address) as connection:
        shard.suspend()
        connection.send(native.encode_request(1, CloseCall(call.call_id)))
        connection.send(native.encode_request(2, Ping()))
        assert b'"id":2' in connection.reply()  # so the first is under way
        new = deployment.launch("--takeover")
        old.program.wait_for_line("takeover: handing the calls over")
        shard.resume()
        assert native.decode_reply(connection.reply(), Closed) == (1, Closed(1))
    new.wait_until_ready()
    assert_left(old)
    assert not new.calls().calls


def test_the_old_one_goes_on_when_the_takeover_breaks_off(deployment: Deployment) -> None:
    old = deployment.start()
    calls = deployment.make_calls(CALLS)
    pid = old.program.pid
    with come_to(deployment) as sock:
        sock.send(encode(Yield((("unix", old.unix_address), ("tcp", old.tcp_address)))))
    old.program.wait_for_line(
        "takeover failed: the other nh "
    )  # it has left before the handover, or behind it
    for call in calls:
        call.talk()
    wait_for_a_second_start(old.program)
    assert ping(old.tcp_address) == Pong(nh.__version__)
    assert old.stats().supervisor.pid == pid
    deployment.start("--takeover")
    assert_left(old)
    for call in calls:
        call.talk()
        assert call.end() == 1


def test_a_command_that_hangs_is_waited_for_no_longer_than_the_new_one_waits(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_constants(monkeypatch, {"nh.supervisor.handover.handover:TAKEOVER_WAIT_S": 0.2})
    old = deployment.start(hang_s=0, command_timeout_s=60)
    call = deployment.make_call(b"call")
    shard = psutil.Process(old.stats().shards[old.call(b"call").shard].pid)
    with pipelined(deployment.address) as connection, come_to(deployment) as sock:
        shard.suspend()
        connection.send(native.encode_request(1, CloseCall(call.call_id)))
        connection.send(native.encode_request(2, Ping()))
        assert b'"id":2' in connection.reply()  # so the first is under way
        sock.send(encode(Yield()))
        assert isinstance(decode_from_old(receive(sock)), HandoverMessage)
    shard.resume()
    kill_those_that_run(old.shard_processes())
    assert_left(old)


def test_what_was_handed_over_to_an_earlier_version_stays_open_until_that_has_the_calls(
    deployment: Deployment,
) -> None:
    """It does not say that it has them: it has when the shards have ended."""
    old = deployment.start()
    deployment.make_call(b"call")
    with come_to(deployment) as sock:
        sock.send(encode(Yield()))
        record, fds = receive_record(sock)
        message = decode_from_old(record)
        assert isinstance(message, HandoverMessage)
        ng, rtpproxy = ("ng-tcp", "ng-udp"), ("rtpproxy-tcp", "rtpproxy-udp")
        assert [kind for kind, _ in message.listeners] == ["unix", "tcp", *ng, *rtpproxy]
        assert len(fds) == len(message.locks) + len(message.listeners)
        close_all(fds)
    assert not is_refused(deployment.address), "it goes on if that one ends"
    assert not old.program.ended, "it waits for its shards"
    kill_those_that_run(old.shard_processes())
    assert_left(old)


def test_what_was_handed_over_to_an_earlier_version_is_closed_when_that_has_settled(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else that one could end, and clients would wait for ever at sockets that no process serves."""
    set_constants(monkeypatch, {"nh.supervisor.handover.successor:SETTLED_S": 0.1})
    old = deployment.start()
    call = deployment.make_call(b"call")
    with come_to(deployment) as sock:
        sock.send(encode(Yield()))
        message = decode_from_old(receive(sock))
        assert isinstance(message, HandoverMessage)
    eventually(lambda: is_refused(deployment.address), "no process is at the address")
    eventually(lambda: locks_are_free(message), "the runtime directory and the ports are free")
    assert not old.program.ended, "it waits for its shards"
    call.talk()
    kill_those_that_run(old.shard_processes())
    assert_left(old)


def test_what_was_handed_over_is_closed_while_the_shards_of_the_old_one_still_relay(
    deployment: Deployment,
) -> None:
    """The new one may end before it, and an nh that is started then needs the addresses and the locks."""
    old = deployment.start()
    call = deployment.make_call(b"call")
    with come_to(deployment) as sock:
        sock.send(encode(Yield((("unix", old.unix_address), ("tcp", old.tcp_address)))))
        message = decode_from_old(receive(sock))
        assert isinstance(message, HandoverMessage)
        assert not is_refused(deployment.address), "it goes on if the new one ends before it serves"
        sock.send(encode(TakenOver()))
        eventually(lambda: is_refused(deployment.address), "no process is at the address")
        eventually(lambda: locks_are_free(message), "the runtime directory and the ports are free")
        assert not old.program.ended, "it waits for its shards"
        call.talk()
    kill_those_that_run(old.shard_processes())
    assert_left(old)


def locks_are_free(message: HandoverMessage) -> bool:
    """Whether another relay could lock the files that were locked for this one."""
    for path in message.locks:
        with Path(path).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    return True


def is_refused(address: str) -> bool:
    """Whether nothing listens there; a socket whose queue is full does."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        return probe.connect_ex(address) in (errno.ENOENT, errno.ECONNREFUSED)


def test_a_client_that_sends_invalid_messages_takes_nothing_over(deployment: Deployment) -> None:
    relay = deployment.start()
    calls = deployment.make_calls(CALLS)
    for record in (b"garbage", b"\xc1", b"x" * 1000):
        with come_to(deployment) as sock:
            sock.send(record)
            assert sock.recv(1000) == b""
    with come_to(deployment):
        pass
    assert len(relay.shard_processes()) == SHARDS
    for call in calls:
        call.talk()
        assert call.end() == 1


@contextlib.contextmanager
def come_to(deployment: Deployment) -> Iterator[socket.socket]:
    """A connection to the supervisor, of a client that asks to take over."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.connect(str(deployment.place.directory / NAME))
        yield sock


def receive(sock: socket.socket) -> bytes:
    """The next record that it hands over; the descriptors with it are closed."""
    record, fds = receive_record(sock)
    close_all(fds)
    return record


def wait_for_a_second_start(program: Program) -> None:
    """As after an upgrade."""
    program.wait_until(lambda: program.output.count("ready: ") == 2, "it serves again")
