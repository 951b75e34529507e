"""The supervisor as a process, over shards that hold sockets and die: calls and packets are still there."""

import functools
import socket
from pathlib import Path

import psutil
import pytest

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Allocate, CloseCall, TransactionKey
from nh.errors import NhError, Unavailable
from nh.results import Allocated, Closed
from nh.stats import ShardState, segment_name
from nh.stats.reading import ShardReading
from tests.profiles import quick_first
from tests.supervisor.test_run import Run, assert_nothing_is_left, running
from tools.harness.command import nh
from tools.harness.deployment import deployed_relay
from tools.harness.relay import kill_those_that_run
from tools.harness.waiting import eventually


def allocate(client: NativeClient, call_id: bytes) -> int:
    media = (Media("127.0.0.1", 4000, 1),)
    allocated = client.request(Allocate(TransactionKey(call_id, 1, b"a"), Side.FROM, "127.0.0.1", media))
    assert isinstance(allocated, Allocated)
    return allocated.media[0].port


def send(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("127.0.0.1", port))


def totals(run: Run) -> ShardReading:
    return run.stats().shards[0]


def is_up_again(run: Run, times: int) -> bool:
    """Whether the only shard has restored its call so often, and takes commands."""
    shard = totals(run)
    return shard.state is ShardState.UP and shard.calls_restored == times


def shard_pid(run: Run) -> int:
    """The process of the only shard: the one that uses the segment has the lowest pid of its generation."""
    children = sorted(run.children(), key=lambda child: child.create_time())
    return children[0].pid


def waiting(run: Run, call_id: bytes) -> int:
    """Close a call as soon as its shard is up; how many packets waited at its socket."""
    found: list[int] = []

    def closed() -> bool:
        try:
            with run.client() as client:
                found.append(client.request(CloseCall(call_id)).sessions)
        except Unavailable:
            return False
        return True

    eventually(closed, "the shard is up")
    return found[0]


@pytest.mark.parametrize("prefork", quick_first([0, 1]))
def test_packets_and_calls_outlive_their_shard_ten_times_in_a_row(tmp_path: Path, prefork: int) -> None:
    with running(tmp_path, "--keeping", shards=1, prefork=prefork) as run:
        supervisor = psutil.Process(run.program.pid)
        with run.client() as client:
            port = allocate(client, b"call")
        for number in range(1, 11):
            with run.client() as client, pytest.raises(Unavailable):
                client.request(CloseCall(b"kill"))
            send(port)
            eventually(functools.partial(is_up_again, run, number), "the call is restored")
        assert totals(run).restarts == 10
        eventually(lambda: len(run.children()) == 1 + prefork, "the zygote is there again")
        before = supervisor.num_fds()
        assert waiting(run, b"call") == 10
        eventually(lambda: totals(run).sockets_held == 0, "its socket is let go")
        assert totals(run).calls_lost == 0
        eventually(lambda: supervisor.num_fds() < before, "no descriptor is left behind")


def test_a_shard_whose_socket_cannot_be_removed_is_replaced() -> None:
    """So it is on a read-only file system, or for want of memory."""
    with deployed_relay(shards=1) as deployment:
        relay = deployment.start()
        call = deployment.make_call(b"call")
        [path] = deployment.place.directory.glob("shard-*.sock")
        path.unlink()
        path.mkdir()
        kill_those_that_run(relay.shard_processes())
        eventually(call.media_flow, "its successor relays")


@pytest.mark.parametrize("prefork", quick_first([1, 0]))
def test_a_shard_is_replaced_where_another_program_has_removed_the_statistics(prefork: int) -> None:
    """So systemd-logind does at the logout of the user whose nh it is (RemoveIPC=)."""
    with deployed_relay(shards=1, prefork=prefork) as deployment:
        relay = deployment.start()
        call = deployment.make_call(b"call")
        Path("/dev/shm", segment_name(deployment.place.directory)).unlink()
        relay.program.wait_for_line("another program has removed /dev/shm/nh-")
        health = nh(deployment.place, "health").output
        assert "nh runs with runtime directory" in health, (
            "who reads that it does not run would start another"
        )
        assert "`nh upgrade` makes them anew" in health
        kill_those_that_run(relay.shard_processes())
        eventually(call.media_flow, "its successor relays")
        deployment.nh("upgrade")
        eventually(call.media_flow, "the next nh relays")
        assert deployment.stats().totals.calls == 1


def test_a_poisoned_call_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    with running(tmp_path, "--keeping", shards=1) as run:
        with run.client() as client:
            port = allocate(client, b"before")
            allocate(client, b"poison")
            allocate(client, b"after")
            allocate(client, b"unreadable")
            with pytest.raises(Unavailable):
                client.request(CloseCall(b"kill"))
        send(port)
        assert waiting(run, b"before") == 1
        assert waiting(run, b"after") == 0
        eventually(
            lambda: (totals(run).calls_lost, totals(run).calls_saved, totals(run).sockets_held) == (2, 0, 0),
            "what is lost is counted and let go",
        )
        run.program.wait_for_line("call 'poison' is lost")


def test_a_shard_that_hangs_is_replaced_and_its_calls_go_on(tmp_path: Path) -> None:
    with running(tmp_path, "--keeping", "--heartbeat", shards=1, hang_s=1) as run:
        with run.client() as client:
            port = allocate(client, b"call")
            with pytest.raises(NhError):
                client.request(CloseCall(b"hang"))
        send(port)
        assert waiting(run, b"call") == 1
        eventually(lambda: (totals(run).hangs, totals(run).restarts) == (1, 1), "it is counted")


def test_a_shard_that_is_stopped_is_replaced_too(tmp_path: Path) -> None:
    with running(tmp_path, "--keeping", "--heartbeat", shards=1, hang_s=1, prefork=0) as run:
        with run.client() as client:
            port = allocate(client, b"call")
        psutil.Process(shard_pid(run)).suspend()
        send(port)
        eventually(lambda: totals(run).calls_restored == 1, "it is replaced")
        assert waiting(run, b"call") == 1


def test_a_shard_that_dies_within_a_snapshot_leaves_the_one_before(tmp_path: Path) -> None:
    with running(tmp_path, "--keeping", shards=1) as run:
        with run.client() as client:
            port = allocate(client, b"call")
            with pytest.raises(Unavailable):
                client.request(CloseCall(b"half"))
        send(port)
        assert waiting(run, b"call") == 1


def test_an_orderly_end_lets_everything_go(tmp_path: Path) -> None:
    with running(tmp_path, "--keeping", shards=1, prefork=1) as run:
        with run.client() as client:
            assert client.request(CloseCall(b"none")) == Closed(0)
            allocate(client, b"call")
        eventually(lambda: len(run.children()) == 2, "there is a zygote")
        children = run.children()
        assert run.program.stop() == 0
        assert not any(child.is_running() for child in children)
    assert_nothing_is_left(tmp_path)
