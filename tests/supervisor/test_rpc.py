"""nh.supervisor.rpc: the listening sockets of all protocols, and the limits of their clients."""

import contextlib
import errno
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from nh.config import Settings
from nh.ipc.inherited import NOTHING_INHERITED
from nh.loop import SelectorLoop
from nh.results import Closed
from nh.rpc.protocols import NG
from nh.stats import SupervisorStats
from nh.supervisor.rpc import Rpc
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
