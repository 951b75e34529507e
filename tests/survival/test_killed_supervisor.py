"""Shards outlive their supervisor, and the next one goes on with their calls."""

import functools
import itertools
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Allocate, TransactionKey
from nh.stats import segment_name
from tests.profiles import quick_first
from tools.harness.deployment import (
    SHARDS,
    Deployment,
    assert_goes_on,
    calls_of,
    deployed_relay,
    has_ended,
    relay_of_calls_that_expire,
)
from tools.harness.relay import kill_those_that_run
from tools.harness.waiting import TIMEOUT_S, eventually

CALLS = 4
OVER_S = 60.0


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    with deployed_relay() as deployment:
        yield deployment


def all_ended(processes: list[psutil.Process]) -> bool:
    return all(map(has_ended, processes))


def were_relayed(deployment: Deployment, packets: int) -> bool:
    return deployment.relay.stats().totals.packets_in >= packets


# --- alone ----------------------------------------------------------------------------------------


def test_media_go_on_both_ways_over_the_same_ports_without_a_supervisor(deployment: Deployment) -> None:
    deployment.start()
    calls = deployment.make_calls(CALLS)
    shards = deployment.kill_supervisor()
    for call in calls:
        call.talk()
    assert not any(has_ended(shard) for shard in shards)


def test_a_shard_without_calls_ends_with_its_supervisor(deployment: Deployment) -> None:
    deployment.start()
    call = deployment.make_call(b"only")
    shards = deployment.kill_supervisor()
    eventually(lambda: sum(map(has_ended, shards)) == SHARDS - 1, "the shard without a call has ended")
    assert len(deployment.handover_sockets()) == 1
    call.talk()


@pytest.mark.full
def test_a_shard_ends_by_itself_when_its_last_call_fell_silent_and_leaves_nothing(tmp_path: Path) -> None:
    with relay_of_calls_that_expire(tmp_path / "nh.toml") as deployment:
        deployment.start()
        deployment.make_calls(CALLS)
        shards = deployment.kill_supervisor_as_calls_expire()
        assert len(deployment.handover_sockets()) == SHARDS
        for shard in shards:
            shard.resume()
        eventually(lambda: all_ended(shards), "all shards have ended", OVER_S)
        assert not deployment.handover_sockets()
        assert not deployment.start().calls().calls


# --- the next one ---------------------------------------------------------------------------------


def test_the_next_supervisors_have_the_same_calls_and_serve_old_and_new_ones(deployment: Deployment) -> None:
    relay = deployment.start()
    calls = deployment.make_calls(CALLS)
    for generation in range(2):
        before = [relay.call(call.call_id) for call in calls]
        shards = deployment.kill_supervisor()
        for call in calls:
            call.talk()
        relay = deployment.start()
        for call, then in zip(calls, before, strict=True):
            assert_goes_on(then, relay.call(call.call_id))
            call.talk()
        eventually(functools.partial(all_ended, shards), "the shards before have ended")
        assert len(deployment.handover_sockets()) == SHARDS
        calls.append(deployment.make_call(b"of generation %d" % generation))
    assert [call.end() for call in calls] == [1] * len(calls)
    assert not relay.calls().calls
    eventually(relay.all_ports_are_free, "all ports are free")
    assert relay.program.stop() == 0
    assert sorted(path.name for path in deployment.place.directory.iterdir()) == ["nh.lock"]
    assert not Path("/dev/shm", segment_name(deployment.place.directory)).exists()


@pytest.mark.parametrize("moment", quick_first(["", "has restored", "is up", "ready"]))
def test_calls_outlive_supervisors_that_are_killed_while_they_take_them_over(
    deployment: Deployment, moment: str
) -> None:
    deployment.start()
    calls = deployment.make_calls(CALLS)
    deployment.kill_supervisor()
    for _ in range(3):
        relay = deployment.launch()
        if moment:
            relay.program.wait_for_line(moment)
        else:
            eventually(relay.shard_processes, "a shard is started")
        relay.program.kill()
        for call in calls:
            call.talk()
    relay = deployment.start()
    assert {call.call_id for call in relay.calls().calls} == {call.call_id for call in calls}
    for call in calls:
        call.talk()
        assert call.end() == 1
    eventually(relay.all_ports_are_free, "all ports are free")


@pytest.mark.full
def test_counters_of_packets_do_not_go_back(deployment: Deployment) -> None:
    deployment.start()
    calls = deployment.make_calls(CALLS)
    for life in (1, 2):
        for call in calls:
            call.talk()
        eventually(functools.partial(were_relayed, deployment, 4 * CALLS * (life + 1)), "it is published")
        before = deployment.relay.stats().totals
        deployment.kill_supervisor()
        after = deployment.start().stats().totals
        for name in ("packets_in", "packets_out", "bytes_in", "sessions_started"):
            assert getattr(after, name) >= getattr(before, name), name
        assert sum(after.loop_late_s.counts) >= sum(before.loop_late_s.counts)
        assert after.calls == CALLS


# --- shards in a bad state ------------------------------------------------------------------------


@pytest.mark.full
def test_a_shard_that_hangs_is_killed_and_its_calls_come_from_the_store(tmp_path: Path) -> None:
    with deployed_relay(state=tmp_path) as deployment:
        relay = deployment.start()
        calls = deployment.make_calls(CALLS)
        eventually(lambda: relay.has_stored(CALLS), "all is stored")
        before = [relay.call(call.call_id) for call in calls]
        hanging, *_ = deployment.kill_supervisor()
        hanging.suspend()
        relay = deployment.start()
        assert f"(pid {hanging.pid}) does not answer" in relay.program.output
        assert has_ended(hanging)
        for call, then in zip(calls, before, strict=True):
            assert [group.local_ports for group in relay.call(call.call_id).groups] == [
                group.local_ports for group in then.groups
            ]
            call.talk()


@pytest.mark.full
def test_a_socket_file_of_a_shard_that_is_gone_is_removed(deployment: Deployment) -> None:
    deployment.start()
    deployment.make_calls(CALLS)
    shards = deployment.kill_supervisor()
    left = deployment.handover_sockets()
    assert len(left) == SHARDS
    kill_those_that_run(shards)
    eventually(lambda: all_ended(shards), "they are gone")
    relay = deployment.start()
    assert not set(left) & set(deployment.handover_sockets())
    assert not relay.calls().calls


@pytest.mark.parametrize("is_orphan", [False, True])
def test_calls_of_a_shard_whose_socket_was_removed_go_on_with_the_next_supervisor(
    deployment: Deployment, is_orphan: bool
) -> None:
    """An operator who empties the runtime directory would otherwise lose what relays there."""
    deployment.start()
    call = deployment.make_call(b"only")
    if is_orphan:
        shards = deployment.kill_supervisor()
        eventually(lambda: sum(map(has_ended, shards)) == SHARDS - 1, "the shard without a call has ended")
    sockets = deployment.handover_sockets()
    for path in sockets:
        path.unlink()
    eventually(lambda: deployment.handover_sockets() == sockets, "each shard listens again")
    if not is_orphan:
        deployment.kill_supervisor()
    relay = deployment.start()
    assert [each.call_id for each in relay.calls().calls] == [b"only"]
    call.talk()


def test_calls_of_a_shard_that_died_with_its_supervisor_come_from_the_store(tmp_path: Path) -> None:
    with deployed_relay(state=tmp_path) as deployment:
        relay = deployment.start()
        calls = deployment.make_calls(CALLS)
        eventually(lambda: relay.has_stored(CALLS), "all is stored")
        before = [relay.call(call.call_id) for call in calls]
        dying, living = deployment.kill_supervisor()
        dying.kill()
        eventually(lambda: has_ended(dying), "one shard is gone")
        assert not has_ended(living)
        relay = deployment.start()
        assert {call.call_id for call in relay.calls().calls} == {call.call_id for call in calls}
        for call, then in zip(calls, before, strict=True):
            call.talk()
            assert relay.call(call.call_id).shard == then.shard
        assert relay.stats().totals.calls == CALLS


@pytest.mark.full
def test_a_call_that_fell_silent_in_an_orphan_does_not_come_back_from_the_store(tmp_path: Path) -> None:
    file, state = tmp_path / "nh.toml", tmp_path / "state"
    with relay_of_calls_that_expire(file, state=state, unused_s=3600) as deployment:
        relay = deployment.start()
        ringing, name = itertools.islice(calls_of(0), 2)
        silent = deployment.make_call(name)
        ring(deployment.address, ringing)
        eventually(lambda: relay.has_stored(2), "both are stored")
        for shard in deployment.kill_supervisor_as_calls_expire():
            shard.resume()
        eventually(lambda: is_free(silent.for_bob), "the silent call is over", OVER_S)
        relay = deployment.start()
        assert [call.call_id for call in relay.calls().calls] == [ringing]
        eventually(lambda: relay.has_stored(1), "the store knows it too")
        relay.kill_all()
        relay = deployment.start()
        assert [call.call_id for call in relay.calls().calls] == [ringing]


def ring(address: str, call_id: bytes) -> None:
    """Make a call that is not answered: it lives for unused_s, without media."""
    key, media = TransactionKey(call_id, 1, b"alice", b"bob"), Media("127.0.0.1", 9, 2, "RTP/AVP", "audio")
    with NativeClient(address, TIMEOUT_S) as client:
        client.request(Allocate(key, Side.FROM, "127.0.0.1", (media,)))


def is_free(where: tuple[str, int]) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(where)
        except OSError:
            return False
    return True
