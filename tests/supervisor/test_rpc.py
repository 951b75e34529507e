"""nh.supervisor.rpc: the listening sockets of all protocols, and the limits of their clients."""

import contextlib
import errno
import os
import select
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nh.commands import Ping
from nh.config import Settings
from nh.ipc.handover_messages import HandoverMessage
from nh.ipc.inherited import NOTHING_INHERITED, Inherited
from nh.loop import SelectorLoop
from nh.results import Closed, Pong
from nh.rpc.protocols import NG
from nh.stats import SupervisorStats
from nh.supervisor.rpc import Rpc
from nh.wire import native
from nh.wire.framing import frame
from tools.harness.waiting import turn_until


def test_limits_that_change_before_clients_are_served_hold_then(tmp_path: Path) -> None:
    path = str(tmp_path / "nh.sock")
    stats = SupervisorStats()
    with contextlib.closing(SelectorLoop()) as loop, contextlib.ExitStack() as stack:
        rpc = Rpc(loop, Settings(rpc=(path,), runtime_dir=str(tmp_path)), stats, NOTHING_INHERITED)
        stack.callback(rpc.close_listeners)
        rpc.change_limits(300.0, 1)
        rpc.serve(lambda _command, _reply, _origin: None)
        stack.callback(rpc.close)
        for _ in range(2):
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
        turn_until(loop, lambda: stats.rpc_accepted == 2)
        assert (rpc.clients, stats.rpc_evicted) == (1, 1)


class ServedSocket:
    """A Unix socket that is served, and its clients."""

    def __init__(self, path: Path, stack: contextlib.ExitStack) -> None:
        self.path = path
        self.stats = SupervisorStats()
        self.loop = stack.enter_context(contextlib.closing(SelectorLoop()))
        self._stack = stack
        settings = Settings(rpc=(str(path),), runtime_dir=str(path.parent), rpc_mode="660")
        self.rpc = Rpc(self.loop, settings, self.stats, NOTHING_INHERITED)
        stack.callback(self.rpc.close_listeners)
        self.rpc.serve(lambda _command, reply, _origin: reply(Pong("this one")))
        stack.callback(self.rpc.close)

    def connect(self) -> socket.socket:
        client = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        client.connect(str(self.path))
        return client

    def is_served(self, client: socket.socket) -> bool:
        client.setblocking(False)
        client.sendall(frame(native.encode_request(1, Ping())))
        turn_until(self.loop, lambda: select.select([client], [], [], 0)[0])
        return b"this one" in client.recv(1000)


@pytest.fixture
def served(tmp_path: Path, no_descriptor_leaks: None) -> Iterator[ServedSocket]:
    with contextlib.ExitStack() as stack:
        (tmp_path / "run").mkdir()
        yield ServedSocket(tmp_path / "run" / "nh.sock", stack)


def test_a_socket_whose_file_was_removed_is_made_anew_and_its_clients_are_served_on(
    served: ServedSocket, caplog: pytest.LogCaptureFixture
) -> None:
    before = served.connect()
    assert served.is_served(before)
    for _ in range(2):
        served.rpc.renew_sockets()
    assert not caplog.messages
    served.path.unlink()
    for _ in range(2):
        served.rpc.renew_sockets()
    (message,) = caplog.messages
    assert message == f"rpc: {served.path}: another program removed the socket; nh listens there again"
    assert stat.S_IMODE(served.path.stat().st_mode) == 0o660
    assert served.is_served(before)
    assert served.is_served(served.connect())
    served.rpc.close_listeners()
    assert not served.path.exists(), "nh leaves nothing at its end"


def test_a_client_that_waits_at_a_removed_socket_is_served(served: ServedSocket) -> None:
    waits = served.connect()
    served.path.unlink()
    served.rpc.renew_sockets()
    assert served.is_served(waits)
    served.rpc.renew_sockets()
    assert served.is_served(served.connect())


def test_a_name_that_another_nh_has_is_not_taken_from_it_and_the_log_says_so_once(
    served: ServedSocket, caplog: pytest.LogCaptureFixture
) -> None:
    served.path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(served.path))  # it does not listen yet
        for _ in range(3):
            served.rpc.renew_sockets()
        other.listen()
        served.rpc.renew_sockets()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(served.path))
            other.accept()[0].close()
    assert [record.message.partition(":")[0] for record in caplog.records] == ["rpc"]
    assert "cannot listen there again: " in caplog.text
    served.path.unlink()
    served.rpc.renew_sockets()
    assert served.is_served(served.connect())


def test_a_directory_that_was_away_and_is_back_has_the_socket_again(
    served: ServedSocket, tmp_path: Path
) -> None:
    """So does a mount above it that goes; the file of the socket before stands in the way of none."""
    directory, away = tmp_path / "run", tmp_path / "away"
    for _ in range(2):
        directory.rename(away)
        directory.mkdir()
        served.rpc.renew_sockets()
        assert served.is_served(served.connect())
        shutil.rmtree(directory)
        away.rename(directory)
        served.rpc.renew_sockets()
        assert served.is_served(served.connect())


@pytest.mark.parametrize("late", [Rpc.stop_accepting, Rpc.stop_reading, Rpc.stop_listening, Rpc.close])
def test_an_nh_that_ends_makes_no_socket_anew(served: ServedSocket, late: Callable[[Rpc], None]) -> None:
    served.rpc.stop_accepting()
    late(served.rpc)
    served.path.unlink(missing_ok=True)
    served.rpc.renew_sockets()
    assert not served.path.exists()


def test_a_socket_that_was_removed_before_the_next_nh_had_it_is_made_anew(
    served: ServedSocket, caplog: pytest.LogCaptureFixture
) -> None:
    (what, fd), *_ = served.rpc.inherited()
    served.path.unlink()
    settings = Settings(rpc=(str(served.path),), runtime_dir=str(served.path.parent))
    inherited = Inherited(HandoverMessage(listeners=(what,)), [os.dup(fd)])
    with contextlib.closing(SelectorLoop()) as loop:
        rpc = Rpc(loop, settings, served.stats, inherited)
        rpc.serve(lambda _command, _reply, _origin: None)
        assert not caplog.messages
        rpc.renew_sockets()
        assert served.path.exists()
        rpc.close()
        rpc.close_listeners()


@pytest.mark.parametrize("kept", [True, False])
def test_a_connection_that_was_handed_over_ends_with_the_next_nh_unless_this_one_may_go_on(
    served: ServedSocket, kept: bool
) -> None:
    client = served.connect()
    assert served.is_served(client)
    served.rpc.stop_accepting()
    served.rpc.release_connections()
    names = [what for what, _ in served.rpc.inherited()]
    served.rpc.close_handed_over(names if kept else None)
    ended, _, _ = select.select([client], [], [], 0)
    assert ended == ([] if kept else [client])


@pytest.mark.parametrize("closed", [False, True])
def test_a_request_over_udp_gets_its_reply_from_an_nh_that_ends_until_its_sockets_are_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, closed: bool
) -> None:
    stats = SupervisorStats()
    replies: list[Callable[[Closed], object]] = []
    with contextlib.closing(SelectorLoop()) as loop, contextlib.ExitStack() as stack:
        settings = Settings(ng=("127.0.0.1:0",), address="127.0.0.1", runtime_dir=str(tmp_path))
        rpc = Rpc(loop, settings, stats, NOTHING_INHERITED)
        stack.callback(rpc.close_listeners)
        rpc.serve(lambda _command, reply, _origin: replies.append(reply))
        stack.callback(rpc.close)
        host, _, port = rpc.first_address(NG).rpartition(":")
        client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        client.sendto(b"1 d7:call-id1:c7:command6:delete8:from-tag1:ae", (host, int(port)))
        turn_until(loop, lambda: bool(replies))
        rpc.stop_accepting()
        rpc.stop_listening()
        if closed:
            rpc.close_listeners()
        with socket.socket() as late:
            assert late.connect_ex((host, int(port))) == errno.ECONNREFUSED
        replies[0](Closed(1))
        client.setblocking(False)
        with pytest.raises(OSError) if closed else contextlib.nullcontext():
            assert client.recv(1000).startswith(b"1 d")
    assert stats.rpc_send_failed == 0
    assert not caplog.messages
