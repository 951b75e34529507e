"""nh.supervisor.handover.upgrade, as a process over shards that misbehave: when nh does not make way."""

import signal
import socket
from pathlib import Path

import psutil
import pytest

from nh.commands import CloseCall, Upgrade
from nh.errors import Refused, Unavailable
from nh.ipc.handover_messages import Yield, encode
from nh.stats import ShardState
from nh.supervisor.handover.receive import NAME
from tests.supervisor.test_run import Run, call_of, running
from tools.harness.waiting import TIMEOUT_S, eventually


def go_file(directory: Path) -> Path:
    """Shards get ready as long as it is there."""
    path = directory / "go"
    path.touch()
    return path


def lose_a_shard_for_good(run: Run, go: Path) -> None:
    """A shard dies, and its successors never get ready."""
    go.unlink()
    with run.client() as client, pytest.raises(Unavailable):
        client.request(CloseCall(b"kill"))


def test_without_all_shards_there_is_no_upgrade(tmp_path: Path) -> None:
    go = go_file(tmp_path)
    with running(tmp_path, "--start-when", str(go)) as run:
        lose_a_shard_for_good(run, go)
        with run.client() as client, pytest.raises(Refused, match="no upgrade now: a shard is not up"):
            client.request(Upgrade())
        psutil.Process(run.program.pid).send_signal(signal.SIGUSR2)
        refused = "upgrade: no upgrade now: a shard is not up"
        eventually(lambda: run.program.output.count(refused) == 2, "the log says it to who sent a signal too")
        eventually(lambda: not all_are_up(run), "the statistics say that a shard is not up")
        go.touch()
        eventually(lambda: all_are_up(run), "all shards are up")
        assert run.is_up(0)
        assert run.is_up(1)
        assert run.program.output.count("ready: ") == 1


def all_are_up(run: Run) -> bool:
    return all(run.status(shard)[0] is ShardState.UP for shard in range(2))


def test_without_all_shards_there_is_no_takeover(tmp_path: Path) -> None:
    go = go_file(tmp_path)
    with running(tmp_path, "--start-when", str(go)) as run:
        lose_a_shard_for_good(run, go)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(TIMEOUT_S)
            sock.connect(str(tmp_path / NAME))
            sock.send(encode(Yield()))
            assert sock.recv(1000) == b""
        run.program.wait_for_line("takeover by another nh refused: a shard is not up")
        go.touch()
        eventually(lambda: all_are_up(run), "all shards are up")
        assert run.program.stop() == 0


def test_while_nh_ends_there_is_no_upgrade(tmp_path: Path) -> None:
    with running(tmp_path, "--ignore-shutdown") as run, run.client() as client:
        assert client.request(CloseCall(call_of(0))).sessions == 0  # so it is connected
        psutil.Process(run.program.pid).send_signal(signal.SIGTERM)
        run.program.wait_for_line("SIGTERM: ending")
        with pytest.raises(Refused, match="no upgrade now: nh is ending"):
            client.request(Upgrade())
        assert run.program.stop(signal.SIGTERM) == 0
