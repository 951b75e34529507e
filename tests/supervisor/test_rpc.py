"""nh.supervisor.rpc: the listening sockets of all protocols, and the limits of their clients."""

import contextlib
import socket
from pathlib import Path

from nh.config import Settings
from nh.ipc.inherited import NOTHING_INHERITED
from nh.loop import SelectorLoop
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
