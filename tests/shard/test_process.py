"""`python -m nh.shard` as the supervisor starts it: a process of its own behind a link."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from nh.calls.media import Media, Side
from nh.calls.settings import RelaySettings
from nh.commands import Activate, Allocate, CloseCall, ListCalls, TransactionKey
from nh.ipc.link_messages import Detach, Executed
from nh.results import Activated, Allocated, Closed, Failure
from nh.stats import Segment, StatsReader
from tests.shard.link import Link
from tests.shard.testbed import V4, audio
from tools.harness.media_peer import MediaPeer
from tools.harness.waiting import eventually

END_S = 30


class ShardProcess:
    """A running shard."""

    def __init__(self) -> None:
        self.link = Link()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nh.shard", "--link-fd", str(self.link.theirs.fileno())],
            pass_fds=[self.link.theirs.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.link.theirs.close()

    def end(self) -> tuple[int, str]:
        """Its exit status and what it said, once it has ended by itself."""
        _, said = self.process.communicate(timeout=END_S)
        return self.process.returncode, said

    def close(self) -> None:
        self.link.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def shard() -> Iterator[ShardProcess]:
    shard = ShardProcess()
    yield shard
    shard.close()


def test_a_shard_relays_until_it_is_told_to_end(shard: ShardProcess, segment: Segment, ports: range) -> None:
    shard.link.configure(ports, segment.name)
    assert shard.link.ready().pid == shard.process.pid
    key = TransactionKey(b"call", 1, b"alice", b"bob")
    with MediaPeer(V4) as alice, MediaPeer(V4) as bob:
        for_bob = shard.link.answer(Allocate(key, Side.FROM, V4, (audio(alice),)))
        for_alice = shard.link.answer(Allocate(key, Side.TO, V4, (audio(bob),)))
        assert isinstance(for_bob, Allocated)
        assert isinstance(for_alice, Allocated)
        assert shard.link.answer(Activate(key)) == Activated(created=True)
        for component in (0, 1):
            alice.send(b"hello Bob", (V4, for_alice.media[0].port), component)
            assert bob.receive(component)[0] == b"hello Bob"
            bob.send(b"hello Alice", (V4, for_bob.media[0].port), component)
            assert alice.receive(component)[0] == b"hello Alice"
    shard.link.shut_down()
    assert shard.end() == (0, "")
    published = StatsReader(segment).read().shards[0]
    assert (published.packets_in, published.packets_out) == (4, 4)
    assert (published.calls, published.sockets, published.sessions_ended) == (0, 0, 1)


def test_a_shard_ends_with_its_supervisor(shard: ShardProcess, segment: Segment, ports: range) -> None:
    shard.link.configure(ports, segment.name)
    shard.link.ready()
    shard.link.ours.close()
    status, said = shard.end()
    assert status == 3
    assert "WARNING" in said
    assert "the supervisor is gone: shard 0 ends, because it has no calls" in said


def test_a_shard_whose_supervisor_hands_over_ends_without_an_error(
    shard: ShardProcess, segment: Segment, ports: range
) -> None:
    shard.link.configure(ports, segment.name)
    shard.link.ready()
    shard.link.send(Detach())
    shard.link.ours.close()
    status, said = shard.end()
    assert status == 3
    assert "ERROR" not in said


def test_a_shard_that_was_never_configured_ends_with_its_supervisor(shard: ShardProcess) -> None:
    shard.link.ours.close()
    assert shard.end() == (3, "")  # it is a zygote; the shards say what happened


def test_a_shutdown_and_the_end_of_the_link_at_once_are_a_shutdown(
    shard: ShardProcess, segment: Segment, ports: range
) -> None:
    shard.link.configure(ports, segment.name)
    shard.link.ready()
    shard.link.shut_down()
    shard.link.ours.close()
    assert shard.end() == (0, "")


def test_an_interrupt_from_the_keyboard_is_the_supervisors_business(
    shard: ShardProcess, segment: Segment, ports: range
) -> None:
    shard.link.configure(ports, segment.name)
    shard.link.ready()
    os.kill(shard.process.pid, signal.SIGINT)
    assert not isinstance(shard.link.answer(ListCalls()), Failure)
    shard.link.shut_down()
    assert shard.end() == (0, "")


def test_counters_survive_into_a_successor(segment: Segment, ports: range) -> None:
    reader = StatsReader(segment)
    command = Allocate(TransactionKey(b"call", 1, b"alice"), Side.FROM, V4, (Media("127.0.0.11", 4000, 2),))
    for incarnation in (1, 2):
        shard = ShardProcess()
        try:
            shard.link.configure(ports, segment.name)
            shard.link.ready()
            assert isinstance(shard.link.answer(command), Allocated), "the ports of a dead shard are free"
            wanted = incarnation
            eventually(lambda n=wanted: reader.read().shards[0].allocate_ok == n, "it is published")  # type: ignore[misc]
            assert reader.read().shards[0].calls == 1, "a gauge is the value of the moment"
        finally:
            shard.process.kill()
            shard.close()


def test_commands_in_flight_are_all_answered(shard: ShardProcess, segment: Segment, ports: range) -> None:
    shard.link.configure(ports, segment.name)
    shard.link.ready()
    wanted: dict[int, type] = {}
    for number in range(40):
        key = TransactionKey(b"%d" % number, 1, b"alice")
        wanted[shard.link.execute(Allocate(key, Side.FROM, V4, (Media(V4, 4000, 2),)))] = Allocated
        wanted[shard.link.execute(CloseCall(b"%d" % number))] = Closed
    got: dict[int, type] = {}
    while len(got) < len(wanted):
        message = shard.link.receive()
        assert isinstance(message, Executed)
        assert message.id not in got, "answered twice"
        got[message.id] = type(message.result)
    assert got == wanted


def test_a_shard_leaks_no_descriptors(shard: ShardProcess, segment: Segment, ports: range) -> None:
    shard.link.configure(ports, segment.name, RelaySettings(max_sockets_in_group=8))
    shard.link.ready()
    process = psutil.Process(shard.process.pid)
    shard.link.answer(ListCalls())
    before = process.num_fds()
    for number in range(100):
        call_id = b"%d" % number
        key = TransactionKey(call_id, 1, b"alice", b"bob")
        audio_video = (Media(V4, 4000, 2), Media(V4, 4002, 2))
        shard.link.answer(Allocate(key, Side.FROM, V4, audio_video))
        shard.link.answer(Allocate(key, Side.TO, V4, audio_video))
        shard.link.answer(Activate(key))
        shard.link.answer(
            Allocate(TransactionKey(call_id, 2, b"alice"), Side.FROM, "203.0.113.200", audio_video)
        )
        assert shard.link.answer(CloseCall(call_id)) == Closed(1)
    assert process.num_fds() == before
